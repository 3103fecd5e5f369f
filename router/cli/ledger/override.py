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
from router.cli.ledger import value as values
from router.cli.ledger.source import opened
from router.finops.money import exact
from router.ledger.port import Ledger


@click.command("override")
@click.argument("budget")
@click.argument("value")
@click.option("--usd", type=click.FloatRange(0, 1e9, min_open=True),
              help="What may be spent instead; a hard limit keeps its ratio to it.")  # fmt: skip
@click.option("--until", help="When it ends: a span (12h, 3d) or a date.")
@click.option("--end", is_flag=True, help="End the override now, in place of --usd and --until.")
@options.state
@options.ledger
def command(
    budget: str,
    value: str,
    usd: float | None,
    until: str | None,
    state: Path,
    store: str,
    *,
    end: bool,
) -> None:
    """Put another limit of BUDGET in force for VALUE, at once and for a time.

    VALUE is what the budget's `match` makes of a request: `team=search`, `tenant=acme`,
    `key=1b867077`, `tags.app=web`; of several, in this order, `team=search,tags.app=web`; `all`
    where it matches everybody. `sluice ledger budgets` lists them.
    """
    if end:
        if usd is not None or until is not None:
            raise Ends("`--end` goes without `--usd` and `--until`", INVALID)
        with told(), opened(store, state) as ledger:
            _end(ledger, budget, value)
        return
    if usd is None or until is None:
        raise Ends("give `--usd` and `--until`, or `--end`", INVALID)
    nano = 0 if isnan(usd) else nano_of(usd)  # nan is neither below 0 nor above
    if not nano:
        raise Ends(f"`--usd {usd:g}` is not a nano-dollar or more", INVALID)
    ends = times.expiry(until, times.now(), "--until")
    with told(), opened(store, state) as ledger:
        values.check(budget, value, ledger.adopted(), state)
        now_s = time.time()
        until_s = datetime.fromisoformat(ends).timestamp()
        try:
            ledger.override(budget, value, nano, until_s, now_s)
        except KeyError:
            said = f"budget `{budget}` was taken out of the policy just now: nothing was changed"
            raise Ends(said, INVALID) from None
        click.echo(f"budget {budget}, {value}: {exact(nano)} until {ends}")
        _warn(ledger, budget, value, now_s)


def _end(ledger: Ledger, budget: str, value: str) -> None:
    now_s = time.time()
    if not ledger.end_override(budget, value, now_s):
        there = [f"{o.budget} {o.value}" for o in ledger.overrides(now_s)]
        said = f"budget {budget} has no override for `{value}`"
        raise Ends(f"{said} (there are: {'; '.join(there) or 'none'})", INVALID)
    adopted = ledger.adopted()
    limit = adopted.limits.get(budget) if adopted else None
    now = "" if limit is None else f": {exact(limit.soft_nano)} again"
    click.echo(f"budget {budget}, {value}: the override is ended{now}")
    _warn(ledger, budget, value, now_s)


def _warn(ledger: Ledger, budget: str, value: str, now_s: float) -> None:
    """Say what may not be what was meant: the limit is passed already, or nobody counts there."""
    found = [s for s in ledger.standings(now_s) if (s.budget, s.value) == (budget, value)]
    for one in found:
        if one.spent > one.limit.soft_nano:
            said = f"{exact(one.spent)} are spent already in {one.period}, more than the limit"
            click.echo(f"warning: {said} of {exact(one.limit.soft_nano)}", err=True)
    if not found:
        said = f"nobody has spent under `{value}` in the running period"
        click.echo(f"warning: {said}: is it the one that was meant?", err=True)
