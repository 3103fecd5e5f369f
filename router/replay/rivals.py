"""What else could have routed a trace: simple rules of thumb, and one who knows the future. Pure.

Each runs through the same engine over the same fleets, so it queues and is billed alike. A rival
marks requests; small fleets serve what is marked, the others the rest, in each group whoever adds
least to the bill. Only what a small fleet can't take at all (its context, a full line) goes on.
"""

from __future__ import annotations  # `array[int]` is no value before Python 3.12

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace

from policies.model import Condition, Policy, Rule, Settings
from router.replay.baseline import Baseline, Run, anybodys, free, one_rule, only
from router.replay.outcome import SERVED, Replayed
from router.replay.quantiles import Quantiles
from router.replay.summary import Money, met, money, served_quantiles, slos
from router.replay.worth import Answers, answers, small_fleets
from router.traces.trace import UNKNOWN, Trace
from router.world import World, world

MARK = "marked"
NAMES = ("always-large", "always-small", "random", "length-rule", "oracle")


@dataclass(frozen=True, slots=True)
class Rival:
    """`about`: how it chooses, for a reader. `attained`: of the objectives that the policy has."""

    name: str
    about: str
    served: int
    attained: float
    money: Money
    ttft_ms: Quantiles
    e2e_ms: Quantiles
    answers: Answers


def rivals(
    at: World, trace: Trace, policys: Replayed, baseline: Baseline, run: Run, seed: int
) -> list[Rival]:
    """Return how each rival does; those that mark only where some fleets are small, some not."""
    small = small_fleets(at)
    large = frozenset(on.fleet.id for on in at.fleets) - small

    def row(name: str, about: str, found: Replayed) -> Rival:
        return _row(name, about, at, trace, (policys, found))

    said = f"{baseline.fleet} alone, always on, of the size of the baseline ({baseline.replicas})"
    rows = [row("always-large", said, baseline.run)]
    if not small or not large:
        return rows
    said = f"{_listed(small)} alone, scaling as the catalogue says"
    rows.append(row("always-small", said, run(_small_alone(at, small), anybodys(trace))))
    two, many = _two_ways(at, small, large), _served_by(policys, small)
    share = f"as many as the policy sent to {_listed(small)} ({many:,})"
    lots = _marked(trace, at_random(len(trace), many, seed))
    rows.append(row("random", f"{share}, drawn by lot", run(two, lots)))
    short = _marked(trace, shortest(trace.tokens_in, many))
    rows.append(row("length-rule", f"{share}, those with the shortest prompts", run(two, short)))
    said = "knows real lengths and which small answers would do: any fleet for those, by cost"
    doing = would_do(trace, at.policy.defaults.quality_floor)
    known = _marked(replace(trace, expected=_real(trace)), doing)
    rows.append(row("oracle", said, run(_all_ways(at, small, large), known)))
    return rows


# -- who is marked ---------------------------------------------------------------------------------


def at_random(requests: int, many: int, seed: int) -> list[bool]:
    """Return marks for so many of the requests, by a lot that depends on the seed alone."""

    def lot(i: int) -> bytes:
        return hashlib.blake2b(f"{seed}:{i}".encode(), digest_size=8).digest()

    return _marks(requests, sorted(range(requests), key=lot)[:many])


def shortest(tokens_in: Sequence[int], many: int) -> list[bool]:
    """Return marks for the shortest prompts; of equal ones the earlier."""
    order = sorted(range(len(tokens_in)), key=lambda i: (tokens_in[i], i))
    return _marks(len(tokens_in), order[:many])


def would_do(trace: Trace, floor: float) -> list[bool]:
    """Return marks where the small model's answer would do; where nobody knows, by p_small."""
    columns = zip(trace.acceptable, trace.p_small, strict=True)
    return [p_small >= floor if known == UNKNOWN else known == 1 for known, p_small in columns]


def _marks(requests: int, chosen: Sequence[int]) -> list[bool]:
    marks = [False] * requests
    for i in chosen:
        marks[i] = True
    return marks


def _marked(trace: Trace, marks: Sequence[bool]) -> Trace:
    """Return the trace without wishes and rights, with each request's mark in its kind's key."""
    bare = anybodys(trace)
    kinds = len(trace.kinds)
    kind = array(
        trace.kind.typecode, (k + kinds * m for k, m in zip(trace.kind, marks, strict=True))
    )
    unmarked = tuple(replace(facts, key="") for facts in bare.kinds)
    marked = tuple(replace(facts, key=MARK) for facts in bare.kinds)
    return replace(bare, kind=kind, kinds=(*unmarked, *marked))


def _real(trace: Trace) -> array[int]:
    """Return the real lengths of one choice."""
    pairs = zip(trace.tokens_out, trace.kind, strict=True)
    real = (max(1, round(out / trace.kinds[kind].n)) for out, kind in pairs)
    return array(trace.expected.typecode, real)


# -- where they go ---------------------------------------------------------------------------------


def _small_alone(at: World, small: frozenset[str]) -> World:
    catalogue = only(at.catalogue, small)
    first = catalogue.fleets[0]
    policy = one_rule(at.policy, "always-small", (small,))
    return world(replace(policy, baseline=(first.model.id, first.id)), catalogue)


def _two_ways(at: World, small: frozenset[str], large: frozenset[str]) -> World:
    """Return a world in which marked requests go to small fleets, however late, others don't."""
    marked = _rule("marked", (small, large), free(at.policy.defaults), marked=True)
    rest = _rule("rest", (large,), _in_time(at.policy.defaults))
    return _with(at, "two-ways", (marked, rest))


def _all_ways(at: World, small: frozenset[str], large: frozenset[str]) -> World:
    """Return a world in which marked requests go anywhere, others to large fleets, in time."""
    settings = _in_time(at.policy.defaults)
    marked = _rule("marked", (small | large,), settings, marked=True)
    return _with(at, "all-ways", (marked, _rule("rest", (large,), settings)))


def _in_time(settings: Settings) -> Settings:
    """Return settings by which the cheapest in time serves, and late ones if nobody is in time."""
    slo = settings.slo
    return replace(free(settings), slo=slo, relax=("slo.ttft", "slo.e2e"))


def _rule(
    name: str, use: tuple[frozenset[str], ...], settings: Settings, *, marked: bool = False
) -> Rule:
    when = (Condition("key", [MARK], lambda facts: facts.key == MARK),) if marked else ()
    return Rule(name, when, use, settings)


def _with(at: World, name: str, rules: tuple[Rule, ...]) -> World:
    settings = free(at.policy.defaults)
    policy = Policy(name, name, at.policy.baseline, settings, rules)
    return world(policy, at.catalogue)


# -- how they do -----------------------------------------------------------------------------------


def _row(name: str, about: str, at: World, trace: Trace, runs: tuple[Replayed, Replayed]) -> Rival:
    policys, found = runs
    within = met(found, slos(at.policy, policys))
    return Rival(
        name,
        about,
        sum(outcome == SERVED for outcome in found.outcome),
        sum(within) / len(within) if within else 0.0,
        money(found.fleets, found.usd_router),
        served_quantiles(found, found.ttft_ms),
        served_quantiles(found, found.e2e_ms),
        answers(at, trace, found),
    )


def _served_by(run: Replayed, fleets: frozenset[str]) -> int:
    of_them = {place for place, fleet in enumerate(run.fleets) if fleet.fleet in fleets}
    return sum(place in of_them for place in run.fleet)


def _listed(fleets: frozenset[str]) -> str:
    return ", ".join(sorted(fleets))
