"""What `policy check` says of the order of rules: each warning, and what comes near it."""

import random
import re

import pytest

from policies.check import check
from policies.conditions import TASKS
from policies.names import Names
from policies.parse import load
from policies.shadowed import order_oddities
from policies.work import Work

NAMES = Names(
    frozenset({"cpu", "gpu"}), frozenset({"f", "g"}), frozenset({"m"}), frozenset({"here", "far"})
)
HEAD = "version: 1\nname: p\nbaseline: m@f\nrules:\n"
REST = "  - {id: rest, use: gpu}\n"


def warned(*rules, rest=REST):
    text = HEAD + "".join(f"  - {{id: r{i}, use: cpu, {rule}}}\n" for i, rule in enumerate(rules))
    report = check(text + rest, "p.yaml", NAMES)
    assert report.problems == ()
    return [(each.kind, str(each)) for each in report.warnings]


def when(text):
    return f"when: {{{text}}}"


@pytest.mark.parametrize(
    ("above", "below"),
    [
        ("tier: simple", "tier: simple, task: code"),
        ("language: zh", "language: [zh-Hans, zh-Hant]"),
        ("language: zh", "language: zh-Hant"),
        ("complexity: {above: 0.2}", "complexity: {above: 0.2, below: 0.9}"),
        ("tokens_in: {above: 9}", "tokens_in: {above: 10}"),
        ("tokens_in: {below: 11}", "tokens_in: {above: 8, below: 11}"),
        ("tags: {a: [x, y]}", "tags: {a: x, b: z}"),
        ("needs: [json, tools]", "needs: tools"),
        ("team: [a, b]", "team: b"),
        (
            "local_time: {from: '22:00', to: '06:00', tz: Asia/Shanghai}",
            "local_time: {from: '14:30', to: '15:00'}",
        ),
    ],
)
def test_a_rule_within_one_above_is_told_of_with_its_line(above, below):
    ((kind, said),) = warned(when(above), when(below))
    assert kind == "unreachable"
    assert said == (
        "p.yaml:6: rule r1: never reached: rule `r0` above takes every request that it matches"
    )


@pytest.mark.parametrize(
    ("above", "below"),
    [
        ("tier: simple, task: code", "tier: simple"),
        ("language: zh-Hans", "language: zh"),
        ("complexity: {above: 0.2}", "complexity: {below: 0.3}, tier: simple"),
        ("tokens_in: {above: 10}", "tokens_in: {above: 9}"),
        ("tags: {a: x, b: z}", "tags: {a: x}"),
        ("tags: {a: x}", "tags: {b: x}"),
        ("needs: tools", "needs: [json, tools]"),
        ("team: a", "tenant: a"),
        (
            "local_time: {from: '22:00', to: '06:00', tz: Europe/Berlin}",
            "local_time: {from: '20:30', to: '21:00'}",  # in winter it is 21:30 there
        ),
    ],
)
def test_a_rule_that_some_request_still_reaches_is_not_told_of(above, below):
    assert warned(when(above), when(below)) == []


def test_rules_that_only_together_take_everything_are_all_named_and_no_other():
    ((kind, said),) = warned(
        when("tier: simple"),
        when("team: x"),
        when("tier: heavy, complexity: {below: 0.5}"),
        when("complexity: {above: 0.4}"),
        when("task: code, tenant: t"),
        rest="",
    )
    assert kind == "unreachable"
    assert said.startswith(
        "p.yaml:9: rule r4: never reached: rules `r0`, `r2`, `r3` above together"
    )


def test_numbers_that_leave_one_value_between_them_leave_the_rule_reachable():
    cut = [when("tokens_in: {below: 100}"), when("tokens_in: {above: 100}")]
    assert warned(*cut, when("tokens_in: {above: 98, below: 102}"), rest="") == []
    cut = [when("tokens_in: {below: 101}"), when("tokens_in: {above: 100}")]
    kinds = [kind for kind, _ in warned(*cut, when("tokens_in: {above: 98, below: 102}"))]
    assert kinds == ["unreachable", "unreachable"]  # and the rest of nothing


def test_what_no_rule_takes_is_told_with_an_example():
    ((kind, said),) = warned(when("tier: simple"), when("tier: heavy, task: [math, code]"), rest="")
    assert kind == "no_rule"
    assert said == (
        "p.yaml:6: rule r1: nothing follows that matches the rest, which is refused"
        " (for example: tier heavy, task other)"
    )


def test_rules_that_together_take_everything_need_no_rest():
    assert warned(when("tier: simple"), when("tier: heavy"), rest="") == []
    assert warned(when("complexity: {below: 0.5}"), when("complexity: {above: 0.4}"), rest="") == []
    ((kind, _),) = warned(
        when("complexity: {below: 0.5}"), when("complexity: {above: 0.5}"), rest=""
    )
    assert kind == "no_rule"


PRIVATE = "when: {tags: {data: private}}, residency: here"


def test_a_rule_above_one_with_residency_that_takes_its_requests_is_told_of():
    ((kind, said),) = warned(when("tier: simple"), PRIVATE)
    assert kind == "preempted"
    assert said == (
        "p.yaml:6: rule r1: rule `r0` above takes requests of it without its `residency`"
        " (for example: tier simple, tag data private): put this rule first"
    )


@pytest.mark.parametrize(
    "above",
    [
        "when: {tier: simple}, residency: here",
        "when: {tags: {data: public}}",
        "when: {tags: {data: private}, tier: simple}",  # an exception, written on purpose
    ],
)
def test_protection_that_nothing_above_gets_round_is_not_told_of(above):
    assert warned(above, PRIVATE) == []


def test_a_residency_that_is_wider_than_the_rules_own_is_none():
    kinds = [kind for kind, _ in warned("when: {tier: simple}, residency: [here, far]", PRIVATE)]
    assert kinds == ["preempted"]


def test_requests_that_a_protected_rule_takes_first_are_nobodys_to_preempt():
    assert (
        warned(PRIVATE, when("tier: simple"), f"{PRIVATE}, minimize: ttft")[0][0] == "unreachable"
    )
    assert warned(PRIVATE, when("tier: simple"), "when: {tags: {data: private}}, relax: []") != []


def test_relax_nothing_is_protection_where_it_is_written():
    loose = "when: {tier: simple}, relax: [quality_floor]"
    ((kind, said),) = warned(loose, "when: {task: code}, relax: []")
    assert (kind, "without its `relax: []`" in said) == ("preempted", True)
    assert warned(loose, "when: {task: code}") == []  # the default's, which nobody wrote
    assert warned("when: {tier: simple}", "when: {task: code}, relax: []") == []
    assert warned(loose, rest="  - {id: rest, use: gpu, relax: []}\n") == []  # the rest of all


def test_a_model_that_no_request_can_ask_for_is_told_of():
    asked = "when: {requested_model: [auto, m, 'm@f', typo]}"
    known = Names(NAMES.lanes, NAMES.fleets, NAMES.models, NAMES.regions, model_of={"f": "m"})
    text = f"{HEAD}  - {{id: a, use: cpu, {asked}}}\n{REST}"
    (warning,) = check(text, "p.yaml", known).warnings
    assert warning.kind == "unknown_model"
    assert str(warning).startswith(
        "p.yaml:5: rule a: requested_model: no request can ask for `typo` (known: auto, auto:best,"
    )
    assert check(text, "p.yaml", NAMES).warnings == ()  # what fleets serve is not known here


def test_of_many_rules_that_take_one_together_some_are_named():
    teams = [when(f"team: t{i}, tokens_in: {{below: 9}}") for i in range(8)]
    every = ", ".join(f"t{i}" for i in range(8))
    ((kind, said),) = warned(*teams, when(f"team: [{every}], tokens_in: {{below: 9}}"))
    assert kind == "unreachable"
    assert "rules `r0`, `r1`, `r2`, `r3`, `r4`, `r5` and 2 more above together take" in said


def crossing(count):
    """Return rules each of which meets most others, in two of five conditions."""
    drawn = random.Random(5)
    parts = {
        "task": lambda: f"[{', '.join(drawn.sample(TASKS, 5))}]",
        "tenant": lambda: f"[{', '.join(f't{i}' for i in drawn.sample(range(40), 6))}]",
        "team": lambda: f"[{', '.join(f'u{i}' for i in drawn.sample(range(40), 6))}]",
        "tokens_in": lambda: f"{{above: {drawn.randrange(1, 5000)}}}",
        "tags": lambda: f"{{{drawn.choice('abcde')}: x}}",
    }
    for i in range(count):
        conditions = ", ".join(f"{name}: {parts[name]()}" for name in drawn.sample([*parts], 2))
        yield when(conditions) + (", residency: here" if i % 3 == 0 else "")


def test_a_hundred_rules_that_cross_one_another_are_answered_whole():
    kinds = {kind for kind, _ in warned(*crossing(100))}
    assert kinds == {"unreachable", "preempted"}


def order(rules, work=None):
    text = HEAD + "".join(f"  - {{id: r{i}, use: cpu, {rule}}}\n" for i, rule in enumerate(rules))
    policy = load(text + REST, "p.yaml", NAMES)[1]
    return list(order_oddities(policy, frozenset(), work))


def test_the_work_is_bounded_over_all_questions_and_those_without_an_answer_are_counted():
    rules = list(crossing(60))
    whole = order(rules)
    *found, last = order(rules, Work(steps=3_000))
    counts = re.fullmatch(
        r"rules: (\d+) of (\d+) questions about their order have no answer, "
        "which would take too much work",
        last.message,
    )
    unanswered, asked = map(int, counts.groups())
    assert last.kind == "unanswered"
    assert 0 < unanswered < asked <= 2 * 61 + 1
    assert set(found) < set(whole)
    assert "unanswered" not in {each.kind for each in whole}


def test_rules_that_tell_too_many_kinds_of_requests_apart_are_passed_over_and_told():
    rules = [when(f"tenant: t{i}") for i in range(20)]
    (told,) = order(rules, Work(tried=100))
    assert told.kind == "unanswered"
    assert told.message.startswith("rules: no question about their order is answered")
    assert order(rules) == []
