"""Hedges of a policy in their compiled form. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from policies.model import Hedge

Value = Mapping[str, Any]
PREDICTED: Final = "ttft_p95"
PAIR: Final = 2  # attempts of a hedge


def hedge_from(compiled: Value) -> Hedge:
    after = compiled["after"]
    after_ms = None if after == PREDICTED else int(after)
    return Hedge(after_ms, float(compiled["spend_up_to_usd"]))


def hedge_json(hedge: Hedge) -> dict[str, Any]:
    """Return the compiled form of a hedge."""
    after = PREDICTED if hedge.after_ms is None else hedge.after_ms
    return {"after": after, "spend_up_to_usd": hedge.spend_up_to_usd}
