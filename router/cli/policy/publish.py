"""``sluice policy publish``: put a policy in force, in a store or on AWS AppConfig."""

from pathlib import Path
from typing import Any

import click

from backends import files
from router.appconfig_control import Control, Note, Refused
from router.appconfig_place import Place
from router.cli import options
from router.cli.errors import told
from router.cli.policy import check, local
from router.cli.policy.rollout import (
    Rollout,
    asked,
    by,
    folder_of,
    free,
    only_for,
    rolled_out,
    to,
    to_see,
    why,
)
from router.policy_store import Kind
from router.published_form import published_form
from router.settings import environment
from router.sources import calibration as calibration_of
from router.sources import names_of

NOT_THERE = (
    "who you are AWS says, and a profile has one policy; it goes out by steps, which alarms take "
    "back"
)


@click.command("publish")
@click.argument("policy", type=options.FILE)
@to
@why
@by
@click.option(
    "--from",
    "parent",
    type=options.Version(),
    help="The newest version that it was made from.  [default: the newest, if that is yours]",
)
@click.option("--candidate", is_flag=True, help="Not in force: a canary, by its name.")
@click.option("--shadow", is_flag=True, help="With --candidate: it only decides, beside.")
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
@click.pass_context
def command(
    context: click.Context,
    policy: Path,
    place: Place | Path | None,
    reason: str,
    by: str | None,
    parent: int | None,
    candidate: bool,
    shadow: bool,
    strategy: str | None,
    folder: Path | None,
    fleets: Path | None,
    state: Path,
    calibration: Path | None,
    every_s: float,
    wait: bool,
    as_json: bool,
) -> None:
    """Check POLICY, and make a version of it. In a store that puts it in force; on AppConfig the
    version is deployed by a linear strategy.

    Exit 0: it is in force (an alarm of AppConfig may still take it back while it bakes); 1: it was
    taken back, or can't be published now; 2: it was refused; 3: the policy or an option is wrong.
    """
    kind = _kind(candidate=candidate, shadow=shadow)
    folder_to = folder_of(place, state)
    if folder_to is None:
        only_for(context, "on AppConfig", ("by", "candidate", "shadow"), NOT_THERE)
    else:
        only_for(context, "in a store", ("strategy", "every_s", "wait"), "it is in force at once")
    with told():
        newest_there = 0 if folder_to is None else local.newest(folder_to)
        catalogue = files.catalogue(fleets, state)
        learnt = calibration_of(calibration)
        labelled = bool(learnt and learnt.counts)
        result = check.checked(policy, catalogue, folder, labelled=labelled)
    _show(result, as_json=as_json)
    check.ends([result])
    if folder_to is not None:
        started = local.Started(
            folder_to, newest_there if parent is None else parent, state, is_said=parent is not None
        )
        with local.stored(), told():
            source = files.on_disk(policy)
            made = local.publish(started, source, names_of(catalogue), kind, (by, reason))
        local.tell(made, folder_to, as_json=as_json)
        return
    assert isinstance(place, Place)
    with told():
        source = files.on_disk(policy)
        text, name, content_hash = published_form(source.text, source.name, names_of(catalogue))
    with told(), asked():
        control = Control(place, environment().get("AWS_REGION") or None)
        newest = parent
        who = control.who()
        if parent is None:
            newest = _seen(control, who)
        rolled_by = control.strategy(strategy)
        free(control)
        note = Note(who, reason, name, content_hash)
        number = control.create(text, note, newest)
        rolled_out(
            control,
            control.start(number, rolled_by, note),
            Rollout(number, note, every_s, wait=wait, as_json=as_json),
        )


def _seen(control: Control, who: str) -> int | None:
    """Return the newest version, None: there is none; refuse to replace somebody else's unasked, as
    a store does. One without a name is a stack's first. Raises Refused.
    """
    versions = control.versions()
    if not versions:
        return None
    newest = versions[0]
    if newest.note.who not in ("", who):
        raise Refused(
            f"this would replace {newest.told(who)}; you are {who}. Look at it (`sluice policy "
            f"show {newest.number} --to {control.place}`), and publish with "
            f"`--from {newest.number}` if it is in what you have"
        )
    return newest.number


def _kind(*, candidate: bool, shadow: bool) -> Kind:
    if shadow and not candidate:
        raise click.BadParameter("it goes with `--candidate`", param_hint="'--shadow'")
    if not candidate:
        return "policy"
    return "shadow" if shadow else "candidate"


def _show(result: dict[str, Any], *, as_json: bool) -> None:
    """Print what the check says: with JSON only what is wrong, and that to standard error."""
    if as_json:
        for line in [*result["problems"], *result["failed_cases"]]:
            click.echo(line, err=True)
    else:
        check.show(result)
