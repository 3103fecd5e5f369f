"""Writes docs/policy-diff-example.md: what `sluice policy diff` says of two of our policies over
an hour of public traffic.

    .venv/bin/python tools/diff_page.py PATH/azure_code.csv.gz

The trace is AzureLLMInferenceTrace_code.csv of Azure/AzurePublicDataset; it isn't in this
repository.
"""

import subprocess
import sys
from pathlib import Path

OLD, NEW = "policies/default.yaml", "policies/examples/lowest-cost.yaml"
PAGE = Path("docs/policy-diff-example.md")
OPTIONS = ["--per", "week", "--fail-if", "usd.high > +5%", "--fail-if", "ttft_p95_ms > +100"]
INTRO = f"""# What a pull request is told

Below the line stands, unedited, what `sluice policy diff {OLD} {NEW}` says with
`--per week --fail-if 'usd.high > +5%' --fail-if 'ttft_p95_ms > +100' --markdown -` over an hour of
public traffic, on the embedded (emulated) fleets. `tools/diff_page.py` writes this page;
[how to read it](policy-diff.md).

The trace is `AzureLLMInferenceTrace_code.csv` (8,819 requests in 57 minutes of November 2023) by
Microsoft Azure, from [Azure/AzurePublicDataset](https://github.com/Azure/AzurePublicDataset),
published with *Splitwise* (Patel et al., ISCA 2024) under
[CC-BY-4.0](https://creativecommons.org/licenses/by/4.0/). It holds times and token counts alone:
who asked, what for and how hard it was is assumed, as the end of the report says.

---

"""


def main(trace: str) -> None:
    command = [sys.executable, "-m", "router.cli", "policy", "diff", OLD, NEW, "--trace", trace]
    done = subprocess.run(  # noqa: S603  (our own command)
        [*command, *OPTIONS, "--markdown", "-"], capture_output=True, text=True, check=False
    )
    if not done.stdout:
        sys.exit(done.stderr)
    PAGE.write_text(INTRO + done.stdout, "utf-8")
    print(f"written: {PAGE}")


if __name__ == "__main__":
    main(*sys.argv[1:])
