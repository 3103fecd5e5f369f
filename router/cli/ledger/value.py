"""Which value of which budget is meant, held against the policy that the ledger adopted."""

from pathlib import Path

import click
import orjson

from policies.match import match_from
from policies.model import Match
from router.budget_value import FORMS, form_of, is_value, is_value_of
from router.cli.errors import INVALID, Ends
from router.ledger.port import Adopted
from yamlfile import suggest


def check(budget: str, value: str, adopted: Adopted | None, state: Path) -> None:
    """End the command where the policy has no such budget, or nobody can count under the value."""
    limits = {} if adopted is None else adopted.limits
    if adopted is None or budget not in limits:
        said = f"no router of this ledger has a budget `{budget}` in its policy"
        raise Ends(f"{said} {suggest(budget, limits)}", INVALID)
    match = _match(budget, adopted.policy_hash, state)
    if match is None:
        if not is_value(value):
            raise Ends(f"`{value}` is no value of a budget (valid: {FORMS})", INVALID)
        kept = f"{state}/versions has no policy {adopted.policy_hash}"
        said = f"only the form of `{value}` was checked, not whether `{budget}` counts it"
        click.echo(f"warning: {kept}: {said}", err=True)
        return
    if not is_value_of(match, value):
        raise Ends(f"`{value}` is no value of budget `{budget}` (valid: {_valid(match)})", INVALID)


def _valid(match: Match) -> str:
    form = form_of(match)
    if match.key == "*":
        return f"`{form}`, the ID as in `sluice keys list`, without `sk-sluice-`"
    wild = "*" in (match.tenant, match.team, *(wanted for _, wanted in match.tags))
    return f"`{form}`, X any name" if wild else f"`{form}`"


def _match(budget: str, policy_hash: str, state: Path) -> Match | None:
    """Return whose requests the budget counts; None: that policy is not kept here."""
    path = state / "versions" / f"{policy_hash}.json"
    try:
        kept = orjson.loads(path.read_bytes())
        return next(match_from(row["match"]) for row in kept["budgets"] if row["id"] == budget)
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, AttributeError, StopIteration):
        return None
