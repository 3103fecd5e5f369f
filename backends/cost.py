"""What tokens cost on a fleet: the contract's formulas, exact and slow enough to read.

Money that is charged is integer nano-USD from a rate card; predictions are USD as floats.
Formulas: docs/cost-model.md. ITL is for latency only, never for cost.
"""

from dataclasses import dataclass

NANO = 1_000_000_000
PER_MTOK = 1_000_000


@dataclass(frozen=True, slots=True)
class RateCard:
    """Nano-USD per 1M tokens of a fleet version: throughput at capacity, no utilisation factor."""

    nano_per_mtok_in: int
    nano_per_mtok_cached: int
    nano_per_mtok_out: int

    def charge_nano(self, tokens_in: int, tokens_cached: int, tokens_out: int) -> int:
        """Return the charge, rounded up to a whole nano-USD. `tokens_in` include the cached."""
        total = (
            (tokens_in - tokens_cached) * self.nano_per_mtok_in
            + tokens_cached * self.nano_per_mtok_cached
            + tokens_out * self.nano_per_mtok_out
        )
        return -(-total // PER_MTOK)


def box_seconds(tokens_in: float, tokens_out: float, input_weight: float, tok_s: float) -> float:
    """Return the share of one replica's time that this work takes, in seconds."""
    return (input_weight * tokens_in + tokens_out) / tok_s


def usd(usd_per_hour: float, seconds: float) -> float:
    return usd_per_hour / 3600 * seconds


def usd_per_mtok_out(usd_per_hour: float, tok_s: float) -> float:
    """Return USD per 1M output tokens, decode only."""
    return usd_per_hour / 3600 / tok_s * PER_MTOK


def rate_card(
    usd_per_hour: float, tok_s_at_capacity: float, input_weight: float, cached_share: float
) -> RateCard:
    """Derive the card from price and throughput at capacity.

    A dear and slow fleet has a dear token; a weight below one makes input cheaper.
    """
    out = usd_per_mtok_out(usd_per_hour, tok_s_at_capacity) * NANO
    return RateCard(round(out * input_weight), round(out * input_weight * cached_share), round(out))


def flat_card(usd_per_mtok: float) -> RateCard:
    """Return the card of a fleet without a known cost: one bound for every token."""
    nano = round(usd_per_mtok * NANO)
    return RateCard(nano, nano, nano)


def marginal_share(in_flight: int, committed_capacity: float, at: float) -> float:
    """Return the share of a request's full cost by which the bill grows, 0 to 1.

    Committed capacity that is idle costs nothing more; from half of `at` (the utilisation at
    which the fleet scales out) the price rises with the square to the full cost: a shadow price,
    so that cheap work doesn't crowd out the work only that fleet can do. No committed capacity: 1.
    """
    if committed_capacity <= 0:
        return 1.0
    utilisation = in_flight / committed_capacity
    half = at / 2
    if utilisation <= half:
        return 0.0
    if utilisation >= at:
        return 1.0
    return float(((utilisation - half) / half) ** 2)


def wake_usd_per_request(
    usd_per_hour: float, wake_seconds: float, min_run_seconds: float, expected_rph: float | None
) -> float:
    """Return what waking a cold machine costs each request expected while it has to run.

    Unknown traffic counts as this one request.
    """
    seconds = wake_seconds + min_run_seconds
    expected = 1.0 if expected_rph is None else max(1.0, expected_rph * seconds / 3600)
    return usd(usd_per_hour, seconds) / expected


def requests_per_hour_at_break_even(usd_per_hour: float, usd_per_request: float) -> float:
    """Return the traffic from which one always-on machine is cheaper than paying by request."""
    return usd_per_hour / usd_per_request
