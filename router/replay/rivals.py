"""What else could have routed a trace: simple rules of thumb, and one who knows the future. Pure.

Each runs through the same engine over the same fleets, so it queues and is billed alike. A rival
marks requests; small fleets serve what is marked, the others the rest, in each group whoever adds
least to the bill. Only what a small fleet can't take at all (its context, a full line) goes on.
A request keeps the objectives, the floor and the limits of the rule that matched it in the policy,
so it makes no difference whether a policy says them in its defaults or in each rule.
"""

from __future__ import annotations  # `array[int]` is no value before Python 3.12

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace

from policies.model import Condition, Policy, Rule, Settings
from router.replay.baseline import Baseline, Run, anybodys, free, one_rule, only
from router.replay.ending import money_until, until_s
from router.replay.outcome import SERVED, Replayed
from router.replay.quantiles import Quantiles
from router.replay.summary import Money, met, served_quantiles, slos
from router.replay.worth import Answers, answers, small_fleets
from router.traces.trace import UNKNOWN, Trace
from router.world import World, world

NAMES = ("always-large", "always-small", "random", "length-rule", "oracle")


@dataclass(frozen=True, slots=True)
class Course:
    """What rivals run over, and the policy's own run of it. `look_s`: of the replay's settings."""

    at: World
    trace: Trace
    policys: Replayed
    run: Run
    seed: int
    look_s: float

    def settings(self) -> list[Settings]:
        """Return each request's settings: its rule's, the policy's defaults where none matched."""
        policy = self.at.policy
        of_rule = [rule.settings for rule in policy.rules]
        return [policy.defaults if rule < 0 else of_rule[rule] for rule in self.policys.rule]


@dataclass(frozen=True, slots=True)
class Rival:
    """`about`: how it chooses, for a reader. `attained`: of the objectives that the policy has.

    `small_served`: how many of the `served` a small fleet served. `money` runs until the later of
    its end and the policy's; `usd_policy` is the policy's bill until then.
    """

    name: str
    about: str
    served: int
    small_served: int
    attained: float
    money: Money
    usd_policy: float | None
    ttft_ms: Quantiles
    e2e_ms: Quantiles
    answers: Answers


def rivals(course: Course, baseline: Baseline) -> list[Rival]:
    """Return how each rival does; those that mark only where some fleets are small, some not."""
    at, trace, run = course.at, course.trace, course.run
    small = small_fleets(at)
    large = frozenset(on.fleet.id for on in at.fleets) - small
    said = f"{baseline.fleet} alone, always on, of the size of the baseline ({baseline.replicas})"
    rows = [_row("always-large", said, course, baseline.run)]
    if not small or not large:
        return rows
    said = f"{_listed(small)} alone, scaling as the catalogue says"
    alone = run(_small_alone(at, small), anybodys(trace))
    rows.append(_row("always-small", said, course, alone))
    return rows + _marking(course, small, large)


def _marking(course: Course, small: frozenset[str], large: frozenset[str]) -> list[Rival]:
    """Return how those do that mark requests for the small fleets."""
    trace, settings = course.trace, course.settings()
    asked = _Asked(settings)
    two = asked.world(course.at, "two-ways", (small, large), large, late=True)
    every = asked.world(course.at, "all-ways", (small | large,), large, late=False)
    many = _served_by(course.policys, small)
    share = f"as many as the policy sent to {_listed(small)} ({many:,}) of those that fit there"
    fit = fitting(course.at, trace, settings, small)

    def row(name: str, about: str, at: World, of: Trace, chosen: Sequence[int]) -> Rival:
        return _row(name, about, course, course.run(at, asked.marked(of, chosen)))

    lots, short = at_random(fit, many, course.seed), shortest(trace.tokens_in, fit, many)
    doing = would_do(trace, [each.quality_floor for each in settings])
    known = replace(trace, expected=_real(trace))
    said = "knows real lengths and which small answers would do: any fleet for those, by cost"
    return [
        row("random", f"{share}, drawn by lot", two, trace, lots),
        row("length-rule", f"{share}, the shortest prompts", two, trace, short),
        row("oracle", said, every, known, doing),
    ]


# -- who is marked: places of requests -------------------------------------------------------------


def fitting(
    at: World, trace: Trace, settings: Sequence[Settings], fleets: frozenset[str]
) -> list[int]:
    """Return the requests that one of the fleets may take: for its abilities and its context."""
    rooms = [known[-2:] for on, known, _ in at.rows if on.fleet.id in fleets]
    most = [
        max((room for abilities, room in rooms if abilities.issuperset(kind.needs)), default=0)
        for kind in trace.kinds
    ]
    found = []
    for i, of in enumerate(trace.kind):
        own = trace.kinds[of].max_tokens
        out = min(trace.expected[i], settings[i].max_output_tokens) if own is None else own
        if trace.tokens_in[i] + out <= most[of]:
            found.append(i)
    return found


def at_random(among: Sequence[int], many: int, seed: int) -> list[int]:
    """Return so many of these requests, by a lot that depends on the seed alone."""

    def lot(i: int) -> bytes:
        return hashlib.blake2b(f"{seed}:{i}".encode(), digest_size=8).digest()

    return sorted(among, key=lot)[:many]


def shortest(tokens_in: Sequence[int], among: Sequence[int], many: int) -> list[int]:
    """Return the shortest prompts among these requests; of equal ones the earlier."""
    return sorted(among, key=lambda i: (tokens_in[i], i))[:many]


def would_do(trace: Trace, floors: Sequence[float]) -> list[int]:
    """Return where the small model's answer would do; where nobody knows, by p_small."""
    columns = zip(trace.acceptable, trace.p_small, floors, strict=True)
    return [
        i
        for i, (known, p_small, floor) in enumerate(columns)
        if (p_small >= floor if known == UNKNOWN else known == 1)
    ]


def _real(trace: Trace) -> array[int]:
    """Return the real lengths of one choice."""
    pairs = zip(trace.tokens_out, trace.kind, strict=True)
    real = (max(1, round(out / trace.kinds[kind].n)) for out, kind in pairs)
    return array(trace.expected.typecode, real)


# -- where they go ---------------------------------------------------------------------------------


class _Asked:
    """What each request asks for beside its mark, told by its kind's key: a rule of the rival's
    world knows by it what holds.
    """

    def __init__(self, settings: Sequence[Settings]) -> None:
        wanted = [_in_time(each) for each in settings]
        self.each = list(dict.fromkeys(wanted))
        place = {each: i for i, each in enumerate(self.each)}
        self.of = [place[each] for each in wanted]

    def world(
        self,
        at: World,
        name: str,
        to: tuple[frozenset[str], ...],
        rest: frozenset[str],
        *,
        late: bool,
    ) -> World:
        """Return a world in which marked requests go `to`, however `late`, others to the `rest` in
        time.
        """
        rules = []
        for i, in_time in enumerate(self.each):
            rules.append(_rule(_key(i, marked=True), to, free(in_time) if late else in_time))
            rules.append(_rule(_key(i, marked=False), (rest,), in_time))
        defaults = free(at.policy.defaults)
        policy = Policy(name, name, at.policy.baseline, defaults, tuple(rules))
        return world(policy, at.catalogue)

    def marked(self, trace: Trace, chosen: Sequence[int]) -> Trace:
        """Return the trace without wishes and rights, with each request's mark in its key."""
        bare, marks = anybodys(trace), set(chosen)
        places: dict[tuple[int, str], int] = {}
        kind = array(trace.kind.typecode)
        for i, of in enumerate(trace.kind):
            what = of, _key(self.of[i], marked=i in marks)
            kind.append(places.setdefault(what, len(places)))
        kinds = tuple(replace(bare.kinds[of], key=key) for of, key in places)
        return replace(bare, kind=kind, kinds=kinds)


def _key(place: int, *, marked: bool) -> str:
    return f"{'marked' if marked else 'rest'}-{place}"


def _rule(key: str, use: tuple[frozenset[str], ...], settings: Settings) -> Rule:
    return Rule(key, (Condition("key", [key], lambda facts: facts.key == key),), use, settings)


def _in_time(settings: Settings) -> Settings:
    """Return settings by which the cheapest in time serves, and late ones if nobody is in time."""
    slo = settings.slo
    return replace(free(settings), slo=slo, relax=("slo.ttft", "slo.e2e"))


def _small_alone(at: World, small: frozenset[str]) -> World:
    catalogue = only(at.catalogue, small)
    first = catalogue.fleets[0]
    policy = one_rule(at.policy, "always-small", (small,))
    return world(replace(policy, baseline=(first.model.id, first.id)), catalogue)


# -- how they do -----------------------------------------------------------------------------------


def _row(name: str, about: str, course: Course, found: Replayed) -> Rival:
    at, policys = course.at, course.policys
    within = met(found, slos(at.policy, policys))
    end_s = until_s(found, policys)
    served = [fleet for fleet, how in zip(found.fleet, found.outcome, strict=True) if how == SERVED]
    small = small_fleets(at)
    return Rival(
        name,
        about,
        len(served),
        sum(found.fleets[fleet].fleet in small for fleet in served),
        sum(within) / len(within) if within else 0.0,
        money_until(found, end_s, course.look_s),
        money_until(policys, end_s, course.look_s).total,
        served_quantiles(found, found.ttft_ms),
        served_quantiles(found, found.e2e_ms),
        answers(at, course.trace, found),
    )


def _served_by(run: Replayed, fleets: frozenset[str]) -> int:
    of_them = {place for place, fleet in enumerate(run.fleets) if fleet.fleet in fleets}
    return sum(place in of_them for place in run.fleet)


def _listed(fleets: frozenset[str]) -> str:
    return ", ".join(sorted(fleets))
