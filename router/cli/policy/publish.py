"""``sluice policy publish``: put a policy in force on AWS AppConfig, and see it through."""

from pathlib import Path
from typing import Any

import click

from backends import files
from router.appconfig_control import Control, Note
from router.appconfig_place import Place
from router.cli import options
from router.cli.errors import told
from router.cli.policy import check
from router.cli.policy.rollout import Rollout, asked, free, rolled_out, to, to_see, why
from router.published_form import published_form
from router.settings import environment
from router.sources import calibration as calibration_of
from router.sources import names_of


@click.command("publish")
@click.argument("policy", type=options.FILE)
@to
@why
@click.option(
    "--strategy",
    metavar="NAME",
    help="How it goes out: a deployment strategy's name or id.  [default: APPLICATION-linear]",
)
@options.cases
@options.fleets
@options.state
@options.calibration
@to_see
@options.as_json
def command(
    policy: Path,
    place: Place,
    reason: str,
    strategy: str | None,
    folder: Path | None,
    fleets: Path | None,
    state: Path,
    calibration: Path | None,
    every_s: float,
    wait: bool,
    as_json: bool,
) -> None:
    """Check POLICY, make a version of it, and deploy that one by a linear strategy.

    Exit 0: all routers are given it (an alarm may still take it back while it bakes); 1: it was
    taken back, or AppConfig can't be asked; 2: it was refused; 3: the policy or an option is wrong.
    """
    with told():
        catalogue = files.catalogue(fleets, state)
        learnt = calibration_of(calibration)
        labelled = bool(learnt and learnt.counts)
        result = check.checked(policy, catalogue, folder, labelled=labelled)
    _show(result, as_json=as_json)
    check.ends([result])
    with told():
        source = files.on_disk(policy)
        text, name, content_hash = published_form(source.text, source.name, names_of(catalogue))
    with told(), asked():
        control = Control(place, environment().get("AWS_REGION") or None)
        newest = next(iter(control.versions()), None)
        by = control.strategy(strategy)
        free(control)
        note = Note(control.who(), reason, name, content_hash)
        number = control.create(text, note, None if newest is None else newest.number)
        rolled_out(
            control,
            control.start(number, by, note),
            Rollout(number, note, every_s, wait=wait, as_json=as_json),
        )


def _show(result: dict[str, Any], *, as_json: bool) -> None:
    """Print what the check says: with JSON only what is wrong, and that to standard error."""
    if as_json:
        for line in [*result["problems"], *result["failed_cases"]]:
            click.echo(line, err=True)
    else:
        check.show(result)
