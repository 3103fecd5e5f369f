"""Synthesises stages of tests/infra/stages.py once, with cdk-nag over all: synth.py OUT [china]."""

import json
import sys
import time
from pathlib import Path

began = time.monotonic()

from infra import app  # noqa: E402, I001 (what is timed begins above; it chooses the Node)
import aws_cdk as cdk  # noqa: E402 (as above)
from cdk_nag import AwsSolutionsChecks  # noqa: E402 (as above)
from stages import china, examples  # noqa: E402 (as above)


def main(out, whose="examples"):
    made = cdk.App(context=dict(app.context()), outdir=out)
    cdk.Validations.of(made).add_plugins(AwsSolutionsChecks(made))
    chosen = {"examples": examples, "china": china}[whose]()
    app.synth(chosen.values(), made)
    Path(out, "seconds.json").write_text(json.dumps(time.monotonic() - began), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
