"""What an attempt is charged: usage x the fleet's rate card, in integer nano-USD. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from backends.cost import NANO, RateCard
from backends.sse import Usage


@dataclass(frozen=True, slots=True)
class Charged:
    """One attempt's charge. `estimated`: the fleet told no usage, what was sent on was counted."""

    usage: Usage
    nano: int
    estimated: bool


def charged(card: RateCard | None, usage: Usage, *, estimated: bool) -> Charged | None:
    """Return the charge, or None where tokens or prices are unknown: unknown is not zero."""
    nano = usage_nano(card, usage)
    return None if nano is None else Charged(usage, nano, estimated)


def usage_nano(card: RateCard | None, usage: Usage) -> int | None:
    """Return what these tokens cost at this card; None: nobody knows."""
    if card is None or usage.tokens_in is None or usage.tokens_out is None:
        return None
    cached = min(usage.cached or 0, usage.tokens_in)
    return card.charge_nano(usage.tokens_in, cached, usage.tokens_out)


def charge_json(
    charges: Sequence[Charged],
    baseline: RateCard | None,
    usd_router: float = 0.0,
    *,
    unknown: bool = False,
    served: bool = True,
    most_nano: int | None = None,
) -> dict[str, Any]:
    """Return the receipt's charge: every attempt is paid, the baseline would have served once.

    `usd_router`: what the router itself cost. `unknown`: the price of another attempt is not known,
    so that the sum is an estimate. `served`: the last attempt's answer went out, else nothing was
    worth anything. `most_nano`: a hard budget lets go what is beyond it, of the baseline alike.
    """
    if not charges:
        return {}
    last = charges[-1].usage
    nano = sum(charge.nano for charge in charges)
    router_nano = round(usd_router * NANO)
    baseline_nano = usage_nano(baseline, last)
    if baseline_nano is not None:
        baseline_nano = baseline_nano if served else 0
        if most_nano is not None and nano > most_nano:
            baseline_nano = baseline_nano * most_nano // nano
    nano = nano if most_nano is None else min(nano, most_nano)
    saved = None if baseline_nano is None else (baseline_nano - nano - router_nano) / NANO
    return {
        "usd": nano / NANO,
        "usd_router": router_nano / NANO,
        "usd_baseline": None if baseline_nano is None else baseline_nano / NANO,
        "usd_saved": saved,
        "tokens_in": last.tokens_in,
        "tokens_cached": last.cached,
        "tokens_out": last.tokens_out,
        "estimated": unknown or any(charge.estimated for charge in charges),
    }


def usd_text(nano: int) -> bytes:
    """Return nano-USD as USD with 9 decimals."""
    return b"%d.%09d" % divmod(nano, NANO)
