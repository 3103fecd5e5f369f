"""The CDK app: the stacks of one stage of a deploy.yaml, or of all.

    python -m infra.app --config infra/examples/deploy.yaml --stage dev

prints the stacks, their resources and the seconds. `cdk deploy` runs it without arguments: stage
and config are its context then (`-c stage=dev -c config=deploy.yaml`).
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import cx_api

from infra import bundling, stacks
from infra.paths import CONFIG, ROOT
from router.deploy import read
from router.deploy.stage import Stage
from yamlfile import Invalid


def context() -> Mapping[str, Any]:
    """Return the feature flags of cdk.json, which only the CDK's command line reads by itself."""
    found: dict[str, Any] = json.loads((ROOT / "cdk.json").read_text("utf-8"))["context"]
    return found


def synth(chosen: Iterable[Stage], app: cdk.App) -> cx_api.CloudAssembly:
    """Make the templates. Raises bundling.NotBundled, OSError."""
    with tempfile.TemporaryDirectory(prefix="sluice-") as folder:
        for stage in chosen:
            stacks.add(app, stage, bundling.bundle(stage, Path(folder) / stage.name))
        return app.synth()


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what a synthesis makes."""
    parser = argparse.ArgumentParser(prog="python -m infra.app", description=main.__doc__)
    parser.add_argument("--config", type=Path, help="deploy.yaml; default: the example")
    parser.add_argument("--stage", help="one of its stages; default: all")
    parser.add_argument("--out", help="folder of the templates; default: cdk.out, or a new one")
    given = parser.parse_args(arguments)
    began = time.monotonic()
    app = cdk.App(context=dict(context()), outdir=given.out)
    config = given.config or Path(app.node.try_get_context("config") or CONFIG)
    name = given.stage or app.node.try_get_context("stage")
    try:
        chosen = read.stages(config, name, now=datetime.now(UTC))
        for stage in chosen.values():
            for problem in stage.warnings:
                sys.stderr.write(f"warning: {problem}\n")
        assembly = synth(chosen.values(), app)
    except OSError as exc:
        parser.exit(1, f"{exc.filename or config}: {exc.strerror}\n")
    except (Invalid, bundling.NotBundled) as exc:
        parser.exit(1, f"{exc}\n")
    for stack in assembly.stacks:
        resources = stack.template.get("Resources", {})
        sys.stderr.write(f"{stack.stack_name:32} {len(resources):4} resources\n")
    seconds = time.monotonic() - began
    sys.stderr.write(f"{seconds:.1f} s, templates in {assembly.directory}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
