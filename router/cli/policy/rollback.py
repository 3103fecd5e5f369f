"""``sluice policy rollback``: go back to the policy that was in force before."""

from pathlib import Path

import click

from backends import files
from router.appconfig_control import (
    AT_ONCE,
    IN_FORCE,
    Control,
    Note,
    Refused,
    Unknown,
    Version,
)
from router.appconfig_place import Place
from router.cli import options
from router.cli.errors import told
from router.cli.policy import local
from router.cli.policy.rollout import (
    Rollout,
    asked,
    by,
    folder_of,
    only_for,
    rolled_out,
    to,
    to_see,
    why,
)
from router.published_form import published_form
from router.settings import environment
from router.sources import names_of


@click.command("rollback")
@to
@why
@by
@click.option(
    "--to-version",
    "--version",
    "version",
    type=click.IntRange(1),
    help="Back to this one; else to the one before.",
)
@click.option("--candidate", metavar="NAME", help="Take back this candidate, in a store.")
@click.option(
    "--strategy",
    metavar="NAME",
    default=AT_ONCE,
    show_default=True,
    help="How it goes out on AppConfig: a deployment strategy's name or id.",
)
@options.fleets
@options.state
@to_see
@options.as_json
@click.pass_context
def command(
    context: click.Context,
    place: Place | Path | None,
    reason: str,
    by: str | None,
    version: int | None,
    candidate: str | None,
    strategy: str,
    fleets: Path | None,
    state: Path,
    every_s: float,
    wait: bool,
    as_json: bool,
) -> None:
    """Publish the policy before it anew; on AppConfig stop a deployment that is under way first.

    Exit 0: it is back; 1: it was taken back itself, or can't be published now; 2: there is
    nothing to go back to, or it is refused; 3: an option is wrong, or that policy no longer fits.
    """
    with told():
        catalogue = files.catalogue(fleets, state)
    folder = folder_of(place, state)
    if folder is not None:
        only_for(context, "in a store", ("strategy", "every_s", "wait"), "it is in force at once")
        if candidate is not None and version is not None:
            raise click.BadParameter("choose one of `--candidate` and `--to-version`")
        back = local.Back(folder, state, version, candidate)
        with local.stored(), told():
            made = local.rollback(back, names_of(catalogue), (by, reason))
        local.tell(made, folder, as_json=as_json)
        return
    only_for(context, "on AppConfig", ("by", "candidate"), "that is a store's")
    assert isinstance(place, Place)
    with told(), asked():
        control = Control(place, environment().get("AWS_REGION") or None)
        note = Note(control.who(), reason)
        running = control.running()
        if running is not None and running.profile != control.profile_id:
            raise Refused(f"deployment {running.number} under way is another profile's: wait")
        if running is not None:
            stopped = control.stop(running)
            seen = Rollout(None, note, every_s, wait=wait or version is not None, as_json=as_json)
            if version is None:
                rolled_out(control, stopped, seen)
                return
            for _ in control.watch(stopped.number, every_s):
                pass
        versions = {one.number: one for one in control.versions()}
        back_to = _before(control, versions) if version is None else version
        if back_to not in versions:
            known = ", ".join(map(str, versions)) or "none"
            raise Unknown(f"{place}: unknown version {back_to} (known: {known})")
        text, name, content_hash = published_form(
            control.content(back_to), f"{place} version {back_to}", names_of(catalogue)
        )
        rolled_by = control.strategy(strategy)
        note = Note(note.who, reason, name, content_hash, back_to)
        number = control.create(text, note, max(versions))
        rolled_out(
            control,
            control.start(number, rolled_by, note),
            Rollout(number, note, every_s, wait=wait, as_json=as_json),
        )


def _before(control: Control, versions: dict[int, Version]) -> int:
    """Return the version that was in force before the one that is; one that is another's policy
    again stands for that other, so that going back twice goes further back.
    """
    deployed = [
        int(one.version)
        for one in control.deployments()
        if one.profile == control.profile_id and one.state in IN_FORCE and one.version.isdigit()
    ]
    if not deployed:
        raise Refused("nothing was deployed here: there is nothing to go back to")
    now = _meant(deployed[0], versions)
    older = [number for number in deployed if number < now and number in versions]
    if not older:
        raise Refused(f"no version before {now} was in force here: say which by `--version`")
    return older[0]


def _meant(number: int, versions: dict[int, Version]) -> int:
    back_to = versions[number].note.back_to if number in versions else None
    return number if back_to is None else back_to
