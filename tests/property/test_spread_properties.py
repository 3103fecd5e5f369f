"""Which of nearly equal fleets is first, held against an oracle that counts places one by one."""

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from backends.load import Load
from policies.evaluate import Refused, Verdict
from policies.model import Rule
from router.estimate import Estimate
from router.sampling import drawn
from router.spread import spread

COSTS = st.sampled_from([None, 0.0, 1.0, 1.04, 1.05, 1.06, 0.96, 0.94, 2.0])
USES = st.sampled_from(
    [(frozenset({"a", "b"}),), (frozenset({"a"}), frozenset({"b"})), (frozenset({"f0", "b"}),)]
)
DRAWS = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1 - 2**-53])


@st.composite
def fleets(draw):
    many = draw(st.integers(0, 5))
    return [
        candidate(
            f"f{n}",
            draw(st.sampled_from("ab")),
            draw(COSTS),
            draw(COSTS),
            Load(
                in_flight=draw(st.integers(0, 3)),
                replicas=draw(st.integers(0, 2)),
                limit=draw(st.sampled_from([None, 0, 1, 3])),
            ),
        )
        for n in range(many)
    ]


def candidate(fleet, lane, marginal, average, load, capacity=2.0):
    known = {"fleet": fleet, "lane": lane, "usd_marginal": marginal, "usd_average": average}
    blank = dict.fromkeys(Estimate._fields)
    return Estimate(
        **{**blank, **known, "load": load, "marks": (), "on": SimpleNamespace(capacity=capacity)}
    )


@st.composite
def verdicts(draw):
    ranked = tuple(draw(fleets()))
    minimize = draw(st.sampled_from(["marginal_cost", "average_cost", "ttft", "e2e", "best"]))
    refused = (Refused(candidate("x", "a", 1.0, 1.0, Load()), "cold", ""),)
    rule = draw(st.sampled_from([None, Rule("r", (), draw(USES))]))
    return Verdict(rule, minimize, ranked, refused, (), draw(st.integers(0, len(ranked))))


def equals(segment, rule):
    """Return who may be first instead of the first, by the words of the contract."""

    def group(c):
        return [c.lane in names or c.fleet in names for names in rule.use]

    def near(mine, best):
        return mine is not None and best is not None and abs(mine - best) <= 0.05 * best

    best = segment[0]
    return [
        c
        for c in segment
        if group(c).index(True) == group(best).index(True)
        and near(c.usd_marginal, best.usd_marginal)
        and near(c.usd_average, best.usd_average)
    ]


def places(c):
    most = c.load.limit if c.load.limit is not None else c.load.replicas * 2
    return [c.fleet] * max(0, most - c.load.in_flight)


def names(candidates):
    return [c.fleet for c in candidates]


def in_use(verdict):
    return verdict.rule is not None and all(
        any(c.lane in n or c.fleet in n for n in verdict.rule.use) for c in verdict.ranked
    )


@given(verdicts().filter(lambda v: v.rule is None or in_use(v)), DRAWS)
def test_the_first_is_drawn_from_the_free_places_of_the_equals_and_the_rest_stays(verdict, at):
    found = spread(verdict, at)
    assert spread(verdict, at) == found
    assert (found.refused, found.rule, found.tried) == (
        verdict.refused,
        verdict.rule,
        verdict.tried,
    )
    pieces = ((0, verdict.tried), (verdict.tried, len(verdict.ranked)))
    for begins, ends in pieces:
        before, after = verdict.ranked[begins:ends], found.ranked[begins:ends]
        free = []
        if before and verdict.rule and verdict.minimize in ("marginal_cost", "average_cost"):
            alike = equals(before, verdict.rule)
            free = [place for c in alike for place in places(c)] if len(alike) > 1 else []
        if not free:
            assert after == before
            continue
        first = free[int(at * len(free))]
        assert after[0].fleet == first
        assert after[0].marks == (f"spread:{len(alike)}",)
        rest = [c for c in before if c.fleet != first]
        assert list(after[1:]) == rest


@given(st.integers(1, 6), st.integers(1, 6))
def test_many_requests_fall_as_places_are_free(first, second):
    """The hash of the ids, on two equals."""
    pair = tuple(
        candidate(name, "a", 0.0, 1.0, Load(limit=limit))
        for name, limit in (("one", first), ("two", second))
    )
    verdict = Verdict(Rule("r", (), (frozenset({"a"}),)), "marginal_cost", pair, ())
    many = [drawn(f"req_{n:024x}", "spread") for n in range(600)]
    share = sum(spread(verdict, at).ranked[0].fleet == "one" for at in many) / len(many)
    assert abs(share - first / (first + second)) < 0.08
