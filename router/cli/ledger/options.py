"""Options that the commands of the ledger share."""

from collections.abc import Callable
from datetime import tzinfo
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, available_timezones

import click
from click.core import ParameterSource

from policies.conditions import zone_meant
from router.cli.errors import INVALID, Ends
from router.cli.options import FILE
from router.finops.period import Period, WrongPeriod, period
from router.keys import FILE as KEYS_AND_LEDGER
from yamlfile import full_width

Command = TypeVar("Command", bound=Callable[..., Any])


def over(command: Command) -> Command:
    """Add --from, --to and --tz."""
    forms = "2026, 2026-11, 2026-11-21 or 2026-11-21T09:00"
    for option in (
        click.option("--tz", default="UTC", show_default=True, help="Time zone of the days."),
        click.option("--to", "end", metavar="T", help="Up to and without this time."),
        click.option("--from", "start", metavar="T", help=f"From this time on: {forms}."),
    ):
        command = option(command)
    return command


def rows(command: Command) -> Command:
    said = "Read rows that `ledger export --format jsonl` wrote, in place of the state's ledger."
    return click.option("--rows", type=FILE, help=said)(command)


def rows_alone(rows: Path | None, *others: str) -> None:
    """Refuse --rows beside an option that names a ledger: one of them would be ignored."""
    if rows is None:
        return
    given = click.get_current_context()
    for name in others:
        if given.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = {"store": "--ledger", "state": "--state"}[name]
            said = f"`--rows` is read in place of a ledger: it goes without `{option}`"
            raise Ends(said, INVALID)


def spared(out: Path, state: Path, rows: Path | None) -> Path:
    """Refuse to write over what is read, by whatever path it is named."""
    if rows is not None and _same(out, rows):
        raise Ends(f"{out}: that is what `--rows` reads", INVALID)
    for ending in ("", "-wal", "-shm", "-journal"):
        if _same(out, state / f"{KEYS_AND_LEDGER}{ending}"):
            raise Ends(f"{out}: that is the ledger itself, with the keys", INVALID)
    return out


def _same(one: Path, other: Path) -> bool:
    if one.resolve() == other.resolve():  # which need not be there yet
        return True
    return one.exists() and other.exists() and one.samefile(other)


def zone(name: str) -> tzinfo:
    known = available_timezones()
    if name not in known:
        typed, close = full_width(name), zone_meant(name)
        said = f"{typed}; " if typed else ""
        said += f"did you mean `{close}`? " if close else ""
        raise Ends(f"`--tz`: unknown time zone `{name[:60]}` ({said}valid: a name such as "
                   "Asia/Shanghai)", INVALID)  # fmt: skip
    return ZoneInfo(name)


def chosen(start: str | None, end: str | None, tz: str) -> tuple[Period, tzinfo]:
    """Return the period and its zone, or end the command."""
    found = zone(tz)
    try:
        return period(start, end, found), found
    except WrongPeriod as exc:
        raise Ends(str(exc), INVALID) from None


def writable(path: Path) -> Path:
    if path.is_dir():
        raise Ends(f"{path}: is a folder", INVALID)
    if not path.absolute().parent.is_dir():
        raise Ends(f"{path}: its folder doesn't exist", INVALID)
    return path
