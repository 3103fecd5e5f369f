"""What else could have routed a trace."""

from dataclasses import replace

import pytest
from replayed import FLEETS, LARGE, SMALL, by_hand, fleet_run, kind, replayed, served, trace

from policies.evaluate import matching
from router.replay.baseline import Alone, alone
from router.replay.outcome import SERVED
from router.replay.rivals import NAMES, at_random, rivals, shortest, would_do
from router.replay.summary import slos
from router.replay.worth import small_fleets


def engine(world, trace):
    """Send everything to the first fleet that the rule names, in 1 s over its replicas."""
    names = [fleet.id for fleet in world.catalogue.fleets]
    runs, rows = [fleet_run(name, bill=1.0) for name in names], []
    for i in range(len(trace)):
        rule = matching(world.policy, trace.facts(i))
        fleet = next(f for f in world.catalogue.fleets if {f.id, f.lane} & rule.use[0])
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
    beside = Alone(engine).of(world, told, slos(world.policy, policys), 0.5)
    return {row.name: row for row in rivals(world, told, policys, beside, engine, seed=1)}


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


# -- marks -----------------------------------------------------------------------------------------


def test_a_lot_marks_so_many_and_depends_on_the_seed_alone():
    assert sum(at_random(1000, 300, 7)) == 300
    assert at_random(1000, 300, 7) == at_random(1000, 300, 7) != at_random(1000, 300, 8)
    assert at_random(3, 0, 7) == [False] * 3


def test_the_shortest_are_marked_of_equal_ones_the_earlier():
    assert shortest([5, 1, 5, 9], 2) == [True, True, False, False]


def test_where_nobody_knows_whether_an_answer_would_do_p_small_decides():
    of = trace([kind()] * 4, p_small=[0.9, 0.1, 0.9, 0.1], acceptable=[-1, -1, 0, 1])
    assert would_do(of, 0.85) == [True, False, False, True]


# -- the baseline alone ----------------------------------------------------------------------------


def test_the_baseline_alone_is_one_fleet_of_a_fixed_size(world):
    (fleet,) = alone(world, 3).catalogue.fleets
    assert (fleet.id, fleet.replicas.min, fleet.replicas.max) == ("p5-scout", 3, 3)


def test_the_baseline_has_the_fewest_replicas_that_attain_what_the_policy_does(world):
    run = replayed([served(SMALL, 1, 1, 2)] * 4)  # the hard rule: 200 ms to the first token
    found = Alone(engine).of(world, trace([kind("heavy")] * 4), slos(world.policy, run), 1.0)
    assert (found.replicas, found.reached, found.attained) == (5, True, 1.0)  # 1000 / 5


def test_one_size_is_replayed_once_for_all_simple_shares(world):
    asked = []

    def counted(world, trace):
        asked.append(world.catalogue.fleets[0].replicas.min)
        return engine(world, trace)

    beside = Alone(counted)
    run = replayed([served(SMALL, 1, 1, 2)] * 4)
    for tier in ("heavy", "simple", "heavy"):
        beside.of(world, trace([kind(tier)] * 4), slos(world.policy, run), 1.0)
    assert len(asked) == len(set(asked))
    beside.of(world, trace([kind()] * 4, tokens_in=[1, 2, 3, 4]), slos(world.policy, run), 1.0)
    assert len(asked) > len(set(asked))  # other lengths are another trace
