"""Take the pictures out of a report of `sluice replay --html`, as files for a page.

python -m tools.replay.pictures REPORT.html FOLDER PREFIX NAME...   (saving, cost-0, ways-1, ...)
"""

import re
import sys
from pathlib import Path


def main() -> None:
    report, folder, prefix, *names = sys.argv[1:]
    page = Path(report).read_text("utf-8")
    pictures = re.compile(r'<svg role="img" aria-labelledby="([\w-]+)-title".*?</svg>', re.DOTALL)
    found = {drawn[1]: drawn[0] for drawn in pictures.finditer(page)}
    for name in names:
        if name not in found:
            sys.exit(f"{report}: no picture `{name}` (known: {', '.join(found)})")
        path = Path(folder, f"{prefix}{name}.svg")
        path.write_text(found[name] + "\n", "utf-8")
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
