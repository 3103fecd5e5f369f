"""The part of a trace that a command is asked for."""

import click
from click.core import ParameterSource

from router.cli.errors import INVALID, Ends
from router.cli.ledger.options import zone
from router.finops.period import WrongPeriod, instants
from router.traces.window import WHOLE, Window


def window(start: str | None, end: str | None, tz: str) -> Window:
    """Return what `--from`, `--to` and `--tz` say, or end the command."""
    if start is None and end is None:
        given = click.get_current_context().get_parameter_source("tz")
        if given is ParameterSource.COMMANDLINE:
            raise Ends("`--tz` goes with `--from` or `--to` only", INVALID)
        return WHOLE
    there = zone(tz)
    try:
        begins, ends = instants(start, end, there)
    except WrongPeriod as exc:
        raise Ends(str(exc), INVALID) from None
    return Window(
        WHOLE.start_s if begins is None else begins.timestamp(),
        WHOLE.end_s if ends is None else ends.timestamp(),
    )
