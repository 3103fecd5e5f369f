"""Synthesises the stages that take batches, with cdk-nag, over an empty bundle: see synth.py."""

import json
import sys
import tempfile
from pathlib import Path

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks
from stages import with_batches

from infra import (
    app,  # it chooses the Node
    stacks,
)


def main(out):
    made = cdk.App(context=dict(app.context()), outdir=out)
    cdk.Validations.of(made).add_plugins(AwsSolutionsChecks(made))
    with tempfile.TemporaryDirectory() as bundle:
        Path(bundle, "run.sh").write_text("#!/bin/sh\n", "utf-8")
        for stage in with_batches().values():
            stacks.add(made, stage, Path(bundle))
        made.synth()
    Path(out, "seconds.json").write_text(json.dumps(0), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
