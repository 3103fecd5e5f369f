"""What else could have routed a trace."""

from dataclasses import replace

import pytest
from replayed import FLEETS, LARGE, SMALL, by_hand, fleet_run, kind, replayed, served, trace

from policies.evaluate import matching
from router.replay.baseline import Alone, alone
from router.replay.bench import Asked, bench, found_json
from router.replay.outcome import SERVED, Settings
from router.replay.rivals import NAMES, Course, at_random, fitting, rivals, shortest, would_do
from router.replay.run import replay
from router.replay.worth import small_fleets
from router.traces.mix import Mix
from router.traces.opening import open_trace

LOOK_S = 60.0
OBJECTIVES = "slo: {ttft_p95_ms: 300, e2e_p95_ms: 20000}, quality_floor: 0.6"
SAID_ONCE = f"""
version: 1
name: shop
baseline: llama-4-scout@p5-scout
defaults: {{{OBJECTIVES}, relax: [slo.ttft, slo.e2e]}}
rules:
  - {{id: simple, when: {{tier: simple}}, use: [cpu, accelerator]}}
  - {{id: rest, use: accelerator}}
"""
SAID_BY_EACH = f"""
version: 1
name: shop
baseline: llama-4-scout@p5-scout
defaults: {{slo: {{ttft_p95_ms: null, e2e_p95_ms: null}}, relax: [slo.ttft, slo.e2e]}}
rules:
  - {{id: simple, when: {{tier: simple}}, use: [cpu, accelerator], {OBJECTIVES}}}
  - {{id: rest, use: accelerator, {OBJECTIVES}}}
"""


def engine(world, trace):
    """Send each to the first fleet that its rule names and that it fits, in 1 s over replicas."""
    names = [fleet.id for fleet in world.catalogue.fleets]
    runs, rows = [fleet_run(name, bill=1.0) for name in names], []
    for i in range(len(trace)):
        rule = matching(world.policy, trace.facts(i))
        named = [f for use in rule.use for f in world.catalogue.fleets if {f.id, f.lane} & use]
        fits = [f for f in named if trace.tokens_in[i] < f.model.context_tokens]
        fleet = (fits or named)[0]
        ms = 1000 / fleet.replicas.min if fleet.replicas.min else 10
        rows.append((fleet.id, world.policy.rules.index(rule), SERVED, ms, ms, 1))
    return replayed(rows, fleets=runs)


@pytest.fixture(scope="module")
def world():
    return by_hand()


def told(n=8):
    lengths = [100 * (n - i) for i in range(n)]
    kinds = [kind("simple" if i % 2 else "heavy") for i in range(n)]
    return trace(kinds, tokens_in=lengths, acceptable=[i % 2 for i in range(n)])


def of(world, told, policys=None):
    policys = policys or engine(world, told)
    beside = Alone(engine, LOOK_S).of(world, told, policys, 0.5)
    course = Course(world, told, policys, engine, 1, LOOK_S)
    return {row.name: row for row in rivals(course, beside)}


def test_small_fleets_are_those_whose_answers_may_not_do(world):
    assert small_fleets(world) == {SMALL}


def test_all_rivals_run_over_the_whole_trace(world):
    found = of(world, told())
    assert tuple(found) == NAMES
    assert {row.served for row in found.values()} == {8}


def test_always_large_uses_no_small_fleet_and_always_small_no_other(world):
    found = of(world, told())
    assert found["always-large"].answers.small == 0.0
    assert found["always-small"].answers.small == 1.0


def test_lot_and_length_send_as_many_to_the_small_fleets_as_the_policy_did(world):
    found = of(world, told())
    assert found["random"].answers.small == found["length-rule"].answers.small == 0.5


def test_the_oracle_gives_small_fleets_only_what_they_answer_well(world):
    assert of(world, told())["oracle"].answers.acceptable == 1.0
    assert of(world, told())["random"].answers.acceptable < 1.0


def test_without_small_fleets_there_is_only_the_baseline_alone():
    large = replace(FLEETS, fleets=tuple(f for f in FLEETS.fleets if f.lane != "cpu"))
    text = """
version: 1
name: large
baseline: llama-4-scout@p5-scout
rules: [{id: all, use: accelerator}]
"""
    world = by_hand(text, large)
    assert tuple(of(world, told())) == ("always-large",)


def test_a_rival_passes_wishes_and_rights_over(world):
    pinned = kind("heavy", requested_model=f"llama-4-scout@{LARGE}", lanes=("accelerator",))
    found = of(world, trace([pinned, kind("simple")]))
    assert found["always-small"].answers.small == 1.0


def replayed_rivals(text, trace):
    """Return the rivals of a policy as the real engine has them."""
    settings = Settings(seed=1)
    run = lambda world, trace: replay(world, trace, settings)  # noqa: E731
    (found,) = bench([by_hand(text)], trace, run, Asked(seed=1), lambda _: None)
    return found, {row["rival"]: row for row in found_json(found)["rivals"]}


@pytest.fixture(scope="module")
def minutes():
    return open_trace("gen:poisson?rate=4&seconds=200", Mix(simple=0.6), 1)


def test_rivals_are_the_same_whether_objectives_stand_in_defaults_or_in_each_rule(minutes):
    (_, once), (_, by_each) = (replayed_rivals(t, minutes) for t in (SAID_ONCE, SAID_BY_EACH))
    assert once == by_each


def test_a_lot_falls_on_requests_alone_that_a_small_fleet_may_take(world):
    short, long = [100] * 10, [5_000] * 90
    found = of(world, trace([kind("simple")] * 10 + [kind("heavy")] * 90, tokens_in=short + long))
    assert (found["random"].small_served, found["random"].served) == (10, 100)


def test_what_fits_is_for_a_fleets_context_and_abilities(world):
    kinds = [kind(), kind(), kind(needs=("vision",)), kind(max_tokens=2040)]
    one = trace(kinds, tokens_in=[2000, 2020, 100, 100])  # the small fleet's context is 2,048
    settings = [world.policy.defaults] * 4
    assert fitting(world, one, settings, frozenset({SMALL})) == [0]


def test_both_bills_of_a_rival_run_until_the_later_end(world):
    def later(at, trace):
        found = engine(at, trace)
        found.seconds = 90.0
        return found

    policys = engine(world, told())
    beside = Alone(engine, LOOK_S).of(world, told(), policys, 0.5)
    (_, late, *_) = rivals(Course(world, told(), policys, later, 1, LOOK_S), beside)
    ended = sum(fleet.usd_bill for fleet in policys.fleets)
    assert late.money.total == 1.0  # of the one small fleet, until its own end
    assert late.usd_policy == pytest.approx(1.5 * ended)


# -- marks -----------------------------------------------------------------------------------------


def test_a_lot_marks_so_many_and_depends_on_the_seed_alone():
    lots = at_random(range(1000), 300, 7)
    assert len(set(lots)) == 300
    assert lots == at_random(range(1000), 300, 7) != at_random(range(1000), 300, 8)
    assert at_random(range(3), 0, 7) == []
    assert sorted(at_random([2, 5], 9, 7)) == [2, 5]


def test_the_shortest_are_marked_of_equal_ones_the_earlier():
    assert shortest([5, 1, 5, 9], range(4), 2) == [1, 0]
    assert shortest([5, 1, 5, 9], [2, 3], 1) == [2]


def test_where_nobody_knows_whether_an_answer_would_do_p_small_decides():
    of = trace([kind()] * 4, p_small=[0.9, 0.1, 0.9, 0.1], acceptable=[-1, -1, 0, 1])
    assert would_do(of, [0.85] * 4) == [0, 3]
    assert would_do(of, [0.95, 0.05, 0.95, 0.05]) == [1, 3]


# -- the baseline alone ----------------------------------------------------------------------------


def test_the_baseline_alone_is_one_fleet_of_a_fixed_size(world):
    (fleet,) = alone(world, 3).catalogue.fleets
    assert (fleet.id, fleet.replicas.min, fleet.replicas.max) == ("p5-scout", 3, 3)


def test_the_baseline_has_the_fewest_replicas_that_attain_what_the_policy_does(world):
    run = replayed([served(SMALL, 1, 1, 2)] * 4)  # the hard rule: 200 ms to the first token
    found = Alone(engine, LOOK_S).of(world, trace([kind("heavy")] * 4), run, 1.0)
    assert (found.replicas, found.reached, found.attained) == (5, True, 1.0)  # 1000 / 5


def test_one_size_is_replayed_once_for_all_simple_shares(world):
    asked = []

    def counted(world, trace):
        asked.append(world.catalogue.fleets[0].replicas.min)
        return engine(world, trace)

    beside = Alone(counted, LOOK_S)
    run = replayed([served(SMALL, 1, 1, 2)] * 4)
    for tier in ("heavy", "simple", "heavy"):
        beside.of(world, trace([kind(tier)] * 4), run, 1.0)
    assert len(asked) == len(set(asked))
    beside.of(world, trace([kind()] * 4, tokens_in=[1, 2, 3, 4]), run, 1.0)
    assert len(asked) > len(set(asked))  # other lengths are another trace
