"""Rules whose limits no fleet can meet: held against each fleet at its best. Pure.

At its best is: idle, for the shortest request, and as good as it ever is. What is unknown of a
fleet is taken to be met, so that what is told of can't be otherwise by these profiles.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil
from types import MappingProxyType
from typing import Any

from backends.catalogue import Fleet
from backends.load import Load
from backends.quality import QualityTable, quality
from policies.acceptance import reads_logprobs
from policies.conditions import TASKS
from policies.model import Rule, Soft
from policies.odd import Odd, of_rule
from router.world import World

# Of a request; the shortest is the fastest unless measurements of several lengths say otherwise.
LENGTHS = tuple(product((1, 64, 512), (1, 64)))
SHOWN = 4  # fleets that a message names


@dataclass(frozen=True, slots=True)
class Best:
    """The best that a fleet can do for a request of this rule; None: unknown."""

    fleet: Fleet
    ttft_ms: float | None
    e2e_ms: float | None
    quality: float


def fleet_oddities(world: World, idle: Sequence[Load]) -> Iterator[Odd]:
    for i, rule in enumerate(world.policy.rules):
        groups = [_bests(world, idle, rule, group) for group in rule.use]
        if rule.accept_if:
            yield from _untried(i, rule, groups[0])
            yield from _unmet(i, rule, groups[-1], "then")
        else:
            yield from _unmet(i, rule, [best for group in groups for best in group], "use")


def _bests(world: World, idle: Sequence[Load], rule: Rule, group: frozenset[str]) -> list[Best]:
    found = []
    baseline = world.baseline.fleet
    for on, load in zip(world.fleets, idle, strict=True):
        fleet = on.fleet
        if not group & {fleet.id, fleet.lane}:
            continue
        seen = [on.predict(tokens_in, tokens_out, 1, load) for tokens_in, tokens_out in LENGTHS]
        in_lane = fleet.lane == baseline.lane
        found.append(
            Best(
                fleet,
                _least([each.ttft_p95_ms for each in seen]),
                _least([each.e2e_p95_ms for each in seen]),
                _quality(fleet, baseline.model.quality, rule, in_baseline_lane=in_lane),
            )
        )
    return found


def _least(values: Sequence[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _quality(
    fleet: Fleet, baseline: QualityTable | None, rule: Rule, *, in_baseline_lane: bool
) -> float:
    """Return the most that the fleet is worth, for any task of the rule and a sure classifier."""
    complexity = _asked(rule, "complexity", {}).get("above", 0.0)
    return max(
        quality(
            fleet.model.quality, baseline, task, complexity, 1.0, in_baseline_lane=in_baseline_lane
        )[0]
        for task in _asked(rule, "task", TASKS)
    )


def _asked(rule: Rule, name: str, default: Any) -> Any:  # noqa: ANN401  (a condition's own form)
    return next((each.wanted for each in rule.when if each.name == name), default)


# ---- one limit that nobody meets -----------------------------------------------------------------

Breaks = Callable[[Rule, Best], bool]


def _breaks_ttft(rule: Rule, best: Best) -> bool:
    return _over(best.ttft_ms, rule.settings.slo.ttft_p95_ms)


def _breaks_e2e(rule: Rule, best: Best) -> bool:
    return _over(best.e2e_ms, rule.settings.slo.e2e_p95_ms)


def _over(took_ms: float | None, allowed_ms: float | None) -> bool:
    return took_ms is not None and allowed_ms is not None and took_ms > allowed_ms


def _breaks_floor(rule: Rule, best: Best) -> bool:
    return best.quality < rule.settings.quality_floor


def _breaks_residency(rule: Rule, best: Best) -> bool:
    return rule.residency is not None and best.fleet.region not in rule.residency


def _breaks_needs(rule: Rule, best: Best) -> bool:
    needs = _asked(rule, "needs", [])
    return bool(needs) and best.fleet.model.abilities.isdisjoint(needs)


def _breaks_context(rule: Rule, best: Best) -> bool:
    return _least_tokens(rule) > best.fleet.context_tokens


def _least_tokens(rule: Rule) -> int:
    return int(_asked(rule, "tokens_in", {}).get("above", 0)) + 1


LIMITS: Mapping[str, Breaks] = MappingProxyType(
    {
        "residency": _breaks_residency,
        "needs": _breaks_needs,
        "context": _breaks_context,
        "ttft": _breaks_ttft,
        "e2e": _breaks_e2e,
        "quality_floor": _breaks_floor,
    }
)
SOFT: Mapping[str, Soft] = MappingProxyType(
    {"ttft": "slo.ttft", "e2e": "slo.e2e", "quality_floor": "quality_floor"}
)


def _unmet(i: int, rule: Rule, bests: Sequence[Best], use: str) -> Iterator[Odd]:
    """Yield the limits that each fleet breaks; if there are none, that each breaks some."""
    if not bests:
        return
    broken = {
        best.fleet.id: [name for name, breaks in LIMITS.items() if breaks(rule, best)]
        for best in bests
    }
    by_all = [name for name in LIMITS if all(name in names for names in broken.values())]
    for name in by_all:
        yield _said(name, i, rule, bests, use)
    if not by_all and all(broken.values()):
        each = [
            f"`{fleet}` breaks {SOFT.get(names[0], names[0])}" for fleet, names in broken.items()
        ]
        more = [f"and {len(each) - SHOWN} more"] if len(each) > SHOWN else []
        said = f"no fleet of `{use}` meets all of its limits: {', '.join([*each[:SHOWN], *more])}"
        yield of_rule("no_fleet", i, rule, said)


def _said(name: str, i: int, rule: Rule, bests: Sequence[Best], use: str) -> Odd:
    if name == "residency":
        stand = ", ".join(f"`{region}`" for region in sorted({b.fleet.region for b in bests}))
        said = f"residency: no fleet of `{use}` stands there (they stand in {stand})"
        return of_rule(name, i, rule, said, "residency")
    if name == "needs":
        needs = _asked(rule, "needs", [])
        said = f"needs: no fleet of `{use}` has {' or '.join(f'`{need}`' for need in needs)}"
        return of_rule(name, i, rule, f"{said}: every request is refused", "when", "needs")
    if name == "context":
        most = max(best.fleet.context_tokens for best in bests)
        said = f"tokens_in: no fleet of `{use}` holds {_least_tokens(rule)} tokens (most: {most})"
        return of_rule(name, i, rule, said, "when", "tokens_in")
    way = _way(rule, SOFT[name])
    if name == "quality_floor":
        best = max(bests, key=lambda each: each.quality)
        floor = rule.settings.quality_floor
        said = f"no fleet of `{use}` reaches {floor:g}: the best, `{best.fleet.id}`, has at most"
        return of_rule(name, i, rule, f"{name}: {said} {best.quality:.3g}, {way}", name)
    ms, key = (("ttft_ms", "ttft_p95_ms"), ("e2e_ms", "e2e_p95_ms"))[name == "e2e"]
    best = min(bests, key=lambda each: getattr(each, ms))  # each is known, since each is over
    said = (
        f"slo.{key}: no fleet of `{use}` meets {getattr(rule.settings.slo, key):g} ms even when it "
        f"is idle: the fastest, `{best.fleet.id}`, takes {ceil(getattr(best, ms))} ms (p95) for "
        f"the shortest request, {way}"
    )
    return of_rule("slo", i, rule, said, "slo", key)


def _way(rule: Rule, soft: Soft) -> str:
    if soft in rule.settings.relax:
        return "so it always gives way"
    return "and nothing gives way: every request is refused"


def _untried(i: int, rule: Rule, bests: Sequence[Best]) -> Iterator[Odd]:
    """Yield why a cascade's first answer is never asked for, if it isn't."""
    if not bests:
        return
    if reads_logprobs(rule.accept_if) and not any(
        "logprobs" in best.fleet.model.abilities for best in bests
    ):
        said = "no fleet of `try` has `logprobs`, which `mean_logprob_above` reads: none is tried"
        yield of_rule("untried", i, rule, f"cascade: {said}", "cascade", "try")
        return
    slo = rule.settings.slo
    bounds = [bound for bound in (slo.ttft_p95_ms, slo.e2e_p95_ms) if bound is not None]
    took = [best.e2e_ms for best in bests]
    if bounds and all(_over(ms, min(bounds)) for ms in took):
        ms = ceil(min(ms for ms in took if ms is not None))
        said = f"no fleet of `try` has its whole answer within `slo` ({min(bounds):g} ms), even"
        message = f"cascade: {said} idle: the fastest takes {ms} ms (p95), so none is tried"
        yield of_rule("untried", i, rule, message, "cascade", "try")
