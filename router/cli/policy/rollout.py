"""What publishing and going back have in common: where to, why, and seeing a deployment through."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import orjson
from click.core import ParameterSource

from router.appconfig_control import (
    TAKEN_BACK,
    AppConfigFailed,
    Control,
    Deployment,
    Note,
    Refused,
    Unknown,
)
from router.appconfig_place import Place, place_of
from router.cli import options
from router.cli.errors import FAILED, INVALID, REFUSED, Ends
from router.printable import is_shown

STORE: Final = "policies"  # in the state folder, unless another one is named
Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Rollout:
    """What is deployed, and how it is watched. `version` None: what was there before."""

    version: int | None
    note: Note
    every_s: float
    wait: bool
    as_json: bool


def to(command: Command) -> Command:
    def known(_context: click.Context, _parameter: click.Parameter, text: str | None) -> object:
        if text is None:
            return None
        if ":" not in text.partition("/")[0]:  # a folder of such a name is `./a:b`
            return Path(text)
        try:
            return place_of(text)
        except ValueError as exc:
            raise click.BadParameter(str(exc)) from None

    said = (
        "A store's folder, or appconfig:APPLICATION/ENVIRONMENT/PROFILE, names or ids.  "
        f"[default: {STORE} in --state]"
    )
    return click.option("--to", "place", callback=known, metavar="FOLDER|PLACE", help=said)(command)


def folder_of(place: Place | Path | None, state: Path) -> Path | None:
    """Return the folder of a store; None: the place is on AppConfig."""
    if isinstance(place, Place):
        return None
    return state / STORE if place is None else place


def only_for(context: click.Context, where: str, names: Sequence[str], why: str) -> None:
    """Refuse options that would do nothing there."""
    for name in names:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = f"--{name.removesuffix('_s').replace('_', '-')}"
            said = f"it would do nothing {where}: {why}"
            raise click.BadParameter(said, param_hint=f"'{option}'")


def by(command: Command) -> Command:
    said = "Who does it, in a store; on AppConfig it is whom AWS knows you by.  [default: the user]"
    return click.option("--by", metavar="NAME", callback=_words, help=said)(command)


def _words(_context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    """Refuse what says nothing, or can't be kept."""
    if text is None:
        return None
    if not text.strip():
        raise click.BadParameter("it is empty: say what it is for")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise click.BadParameter("not a UTF-8 text") from None
    lines = (text.strip(),) if parameter.name == "by" else text.strip().split("\n")
    if not all(is_shown(char) for line in lines for char in line):
        most = "one line of " if parameter.name == "by" else ""
        raise click.BadParameter(f"it has control characters: write {most}printable text")
    return text.strip()


def why(command: Command) -> Command:
    said = "What it is for; the version keeps it, with who you are."
    return click.option(
        "--why", "reason", required=True, callback=_words, metavar="TEXT", help=said
    )(command)


def to_see(command: Command) -> Command:
    every = click.option(
        "--every",
        "every_s",
        type=options.Number(0.05, 300),
        default=5.0,
        show_default=True,
        metavar="SECONDS",
        help="How often the deployment is looked at.",
    )
    wait = click.option(
        "--wait/--no-wait",
        default=True,
        show_default=True,
        help="See it through, or end once it has begun.",
    )
    return every(wait(command))


@contextmanager
def asked() -> Iterator[None]:
    """Turn what AppConfig says into a message and an exit code."""
    try:
        yield
    except Unknown as exc:
        raise Ends(str(exc), INVALID) from None
    except Refused as exc:
        raise Ends(str(exc), REFUSED) from None
    except AppConfigFailed as exc:
        raise Ends(str(exc), FAILED) from None


def free(control: Control) -> None:
    """Refuse while another deployment is under way: AppConfig takes one at a time."""
    running = control.running()
    if running is not None:
        raise Refused(
            f"deployment {running.number} (version {running.version}) is {running.state.lower()}, "
            f"{running.percent:g} % of the routers have it: wait for it, or stop it by "
            f"`sluice policy rollback --to {control.place}`"
        )


def rolled_out(control: Control, begun: Deployment, rollout: Rollout) -> None:
    """Watch a deployment until it is in force or taken back; end with its exit code."""
    seen = begun
    _progress(seen)
    if rollout.wait:
        for now in control.watch(begun.number, rollout.every_s):
            if (now.state, now.percent) != (seen.state, seen.percent):
                _progress(now)
            seen = now
    if rollout.as_json:
        said = {"version": rollout.version, "deployment": seen.number, "state": seen.state,
                "percent": seen.percent, "event": seen.event, **asdict(rollout.note)}  # fmt: skip
        click.echo(orjson.dumps(said))
    # Going back ends where the deployment that is stopped is taken back.
    if rollout.version is not None and seen.state in TAKEN_BACK:
        event = f": {seen.event}" if seen.event else ""
        raise Ends(f"version {rollout.version} was taken back{event}", FAILED)
    if not rollout.as_json:
        click.echo(_ended(seen, rollout))


def _progress(deployment: Deployment) -> None:
    said = f"deployment {deployment.number}: {deployment.state.lower()}, {deployment.percent:g} %"
    click.echo(said, err=True)


def _ended(seen: Deployment, rollout: Rollout) -> str:
    if rollout.version is None:
        return f"deployment {seen.number} is taken back: what was there before is in force"
    policy = f"version {rollout.version} ({rollout.note.policy} {rollout.note.hash})"
    if seen.state == "BAKING":
        return f"{policy} is in force; while it bakes an alarm may still take it back"
    return f"{policy} is {'in force' if seen.state == 'COMPLETE' else 'on its way'}"
