"""Options that several commands share."""

from collections.abc import Callable
from math import isnan
from pathlib import Path
from typing import Any, TypeVar

import click

from backends import files
from router.appconfig_place import SCHEME, place_of
from router.settings import DEFAULT_STATE, SQLITE, table_of
from yamlfile import suggest

Command = TypeVar("Command", bound=Callable[..., Any])


class Number(click.FloatRange):
    """FloatRange alone takes "nan", which is neither below nor above."""

    example = ", without a unit"

    @property
    def valid(self) -> str:
        """Return what is, with its range."""
        least = "" if self.min is None else f"{' above' if self.min_open else ' from'} {self.min:g}"
        most = "" if self.max is None else f"{' below' if self.max_open else ' to'} {self.max:g}"
        return f"a number{least}{most}{self.example}"

    def convert(
        self, value: float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            found: float = super().convert(value, param, ctx)
        except click.BadParameter as exc:
            self.fail(f"{exc.message.rstrip('.')} (valid: {self.valid})", param, ctx)
        if isnan(found):
            self.fail(f"{value} is no number", param, ctx)
        return found


class Share(Number):
    """A number from 0 to 1."""

    example = ": 0.3, not 30%"

    def __init__(self, *, min_open: bool = False) -> None:
        super().__init__(0, 1, min_open=min_open)


class Version(click.IntRange):
    """The number of a policy's version; 0: before the first."""

    def __init__(self) -> None:
        super().__init__(0)

    def convert(self, value: int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            found: int = super().convert(value, param, ctx)
        except click.BadParameter:
            said = f"{value!r} is no version (valid: its number alone, from 0: 1, not v1)"
            self.fail(said, param, ctx)
        return found


SEED = click.IntRange(0, 2**63 - 1)  # what JSON and every reader of it can hold
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
POLICY = click.Path(exists=True, path_type=Path)  # a file, or the folder of a store


def state(command: Command) -> Command:
    option = click.option(
        "--state",
        type=click.Path(file_okay=False, path_type=Path),
        default=DEFAULT_STATE,
        show_default=True,
        help="Folder of keys, receipts and versions.",
    )
    return option(command)


def ledger(command: Command) -> Command:
    option = click.option(
        "--ledger",
        "store",
        metavar="STORE",
        default=SQLITE,
        show_default=True,
        envvar="SLUICE_LEDGER",
        show_envvar=True,
        callback=_known_store,
        help="Where charges and keys are kept: sqlite (a file in --state), or dynamodb:TABLE.",
    )
    return option(command)


def _known_store(_ctx: click.Context, _param: click.Parameter, setting: str) -> str:
    try:
        table_of(setting)
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from None
    return setting


def fleets(command: Command) -> Command:
    said = "Fleet catalogue (YAML); without it the embedded fleets."
    return click.option("--fleets", type=FILE, help=said)(command)


def policy(command: Command) -> Command:
    said = "Policy (YAML), or the folder of a store; without it the packaged default."
    return click.option("--policy", type=POLICY, help=said)(command)


class PolicySource(click.ParamType[object]):
    """A file or a store's folder, or a place on AppConfig, which stays the text that it is."""

    name = "policy"

    def convert(
        self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None
    ) -> object:
        if not isinstance(value, str) or not value.startswith(SCHEME):
            return POLICY.convert(value, param, ctx)
        try:
            return str(place_of(value))
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


def policy_source(command: Command) -> Command:
    said = (
        "Policy: a file (YAML), a store's folder, or appconfig:APPLICATION/ENVIRONMENT/PROFILE; "
        "without it the packaged default."
    )
    option = click.option("--policy", metavar="FILE|FOLDER|PLACE", type=PolicySource(), help=said)
    return option(command)


def router_on(command: Command) -> Command:
    said = "Where the router runs (local, lambda, fargate): its cost is added to every estimate."
    option = click.option(
        "--router-on", default="local", show_default=True, callback=_known_place, help=said
    )
    return option(command)


def _known_place(_ctx: click.Context, _param: click.Parameter, place: str) -> str:
    """Refuse an unknown place as the flag's mistake, not as one of the file with the places."""
    if place != "local" and place not in (known := files.router_places()):
        raise click.BadParameter(f"unknown place `{place}` {suggest(place, known)}")
    return place


def cases(command: Command) -> Command:
    option = click.option(
        "--cases",
        "folder",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Folder of case files; a policy's has its name.",
    )
    return option(command)


def calibration(command: Command) -> Command:
    said = "Apply what `sluice calibrate` wrote."
    return click.option("--calibration", type=FILE, help=said)(command)


def as_json(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)
