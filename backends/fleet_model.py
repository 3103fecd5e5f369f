"""One fleet's cost and latency for one request at a load: everything constant worked out once.

Pure. The numbers of a fleet that nothing depends on per request (rate card, capacity, weights,
marks) are computed when a snapshot is built; `predict` is what runs for every request.
"""

from dataclasses import dataclass

from backends import cost
from backends.catalogue import Fleet
from backends.cost import RateCard
from backends.load import Load
from backends.profiles import CACHED_INPUT_SHARE, Profile

P95_OVER_P50 = 1.5  # a missing p95; marked `assumed:p95`


@dataclass(frozen=True, slots=True)
class Prediction:
    """Milliseconds and USD of one request on one fleet; None is unknown."""

    ttft_p50_ms: float | None
    itl_p50_ms: float | None
    e2e_p50_ms: float | None
    usd_marginal: float | None
    usd_average: float | None
    queued: bool


@dataclass(frozen=True, slots=True)
class FleetModel:
    """A fleet with its constants. `card` None: neither a price nor a fallback is known."""

    fleet: Fleet
    capacity: float  # streams of one replica
    usd_per_hour: float | None
    input_weight: float
    card: RateCard | None
    marks: tuple[str, ...]

    def predict(self, tokens_in: int, tokens_out: int, n: int, load: Load) -> Prediction:
        """Predict for `n` choices of `tokens_out` tokens each after `tokens_in` tokens."""
        fleet, profile = self.fleet, self.fleet.profile
        out_total = tokens_out * n
        full = None
        if self.card is not None:
            charge = self.card.charge_nano(tokens_in, 0, out_total) / cost.NANO
            full = charge / fleet.replicas.scale_out_at
        if profile is None:
            return Prediction(None, None, None, full, full, queued=False)

        replicas = max(load.replicas, 1)
        streams = (load.in_flight + 1) / replicas
        concurrency = min(max(streams, 1.0), max(self.capacity, 1.0))
        speed = profile.speed(concurrency)
        itl_ms = speed.itl_ms * load.ewma_itl
        decode_ms = (tokens_out - 1) * itl_ms if tokens_out > 1 else 0.0
        prefill = profile.prefill_ms(tokens_in)
        ttft = e2e = None
        if prefill is not None:
            ttft = prefill * speed.slowdown * load.ewma_ttft
            service_ms = ttft + decode_ms
            if streams > self.capacity:
                # Those before us that find no place, each taking as long as we do, over all places.
                ttft += (streams - self.capacity) / self.capacity * service_ms
            e2e = ttft + decode_ms

        average = marginal = None
        if self.usd_per_hour is not None:
            seconds = cost.box_seconds(tokens_in, out_total, self.input_weight, speed.tok_s)
            average = cost.usd(self.usd_per_hour, seconds)
        if full is not None:
            committed = min(load.committed, replicas) * self.capacity
            marginal = cost.marginal_usd(
                full, load.in_flight, committed, fleet.replicas.scale_out_at
            )
        if average is None:
            average = full
        queued = streams > self.capacity
        return Prediction(ttft, itl_ms, e2e, marginal, average, queued)


def prepare(fleet: Fleet) -> FleetModel:
    """Work out what holds for every request on this fleet."""
    profile = fleet.profile
    usd_per_hour = None
    if fleet.price is not None:
        usd_per_hour = fleet.price.usd_per_hour * fleet.host_share
    if profile is None:
        fallback = fleet.fallback_usd_per_mtok
        card = None if fallback is None else cost.flat_card(fallback)
        marks = (*fleet.marks, *(() if card is None else ("assumed:fallback_price",)))
        return FleetModel(
            fleet, float(fleet.replicas.concurrency_each), usd_per_hour, 1.0, card, marks
        )
    capacity = profile.capacity(fleet.replicas.concurrency_each)
    weight = profile.input_weight()
    marks = _marks(fleet, profile)
    if usd_per_hour is not None:
        tok_s = profile.speed(capacity).tok_s
        card = cost.rate_card(usd_per_hour, tok_s, weight, CACHED_INPUT_SHARE)
    elif fleet.fallback_usd_per_mtok is not None:
        card = cost.flat_card(fleet.fallback_usd_per_mtok)
        marks = (*marks, "assumed:fallback_price")
    else:
        card = None
    return FleetModel(fleet, capacity, usd_per_hour, weight, card, marks)


def _marks(fleet: Fleet, profile: Profile) -> tuple[str, ...]:
    marks = [*fleet.marks, profile.mark, "assumed:p95"]
    if fleet.price is not None:
        marks.append(f"{fleet.price.mark}:price")
    if profile.prefill_tok_s is None:
        marks.append("assumed:input_weight")
        if profile.ttft_ms is not None:
            marks.append("assumed:ttft_by_length")
    if len(profile.points) == 1 and fleet.replicas.concurrency_each > profile.points[0].concurrency:
        marks.append("assumed:throughput")
    return tuple(dict.fromkeys(marks))
