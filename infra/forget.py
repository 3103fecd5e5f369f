"""Deletes the versions of a stage's policy: AppConfig deletes no profile that still has one, and
the stack knows only its own. `make destroy` runs it first; it asks before it deletes.

    python -m infra.forget --stage dev [--config deploy.yaml] [--force]
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from router.appconfig_control import AppConfigFailed, Control, Unknown
from router.appconfig_place import Place
from router.deploy import read
from router.deploy.stage import Stage
from router.faults import MissingPart
from yamlfile import Invalid


def place(stage: Stage) -> Place:
    """Return where the stage's stack keeps its policy (infra/policy.py)."""
    return Place(stage.prefix, stage.name, "policy")


def main(arguments: Sequence[str] | None = None) -> int:
    """Delete the published versions of a stage's policy, so that its stack can be deleted."""
    parser = argparse.ArgumentParser(prog="python -m infra.forget", description=main.__doc__)
    parser.add_argument(
        "--config", type=Path, default=Path("deploy.yaml"), help="default: deploy.yaml"
    )
    parser.add_argument("--stage", required=True)
    parser.add_argument("--force", action="store_true", help="don't ask")
    given = parser.parse_args(arguments)
    try:
        (stage,) = read.stages(given.config, given.stage).values()
        control = Control(place(stage), stage.region)
        account = control.account()
        if account != stage.account:
            said = f"is of account {stage.account}, the credentials are of {account}"
            fix = "give the right ones, or the right file by CONFIG="
            parser.exit(1, f"{given.config}: stage {stage.name} {said}: {fix}\n")
        versions = control.versions()
    except Unknown as exc:
        sys.stderr.write(f"nothing to forget: {exc}\n")
        return 0
    except OSError as exc:
        parser.exit(1, f"{exc.filename or given.config}: {exc.strerror}\n")
    except (Invalid, AppConfigFailed, MissingPart) as exc:
        parser.exit(1, f"{exc}\n")
    for version in versions:
        sys.stderr.write(f"{version}\n")
    if versions and not given.force:
        sys.stderr.write(f"delete these {len(versions)} versions, for good? [y/N] ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() != "y":
            parser.exit(1, "nothing was deleted\n")
    try:
        for version in versions:
            control.delete(version)
    except AppConfigFailed as exc:
        parser.exit(1, f"{exc}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
