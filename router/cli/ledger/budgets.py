"""``sluice ledger budgets``: what is left of every budget, for whom, and until when."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import orjson

from router.cli import options
from router.cli.errors import told
from router.cli.ledger.source import opened
from router.cli.table import grid
from router.finops.money import exact, usd_cents, usd_text
from router.ledger.entry import stamp
from router.ledger.port import Adopted, Override, Standing

HEAD = ("budget", "value", "period", "ends", "limit $", "hard $", "spent $", "reserved $",
        "left $", "override until")  # fmt: skip
LEFT = {"budget", "value", "period", "ends", "override until"}


@click.command("budgets")
@click.option("--all", "closed", is_flag=True, help="Periods that are over, too.")
@options.state
@options.ledger
@options.as_json
def command(state: Path, store: str, *, closed: bool, as_json: bool) -> None:
    """Show what is spent, set aside and left of the adopted policy's budgets, in the periods that
    are running, and the overrides in force.
    """
    with told(), opened(store, state) as ledger:
        now_s = time.time()
        adopted = ledger.adopted()
        standings = ledger.standings(now_s, closed=closed)
        overrides = ledger.overrides(now_s)
    if as_json:
        click.echo(orjson.dumps(_json(adopted, standings, overrides)))
    else:
        click.echo("\n".join(_text(adopted, standings, overrides)))


def _json(
    adopted: Adopted | None, standings: Sequence[Standing], overrides: Sequence[Override]
) -> Mapping[str, Any]:
    return {
        "policy": None if adopted is None else adopted.policy_hash,
        "budgets": [_row(one) for one in standings],
        "untouched": _untouched(adopted, standings),
        "overrides": [
            {
                "budget": o.budget,
                "value": o.value,
                "usd": _usd(o.soft_nano),
                "until": stamp(o.until_s),
            }
            for o in overrides
        ],
    }


def _row(one: Standing) -> Mapping[str, Any]:
    used, limit = one.spent + one.reserved, one.limit
    hard = limit.hard_nano
    return {
        "budget": one.budget,
        "value": one.value,
        "period": one.period,
        "ends": one.ends,
        "usd": _usd(limit.soft_nano),
        "usd_hard": None if hard is None else _usd(hard),
        "usd_spent": _usd(one.spent),
        "usd_reserved": _usd(one.reserved),
        "usd_left": _usd(limit.soft_nano - used),
        "usd_left_hard": None if hard is None else _usd(hard - used),
        "override_until": None if one.until_s is None else stamp(one.until_s),
    }


def _text(
    adopted: Adopted | None, standings: Sequence[Standing], overrides: Sequence[Override]
) -> list[str]:
    if adopted is None:
        return ["no router has adopted a policy in this ledger yet"]
    if not adopted.limits:
        return [f"the policy {adopted.policy_hash} has no budgets"]
    said = [grid(HEAD, [_cells(one) for one in standings], LEFT)] if standings else []
    untouched = _untouched(adopted, standings)
    if untouched:
        said.append(f"no request counted in: {', '.join(untouched)}")
    there = {(one.budget, one.value) for one in standings}
    said += [
        f"override of {o.budget} for {o.value}: {exact(o.soft_nano)} until {stamp(o.until_s)}; "
        "nobody has spent under it"
        for o in overrides
        if (o.budget, o.value) not in there
    ]
    return said


def _cells(one: Standing) -> tuple[str, ...]:
    hard, soft = one.limit.hard_nano, one.limit.soft_nano
    return (
        one.budget,
        one.value,
        one.period,
        one.ends,
        usd_cents(soft),
        "-" if hard is None else usd_cents(hard),
        usd_cents(one.spent),
        usd_cents(one.reserved),
        usd_cents(soft - one.spent - one.reserved),
        "" if one.until_s is None else stamp(one.until_s),
    )


def _untouched(adopted: Adopted | None, standings: Sequence[Standing]) -> list[str]:
    """Return the budgets of which there is no scope."""
    ids = () if adopted is None else adopted.limits
    return sorted(set(ids) - {one.budget for one in standings})


def _usd(nano: int) -> orjson.Fragment:
    return orjson.Fragment(usd_text(nano))
