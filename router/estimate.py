"""What one request would take, cost and be worth on every fleet: the candidates of a decision."""

from collections.abc import Sequence
from dataclasses import dataclass

from backends import cost
from backends.fleet_model import P95_OVER_P50, FleetModel
from backends.load import Load
from backends.quality import quality
from policies.model import Facts
from router.world import World


@dataclass(slots=True)
class Estimate:
    """One candidate (policies.Candidate). Milliseconds, USD; None is unknown, never zero."""

    fleet: str
    model: str
    lane: str
    region: str
    abilities: frozenset[str]
    context_tokens: int
    state: str
    ttft_p50_ms: float | None
    ttft_p95_ms: float | None
    itl_p50_ms: float | None
    e2e_p50_ms: float | None
    e2e_p95_ms: float | None
    usd_marginal: float | None
    usd_average: float | None
    usd_router: float
    quality: float
    marks: tuple[str, ...]
    on: FleetModel
    load: Load
    facts: Facts

    def usd_at_most(self, max_output_tokens: int) -> float | None:
        """Return the most that one attempt can be charged: every input byte a token, uncached.

        None is unknown: without a price, and for images, whose tokens nobody knows beforehand.
        """
        if self.on.card is None or "vision" in self.facts.needs:
            return None
        facts = self.facts
        tokens_in = facts.tokens_in if facts.tokens_in_bound is None else facts.tokens_in_bound
        return self.on.card.charge_nano(tokens_in, 0, max_output_tokens * facts.n) / cost.NANO


def estimate(
    world: World, facts: Facts, loads: Sequence[Load], output_limit: int
) -> list[Estimate]:
    """Estimate every fleet of the catalogue, in its order; loads in the same order.

    `output_limit`: the most tokens a choice may have, as the caller or the policy says.
    """
    baseline = world.baseline.fleet
    task, p_small = facts.task, facts.p_small
    tokens_in, tokens_out = facts.tokens_in, min(facts.tokens_out, output_limit)
    estimates = []
    for on, load in zip(world.fleets, loads, strict=True):
        fleet = on.fleet
        seen = on.predict(tokens_in, tokens_out, facts.n, load)
        worth, assumed = quality(
            fleet.model.quality,
            baseline.model.quality,
            task,
            p_small,
            in_baseline_lane=fleet.lane == baseline.lane,
        )
        marks = on.marks
        if assumed:
            marks = (*marks, "assumed:quality")
        if seen.queued:
            marks = (*marks, "assumed:queue")
        estimates.append(
            Estimate(
                fleet.id,
                fleet.model.id,
                fleet.lane,
                fleet.region,
                fleet.model.abilities,
                fleet.context_tokens,
                load.state,
                seen.ttft_p50_ms,
                _p95(seen.ttft_p50_ms),
                seen.itl_p50_ms,
                seen.e2e_p50_ms,
                _p95(seen.e2e_p50_ms),
                seen.usd_marginal,
                seen.usd_average,
                0.0,
                worth,
                marks,
                on,
                load,
                facts,
            )
        )
    return estimates


def _p95(p50: float | None) -> float | None:
    return None if p50 is None else p50 * P95_OVER_P50
