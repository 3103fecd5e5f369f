"""What one request would take, cost and be worth on every fleet: the candidates of a decision."""

from collections.abc import Sequence
from typing import NamedTuple

from backends import cost
from backends.fleet_model import FleetModel
from backends.load import Load, is_full
from backends.quality import quality, rests_on_p_small
from policies.model import Facts
from router.world import World

_new = tuple.__new__  # what a NamedTuple does, without its wrapper


class Estimate(NamedTuple):
    """One candidate (policies.Candidate). Milliseconds, USD; None is unknown, never zero.

    The first fields are those of ``World.known``, the next those of ``Prediction``.
    """

    fleet: str
    model: str
    lane: str
    region: str
    abilities: frozenset[str]
    context_tokens: int
    ttft_p50_ms: float | None
    ttft_p95_ms: float | None
    itl_p50_ms: float | None
    e2e_p50_ms: float | None
    e2e_p95_ms: float | None
    usd_marginal: float | None
    usd_average: float | None
    marks: tuple[str, ...]
    state: str
    usd_router: float
    quality: float
    by_p_small: bool
    on: FleetModel
    load: Load
    facts: Facts

    def nano_at_most(self, max_output_tokens: int) -> int | None:
        """Return the most that one attempt can be charged: every input byte a token, uncached.

        None is unknown: without a price, and for images, whose tokens nobody knows beforehand.
        """
        if self.on.card is None or "vision" in self.facts.needs:
            return None
        facts = self.facts
        tokens_in = facts.tokens_in if facts.tokens_in_bound is None else facts.tokens_in_bound
        return self.on.card.charge_nano(tokens_in, 0, max_output_tokens * facts.n)

    def usd_expected(self, max_output_tokens: int) -> float | None:
        """Return what one attempt is expected to be charged by the rate card, nothing cached.

        None is unknown, as in `nano_at_most`.
        """
        if self.on.card is None or "vision" in self.facts.needs:
            return None
        facts = self.facts
        tokens_out = min(facts.tokens_out, max_output_tokens) * facts.n
        return self.on.card.charge_nano(facts.tokens_in, 0, tokens_out) / cost.NANO

    def usd_at_most(self, max_output_tokens: int) -> float | None:
        """Return the same in USD."""
        nano = self.nano_at_most(max_output_tokens)
        return None if nano is None else nano / cost.NANO


def estimate(
    world: World, facts: Facts, loads: Sequence[Load], output_limit: int
) -> list[Estimate]:
    """Estimate every fleet of the catalogue, in its order; loads in the same order.

    `output_limit`: the most tokens a choice may have, as the caller or the policy says.
    """
    tokens_in, tokens_out, n = facts.tokens_in, min(facts.tokens_out, output_limit), facts.n
    baseline = world.baseline.fleet.model.quality
    task = facts.task
    worths = [
        (
            quality(
                table, baseline, task, facts.complexity, facts.p_small, in_baseline_lane=in_lane
            ),
            rests_on_p_small(table, baseline, task, in_baseline_lane=in_lane),
        )
        for table, in_lane in world.grades
    ]
    router = world.catalogue.router
    estimates = []
    for (on, known, grade), load in zip(world.rows, loads, strict=True):
        seen = on.predict(tokens_in, tokens_out, n, load)
        (worth, assumed), by_p_small = worths[grade]
        if assumed:
            seen = seen._replace(marks=(*seen.marks, "assumed:quality"))
        usd_router = router.usd(seen.e2e_p50_ms) if router.lines else 0.0
        state = "at-limit" if load.state == "ready" and is_full(load) else load.state
        rest = (state, usd_router, worth, by_p_small, on, load, facts)
        estimates.append(_new(Estimate, known + seen + rest))
    return estimates
