"""One fleet's cost and latency for one request at a load: everything constant worked out once.

Pure. What holds for every request of a snapshot (rate card, capacity, weights, marks) is worked
out by `prepare`; what depends on the load alone is worked out when that load is first seen and
kept (`FleetModel.rows`, by in-flight count and replicas); what is left for a request is a dozen
multiplications.
"""

import math
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from backends import cost
from backends.catalogue import Fleet
from backends.cost import RateCard
from backends.load import Load
from backends.profiles import CACHED_INPUT_SHARE, Profile
from backends.queueing import wait_over_service
from backends.surface import Ratios, Speed

P95_OVER_P50 = 1.5  # a missing p95; marked `assumed:p95`
_new = tuple.__new__  # what a NamedTuple does, without its wrapper
KEPT_ROWS = 4096  # then they are worked out anew: an overload may count through many


class Prediction(NamedTuple):
    """Milliseconds and USD of one request on one fleet; None is unknown."""

    ttft_p50_ms: float | None
    ttft_p95_ms: float | None
    itl_p50_ms: float | None
    e2e_p50_ms: float | None
    e2e_p95_ms: float | None
    usd_marginal: float | None
    usd_average: float | None
    marks: tuple[str, ...]


class Row(NamedTuple):
    """What a load makes of a fleet: milliseconds and USD per token, waits in service times.

    A prompt takes ``max(floor, fixed + per_token x tokens_in)``; None: unknown. e2e p95 = wait p95
    + `e2e_p95_prefill` x prefill p50 + `e2e_p95_decode` x decode p50.
    """

    floor_ms: float | None
    fixed_ms: float
    ms_per_token: float
    itl_ms: float
    marginal_in: float | None
    marginal_out: float
    average_in: float | None
    average_out: float
    wait_p50: float
    wait_p95: float
    ttft_p95: float
    e2e_p95_prefill: float
    e2e_p95_decode: float
    lengths: Speed | None  # where several pairs of lengths were measured
    marks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FleetModel:
    """A fleet with its constants. `card` None: neither a price nor a fallback is known.

    `usd_per_hour`: of one replica on average, at the fleet's full size (`max`). `full_in`,
    `full_out`: USD by which the bill of a fleet without idle capacity grows, per token; with a
    shadow price, at every load.
    """

    fleet: Fleet
    capacity: float  # streams of one replica
    usd_per_hour: float | None
    input_weight: float
    card: RateCard | None
    marks: tuple[str, ...]
    full_in: float = 0.0
    full_out: float = 0.0
    covered: float = 0.0  # replicas that a savings plan pays for
    plan_usd: float | None = None
    shadow_usd: float | None = None  # of a busy replica-second; None: the curve over utilisation
    rows: dict[tuple[int, int, float], Row] = field(default_factory=dict, repr=False, compare=False)

    def predict(self, tokens_in: int, tokens_out: int, n: int, load: Load) -> Prediction:
        """Predict for `n` choices of `tokens_out` tokens each after `tokens_in` tokens.

        The hot path of a decision: unpacked and in line, a microsecond each.
        """
        out_total = tokens_out * n
        key = (load.in_flight, load.replicas, load.committed)
        row = self.rows.get(key)
        if row is None:
            if self.fleet.profile is None:
                return self._unmeasured(tokens_in, out_total)
            row = self._row(self.fleet.profile, *key)
        (
            floor_ms,
            prefill_ms,
            ms_per_token,
            itl_ms,
            marginal,
            marginal_out,
            average,
            average_out,
            wait_p50,
            wait_p95,
            ttft_p95,
            e2e_p95_prefill,
            e2e_p95_decode,
            lengths,
            marks,
        ) = row
        if marginal is not None:
            marginal = marginal * tokens_in + marginal_out * out_total
        if average is not None:
            average = average * tokens_in + average_out * out_total
        itl_ms *= load.ewma_itl
        prefill_ms += ms_per_token * tokens_in
        if floor_ms is not None and prefill_ms < floor_ms:
            prefill_ms = floor_ms
        prefill_ms *= load.ewma_ttft
        if lengths is not None:
            work, itl, ttft = self._ratios(lengths, tokens_in, tokens_out)
            itl_ms *= itl
            prefill_ms *= ttft
            average = None if average is None else average * work
        if floor_ms is None:
            return Prediction(None, None, itl_ms, None, None, marginal, average, marks)
        decode_ms = (tokens_out - 1) * itl_ms if tokens_out > 1 else 0.0
        e2e_ms = prefill_ms + decode_ms
        e2e_p95_ms = prefill_ms * e2e_p95_prefill + decode_ms * e2e_p95_decode
        if not wait_p50:
            p95_ms = prefill_ms * ttft_p95
            return _new(
                Prediction,
                (prefill_ms, p95_ms, itl_ms, e2e_ms, e2e_p95_ms, marginal, average, marks),
            )
        # Those before us that find no place each take as long as we do.
        p50_ms, p95_ms = wait_p50 * e2e_ms, wait_p95 * e2e_ms
        return Prediction(
            p50_ms + prefill_ms,
            p95_ms + prefill_ms * ttft_p95,
            itl_ms,
            p50_ms + e2e_ms,
            p95_ms + e2e_p95_ms,
            marginal,
            average,
            marks,
        )

    def row(self, in_flight: int, replicas: int, committed: float) -> Row | None:
        """Return what this load makes of the fleet; None: it has no profile."""
        key = (in_flight, replicas, committed)
        row = self.rows.get(key)
        if row is None and self.fleet.profile is not None:
            row = self._row(self.fleet.profile, *key)
        return row

    def usd_per_mtok(self, streams: float) -> tuple[float, float] | None:
        """Return USD per 1M tokens in and out of a replica with so many streams; None: unknown."""
        if self.fleet.profile is None or self.usd_per_hour is None:
            return None
        speed = self.fleet.profile.speed(min(streams, self.capacity))
        out = cost.usd_per_mtok_out(self.usd_per_hour, speed.tok_s)
        return out * speed.input_weight, out

    def _unmeasured(self, tokens_in: int, out_total: int) -> Prediction:
        """Predict without a profile: only a fallback bounds the cost."""
        if self.card is None:
            return Prediction(None, None, None, None, None, None, None, self.marks)
        full = self.full_in * tokens_in + self.full_out * out_total
        average = full * self.fleet.replicas.scale_out_at
        return Prediction(None, None, None, None, None, full, average, self.marks)

    def _row(self, profile: Profile, in_flight: int, replicas: int, committed: float) -> Row:
        places = self.capacity * max(replicas, 1)
        streams = (in_flight + 1) / max(replicas, 1)
        speed = profile.speed(min(max(streams, 1.0), max(self.capacity, 1.0)))
        law = profile.surface.law
        share = 1.0
        if self.shadow_usd is None:
            share = cost.marginal_share(
                in_flight,
                min(committed, max(replicas, 1)) * self.capacity,
                self.fleet.replicas.scale_out_at,
            )
        average_in = average_out = marginal_in = None
        if self.card is not None:
            marginal_in = self.full_in * share
            at = self.fleet.replicas.scale_out_at
            average_in, average_out = self.full_in * at, self.full_out * at
            if self.shadow_usd is not None:
                average_in = self.card.nano_per_mtok_in / cost.NANO / cost.PER_MTOK
                average_out = self.card.nano_per_mtok_out / cost.NANO / cost.PER_MTOK
        hourly = _shared(self.fleet, self._usd_per_hour(max(replicas, 1)))
        if hourly is not None:
            average_out = hourly / 3600 / speed.tok_s
            average_in = average_out * speed.input_weight
        wait_p50, wait_p95 = wait_over_service(math.ceil(in_flight + 1 - places), places)
        ttft_p95 = speed.ttft_p95 or P95_OVER_P50
        row = Row(
            None if law is None else law.floor_ms * speed.slowdown,
            0.0 if law is None else law.fixed_ms * speed.slowdown,
            0.0 if law is None else law.ms_per_token * speed.slowdown,
            speed.itl_ms,
            marginal_in,
            self.full_out * share,
            average_in,
            average_out or 0.0,
            wait_p50,
            wait_p95,
            ttft_p95,
            speed.e2e_p95 or ttft_p95,
            speed.e2e_p95 or speed.itl_p95 or P95_OVER_P50,
            speed if speed.work_ratios else None,
            (*self.marks, "assumed:queue") if wait_p50 else self.marks,
        )
        if len(self.rows) >= KEPT_ROWS:
            self.rows.clear()
        self.rows[(in_flight, replicas, committed)] = row
        return row

    def _usd_per_hour(self, replicas: int) -> float | None:
        """Return USD an hour of one of so many replicas on average, plans applied."""
        tariff = self.fleet.tariff
        hourly = tariff.usd_per_hour(replicas)
        listed = tariff.on_demand()
        if hourly is None or listed is None or self.plan_usd is None:
            return hourly
        return hourly - min(self.covered, replicas) / replicas * (listed - self.plan_usd)

    def _ratios(
        self, lengths: Speed, tokens_in: int, tokens_out: int
    ) -> tuple[float, float, float]:
        """Return by how much these lengths deviate in work, ITL and TTFT."""
        profile = self.fleet.profile
        assert profile is not None
        blend = profile.surface.blend(max(tokens_in, 1), max(tokens_out, 1))
        ttft = _dot(blend, lengths.ttft_ratios) if lengths.ttft_ratios else 1.0
        return _dot(blend, lengths.work_ratios), _dot(blend, lengths.itl_ratios), ttft


def prepare(fleet: Fleet, covered: float = 0.0, plan_usd: float | None = None) -> FleetModel:
    """Work out what holds for every request on this fleet.

    `covered`: replicas that a savings plan pays for, at `plan_usd` an hour each.
    """
    profile = fleet.profile
    tariff = fleet.tariff
    usd_per_hour = _shared(fleet, tariff.usd_per_hour(fleet.replicas.max))
    capacity = float(fleet.replicas.concurrency_each)
    weight, cached_share, marks = 1.0, CACHED_INPUT_SHARE, fleet.marks
    card = None
    if profile is not None:
        capacity = profile.capacity(capacity)
        at_capacity = profile.speed(capacity)
        weight = at_capacity.input_weight
        marks = _marks(fleet, profile)
        if profile.cached_share is not None:
            cached_share = profile.cached_share
        if usd_per_hour is not None:
            card = cost.rate_card(usd_per_hour, at_capacity.tok_s, weight, cached_share)
    if card is None and fleet.fallback_usd_per_mtok is not None:
        card = cost.flat_card(fleet.fallback_usd_per_mtok)
        marks = (*marks, "assumed:fallback_price")
    full_in = full_out = 0.0
    if card is not None:
        full = 1 / cost.NANO / cost.PER_MTOK / fleet.replicas.scale_out_at
        growth = _shared(fleet, tariff.next_usd_per_hour())
        if usd_per_hour is not None and growth is not None:
            full *= growth / usd_per_hour
        full_in, full_out = card.nano_per_mtok_in * full, card.nano_per_mtok_out * full
    return FleetModel(
        fleet, capacity, usd_per_hour, weight, card, marks, full_in, full_out, covered, plan_usd
    )


def at_shadow_price(on: FleetModel, usd_per_busy_second: float) -> FleetModel:
    """Return the fleet with this price of a busy replica-second as its marginal cost: that times a
    request's box seconds at capacity. A fleet without a profile or a price stays as it is.
    """
    profile = on.fleet.profile
    if profile is None or on.card is None:
        return on
    out = usd_per_busy_second / profile.speed(on.capacity).tok_s
    return replace(
        on,
        full_in=out * on.input_weight,
        full_out=out,
        shadow_usd=usd_per_busy_second,
        rows={},
    )


def _shared(fleet: Fleet, usd_per_hour: float | None) -> float | None:
    return None if usd_per_hour is None else usd_per_hour * fleet.host_share


def _marks(fleet: Fleet, profile: Profile) -> tuple[str, ...]:
    surface = profile.surface
    marks = [*fleet.marks, profile.mark]
    if any(speed.ttft_p95 is None for _, speed in surface.levels):
        marks.append("assumed:p95")
    prices = [tranche.price for tranche in fleet.tariff.tranches]
    marks += [f"{price.mark}:price" for price in prices if price is not None]
    if not surface.weight_known:
        marks.append("assumed:input_weight")
    if surface.law is not None and surface.law.floor_ms:
        marks.append("assumed:ttft_by_length")
    if len(surface.levels) == 1 and fleet.replicas.concurrency_each > surface.levels[0][0]:
        marks.append("assumed:throughput")
    return tuple(dict.fromkeys(marks))


def _dot(blend: Ratios, ratios: Ratios) -> float:
    return sum(weight * ratio for weight, ratio in zip(blend, ratios, strict=True))
