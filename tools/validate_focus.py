"""Run the public focus-validator 1.0.0 on an export: what it says, and 1 if any rule fails.

    python tools/validate_focus.py [FILE.csv|FILE.parquet]

Without a file 10,000 seeded rows are exported first. The validator runs in an environment of its
own, which uv keeps in its cache: it needs an old `multimethod` and pandas, which nothing of ours
should. It exits with 0 whatever it finds, and looks for its currencies where it is started, so it
is started in its own folder and its words are read.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
NEEDS = ("focus-validator==1.0.0", "multimethod<2", "pyarrow<16", "setuptools<81")
RUN = """
import os, runpy, sys, focus_validator
os.chdir(os.path.dirname(os.path.dirname(focus_validator.__file__)))
from focus_validator.main import main
main()
"""


def validate(file: Path) -> bool:
    """Print what the validator says of the file; return whether every rule passed."""
    withs = [word for need in NEEDS for word in ("--with", need)]
    command = ["uv", "run", "--no-project", "--isolated", "-q", "--python", "3.11", *withs]
    arguments = ["--data-file", str(file.resolve()), "--validate-version", "1.0"]
    ran = subprocess.run(  # noqa: S603  (our own command)
        [*command, "python", "-W", "ignore", "-c", RUN, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    print((ran.stdout + ran.stderr).strip()[-4000:])
    return ran.returncode == 0 and "Validation succeeded" in ran.stdout


def export(folder: Path) -> Path:
    """Return a FOCUS export of at least 10,000 rows."""
    rows, out = folder / "rows.jsonl", folder / "focus.csv"
    made = [sys.executable, "tools/ledger_rows.py", "--requests", "10000", "--out", str(rows)]
    sluice = [sys.executable, "-m", "router.cli", "ledger", "export", "--format", "focus"]
    for command in (made, [*sluice, "--rows", str(rows), "--out", str(out)]):
        subprocess.run(command, cwd=ROOT, check=True)  # noqa: S603  (our own commands)
    return out


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(sys.argv[1]) if len(sys.argv) > 1 else export(Path(folder))
        ok = validate(file)
    print(f"focus-validator 1.0.0: {'every rule passed' if ok else 'FAILED'}")
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
