"""The part of a trace that a command is asked for."""

from datetime import datetime

import click
from click.core import ParameterSource

from router.cli.errors import INVALID, Ends
from router.cli.ledger.options import chosen
from router.traces.window import WHOLE, Window


def window(start: str | None, end: str | None, tz: str) -> Window:
    """Return what `--from`, `--to` and `--tz` say, or end the command."""
    if start is None and end is None:
        given = click.get_current_context().get_parameter_source("tz")
        if given is ParameterSource.COMMANDLINE:
            raise Ends("`--tz` goes with `--from` or `--to` only", INVALID)
        return WHOLE
    asked, _ = chosen(start, end, tz)
    return Window(
        WHOLE.start_s if asked.start is None else _since_1970(asked.start),
        WHOLE.end_s if asked.end is None else _since_1970(asked.end),
    )


def _since_1970(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
