"""Rules as sets of requests: held against every request of small pools, tried one by one."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.cases import facts_of
from policies.conditions import CONDITIONS
from policies.model import Condition, Rule
from policies.regions import left_of, meet, space_of, within
from policies.samples import FROM, SAMPLERS, UNTIL, sampler_of
from policies.work import Work

# Every value that the conditions below tell apart, and one more of each kind.
POOLS = {
    "tier": ["simple", "heavy"],
    "team": [None, "a", "b", "c"],
    "complexity": [0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 1.0],
    "tokens_in": [0, 5, 6, 7, 8, 60],
    "tags": [{}, {"d": "x"}, {"d": "y"}, {"d": "z"}, {"e": "x"}, {"d": "x", "e": "x"}],
    "needs": [(), ("json",), ("tools",), ("json", "tools"), ("vision",)],
}
CONDITION = {
    "tier": st.sampled_from([["simple"], ["heavy"], ["heavy", "simple"]]),
    "team": st.sampled_from([["a"], ["b"], ["a", "b"]]),
    "complexity": st.sampled_from(
        [{"above": 0.3}, {"below": 0.3}, {"below": 0.5}, {"above": 0.3, "below": 0.5}]
    ),
    "tokens_in": st.sampled_from([{"above": 5}, {"below": 7}, {"above": 5, "below": 7}]),
    "tags": st.sampled_from([{"d": ["x"]}, {"d": ["x", "y"]}, {"d": ["x"], "e": ["x"]}]),
    "needs": st.sampled_from([["json"], ["tools"], ["json", "tools"]]),
}
EVERY = [facts_of(dict(zip(POOLS, values, strict=True))) for values in product(*POOLS.values())]


def rule(when, name="r"):
    conditions = [
        Condition(kind, wanted, CONDITIONS[kind].matcher(wanted)) for kind, wanted in when.items()
    ]
    return Rule(name, tuple(conditions), (frozenset({"cpu"}),))


@st.composite
def lists_of_rules(draw):
    # Few kinds at a time, so that rules often meet and cover one another.
    kinds = draw(st.lists(st.sampled_from(sorted(CONDITION)), min_size=1, max_size=3, unique=True))
    some = st.fixed_dictionaries({}, optional={kind: CONDITION[kind] for kind in kinds})
    return [rule(when) for when in draw(st.lists(some, min_size=1, max_size=6))]


@settings(max_examples=150, deadline=None)
@given(lists_of_rules())
def test_a_rule_is_covered_exactly_where_no_request_reaches_it(rules):
    space = space_of(rules)
    reached = {
        next((i for i, each in enumerate(rules) if each.matches(facts)), None) for facts in EVERY
    }
    for i in range(len(rules)):
        assert (left_of(space.boxes[i], space.boxes[:i]) != []) == (i in reached)
    left = left_of(space.all, space.boxes)
    assert bool(left) == (None in reached)
    for box in left:
        assert not any(each.matches(facts_of(space.example(box))) for each in rules)


@settings(max_examples=100, deadline=None)
@given(lists_of_rules())
def test_meeting_and_lying_within_are_those_of_the_requests(rules):
    space = space_of(rules)
    taken = [{i for i, facts in enumerate(EVERY) if each.matches(facts)} for each in rules]
    for i, j in product(range(len(rules)), repeat=2):
        assert (meet(space.boxes[i], space.boxes[j]) is not None) == bool(taken[i] & taken[j])
        assert within(space.boxes[i], space.boxes[j]) == (taken[i] <= taken[j])


WINDOWS = [
    {"from": "22:00", "to": "06:00", "tz": "UTC"},
    {"from": "06:00", "to": "22:00", "tz": "UTC"},
    {"from": "06:00", "to": "14:00", "tz": "Asia/Shanghai"},
    {"from": "14:00", "to": "06:00", "tz": "Asia/Shanghai"},
    {"from": "01:00", "to": "05:00", "tz": "America/New_York"},
    {"from": "17:00", "to": "01:00", "tz": "America/New_York"},
    {"from": "09:00", "to": "17:00", "tz": "Europe/Berlin"},
    {"from": "02:15", "to": "02:45", "tz": "Europe/Berlin"},
]
# Every quarter of an hour of the days on which New York's or Berlin's clocks change, and two others
DAYS = [(1, 5), (3, 8), (3, 15), (3, 29), (7, 1), (10, 25), (10, 28), (11, 1)]
MOMENTS = [
    facts_of({"at": at.isoformat(timespec="milliseconds")[:-6] + "Z"})
    for month, day in DAYS
    for quarter in range(96)
    for at in [datetime(2026, month, day, tzinfo=UTC) + quarter * timedelta(minutes=15)]
]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(WINDOWS), min_size=1, max_size=4))
def test_windows_of_several_time_zones_are_held_against_each_other_by_the_moment(windows):
    rules = [rule({"local_time": window}) for window in windows]
    space = space_of(rules)
    for i, each in enumerate(rules):
        mine = [facts for facts in MOMENTS if each.matches(facts)]
        others = rules[:i]
        left = [facts for facts in mine if not any(other.matches(facts) for other in others)]
        assert (left_of(space.boxes[i], space.boxes[:i]) != []) == bool(left)


def test_a_window_that_only_the_end_of_daylight_saving_lets_through_is_reached():
    # 09:00-17:00 in New York is 13:00-21:00 UTC in summer, and 14:00-22:00 in winter.
    day = {"from": "09:00", "to": "17:00", "tz": "America/New_York"}
    summer, both = ({"from": "13:00", "to": to, "tz": "UTC"} for to in ("21:00", "22:00"))
    for window, covered in ((summer, False), (both, True)):
        space = space_of([rule({"local_time": window}), rule({"local_time": day})])
        left = left_of(space.boxes[1], space.boxes[:1])
        assert (left == []) == covered
        if left:
            at = datetime.fromisoformat(space.example(left[0])["at"])
            assert at.month in {1, 2, 3, 11, 12}
            assert at.hour == 21


def test_every_condition_has_samples_and_every_sample_is_a_request():
    assert set(SAMPLERS) | {"tags"} == set(CONDITIONS)
    for name in [*SAMPLERS, "tags.x"]:
        for sample in sampler_of(name)([]):
            facts_of(sample.facts)
            assert sample.said


def test_too_much_work_is_no_answer():
    rules = [rule({"team": [name], "tokens_in": {"above": n}}) for n, name in enumerate("abcdef")]
    space = space_of(rules)
    assert left_of(space.all, space.boxes, Work(3)) is None
    assert left_of(space.all, space.boxes) != []


@pytest.mark.parametrize("zone", ["Africa/Casablanca", "Australia/Lord_Howe", "Asia/Kathmandu"])
def test_zones_of_odd_offsets_are_followed_through_all_their_changes(zone):
    window = {"from": "08:00", "to": "20:00", "tz": zone}
    rest = {"from": "20:00", "to": "08:00", "tz": zone}
    space = space_of([rule({"local_time": window}), rule({"local_time": rest})])
    assert left_of(space.all, space.boxes) == []
    assert FROM < UNTIL
