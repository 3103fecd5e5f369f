"""``sluice ledger override``: another limit for one value of a budget, until it ends by itself."""

import time
from datetime import datetime
from math import isnan
from pathlib import Path

import click

from policies.model import nano_of
from router.cli import options
from router.cli.errors import INVALID, Ends, told
from router.cli.keys import times
from router.cli.ledger.source import opened


@click.command("override")
@click.argument("budget")
@click.argument("value")
@click.option("--usd", type=click.FloatRange(0, 1e9, min_open=True), required=True,
              help="What may be spent instead; a hard limit keeps its ratio to it.")  # fmt: skip
@click.option("--until", required=True, help="When it ends: a span (12h, 3d) or a date.")
@options.state
@options.ledger
def command(budget: str, value: str, usd: float, until: str, state: Path, store: str) -> None:
    """Put another limit of BUDGET in force for VALUE (`team=search`; `all` where it matches
    everybody), at once and for a time.
    """
    nano = 0 if isnan(usd) else nano_of(usd)  # nan is neither below 0 nor above
    if not nano:
        raise Ends(f"`--usd {usd:g}` is not a nano-dollar or more", INVALID)
    ends = times.expiry(until, times.now(), "--until")
    with told(), opened(store, state) as ledger:
        try:
            now_s = time.time()
            ledger.override(budget, value, nano, datetime.fromisoformat(ends).timestamp(), now_s)
        except KeyError:
            said = f"no router of this ledger has a budget `{budget}` in its policy"
            raise Ends(said, INVALID) from None
    click.echo(f"budget {budget}, {value}: ${usd:g} until {ends}")
