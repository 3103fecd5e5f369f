"""``sluice policy history``: who published what, when and why, and what became of it."""

from pathlib import Path
from typing import Any

import click
import orjson

from router.appconfig_control import IN_FORCE, TAKEN_BACK, UNDER_WAY, Control, Deployment
from router.appconfig_place import Place
from router.cli import options
from router.cli.errors import told
from router.cli.policy import local
from router.cli.policy.rollout import asked, folder_of, to
from router.cli.table import grid
from router.policy_store import PolicyStore, states
from router.printable import printable
from router.settings import environment

COLUMNS = ("version", "when", "who", "policy", "hash", "state", "why")
LEFT = {"when", "who", "policy", "hash", "state", "why"}
MOST_WHY = 60  # characters of a reason in the table


@click.command("history")
@to
@options.state
@options.as_json
def command(place: Place | Path | None, state: Path, as_json: bool) -> None:
    """Show every version of a store or a place on AppConfig, the newest first.

    Exit 0: there they are; 1: AppConfig can't be asked; 3: there is no such store or place.
    """
    folder = folder_of(place, state)
    if folder is not None:
        with local.stored(), told():
            rows, ends = of_store(folder, state)
    else:
        assert isinstance(place, Place)
        with told(), asked():
            rows, ends = of_appconfig(Control(place, environment().get("AWS_REGION") or None)), []
    if as_json:
        click.echo(orjson.dumps(rows))
    else:
        click.echo(grid(COLUMNS, [_row(row) for row in rows], LEFT))
        for end in ends:
            click.echo(end)


def of_store(folder: Path, state: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Return what is said of each version, and how candidates stopped. Raises NotAStore."""
    listed = local.told_of(PolicyStore(folder).listed())
    if (doubt := listed.doubt()) is not None:
        click.echo(f"warning: {doubt}", err=True)
    stopped = local.stopped(listed, folder, state)
    now = states(listed, stopped)
    rows = [
        {
            **local.summary(one),
            "state": now[one.number],
            **({"stopped": stopped[one.number].why} if one.number in stopped else {}),
        }
        for one in listed.versions
    ]
    named = [one for one in listed.versions if one.number in stopped]
    return rows, [local.end_of(one, stopped[one.number]) for one in named]


def of_appconfig(control: Control) -> list[dict[str, Any]]:
    """Return what is said of each version there: when it went out last, and what became of it."""
    deployments = [one for one in control.deployments() if one.profile == control.profile_id]
    now = next((one.number for one in deployments if one.state in IN_FORCE), None)
    rows = []
    for version in control.versions():
        last = next((one for one in deployments if one.version == str(version.number)), None)
        note = version.note
        rows.append(
            {
                "version": version.number, "kind": "policy", "back_to": note.back_to,
                "at": None if last is None else last.at or None, "who": note.who or None,
                "why": note.why or None, "policy": note.policy or None, "hash": note.hash or None,
                "state": _state(last, now), "deployment": None if last is None else last.number,
            }
        )  # fmt: skip
    return rows


def _state(last: Deployment | None, now: int | None) -> str:
    """Say how the last deployment of a version went; `now`: the one that is in force."""
    if last is None:
        return "not deployed"
    if last.number == now:
        return "in force"
    if last.state in TAKEN_BACK:
        return "taken back"
    if last.state in UNDER_WAY:
        return f"on its way, {last.percent:g} %"
    return "before" if last.state in IN_FORCE else last.state.lower().replace("_", " ")


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    why = " ".join((row["why"] or "").split())
    why = why if len(why) <= MOST_WHY else f"{why[:MOST_WHY]}..."
    shown = (row["at"], row["who"], row["policy"], row["hash"], row["state"])
    return (str(row["version"]), *(printable(value or "-") for value in shown), printable(why))
