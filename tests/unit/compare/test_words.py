"""What `policy diff` says of two policies."""

import copy
import itertools
from importlib.resources import files as resources

import pytest

from backends import files
from policies.parse import parse
from router.compare.words import words
from router.sources import names_of

NAMES = names_of(files.catalogue(None))
FOLDER = resources("policies")
EXAMPLES = {
    path.name: parse(path.read_text("utf-8"), path.name, NAMES).compiled
    for path in (
        FOLDER.joinpath("default.yaml"),
        *sorted(FOLDER.joinpath("examples").iterdir(), key=lambda path: path.name),
    )
}
HEAD = "version: 1\nname: shop\nbaseline: llama-4-scout@p5-scout\n"


def compiled(rest):
    return parse(HEAD + rest, "p.yaml", NAMES).compiled


def said(old, new):
    return [str(each) for each in words(compiled(old), compiled(new))]


REST = "{id: rest, use: cpu}"
A = "{id: a, when: {task: [code, math]}, use: cpu}"
B = "{id: b, when: {tier: simple}, use: accelerator}"
C = "{id: c, when: {task: creative}, use: accelerator}"


def rules(*written):
    return f"rules: [{', '.join(written)}]"


@pytest.mark.parametrize(("old", "new"), list(itertools.product(EXAMPLES, EXAMPLES)))
def test_words_are_said_of_two_policies_if_and_only_if_their_compiled_forms_differ(old, new):
    assert bool(words(EXAMPLES[old], EXAMPLES[new])) == (EXAMPLES[old] != EXAMPLES[new])


def places(value, path=()):
    """Yield the path of every leaf and every mapping of a compiled form."""
    if isinstance(value, dict | list):
        if isinstance(value, dict):
            yield path, True
        steps = value if isinstance(value, dict) else range(len(value))
        for step in steps:
            yield from places(value[step], (*path, step))
    else:
        yield path, False


def other_than(value):
    return f"{value}-x" if isinstance(value, str) else (value or 0) + 7


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_leaf_of_the_form_can_change_in_silence_and_no_key_be_added(name):
    for path, is_mapping in places(EXAMPLES[name]):
        changed = copy.deepcopy(EXAMPLES[name])
        *way, last = (*path, "a_key_of_tomorrow") if is_mapping else path
        inside = changed
        for step in way:
            inside = inside[step]
        inside[last] = {"x": [1]} if is_mapping else other_than(inside[last])
        there, back = words(EXAMPLES[name], changed), words(changed, EXAMPLES[name])
        assert there, path
        assert back, path
        if is_mapping:
            assert any("a_key_of_tomorrow" in str(each) for each in (*there, *back)), path


def test_comments_and_another_way_of_writing_the_same_change_nothing():
    assert said(rules(REST), "# cheaper\nrules:\n  - {id: rest, use: [cpu]}\nbudgets: []") == []


def test_a_condition_that_takes_one_more_value_says_which():
    old, new = "{id: a, when: {task: code}, use: cpu}", A
    assert said(rules(old, REST), rules(new, REST)) == ["rule a: task: + math"]


def test_a_condition_that_comes_or_goes_is_told_as_a_limit_on_whom_the_rule_is_for():
    plain = "{id: a, when: {task: [code, math]}, use: cpu}"
    narrow = "{id: a, when: {task: [code, math], tags: {data: [x, y]}}, use: cpu}"
    assert said(rules(plain, REST), rules(narrow, REST)) == [
        "rule a: now only when tag data is x or y"
    ]
    assert said(rules(narrow, REST), rules(plain, REST)) == [
        "rule a: no longer only when tag data is x or y"
    ]


def test_a_number_and_a_time_of_day_are_told_from_old_to_new():
    night = "local_time: {from: '22:00', to: '06:00'}"
    old = f"{{id: a, when: {{tokens_in: {{below: 400}}, {night}}}, use: cpu}}"
    new = old.replace("400", "800").replace("06:00", "07:00")
    assert said(rules(old, REST), rules(new, REST)) == [
        "rule a: tokens_in.below: 400 -> 800",
        "rule a: local_time.to: 06:00 -> 07:00",
    ]


def test_the_order_of_lanes_is_told_and_which_of_them_are_one_set():
    new = "{id: rest, use: {in_order: [[cpu, trn2-scout], accelerator]}}"
    assert said(rules(REST), rules(new)) == [
        "rule rest: use: cpu -> cpu or trn2-scout, then accelerator"
    ]


def test_a_default_is_told_once_with_the_rules_that_follow_it_and_those_that_do_not():
    own = "{id: a, when: {task: code}, use: cpu, quality_floor: 0.5}"
    old = f"defaults: {{quality_floor: 0.8}}\n{rules(own, B, REST)}"
    new = old.replace("0.8}", "0.9}")
    assert said(old, new) == [
        "defaults: quality_floor: 0.8 -> 0.9 (followed by `b`, `rest`; not by `a`)"
    ]


def test_a_rule_that_stops_following_the_default_says_its_own_value():
    own = "{id: rest, use: cpu, quality_floor: 0.7}"
    old = f"defaults: {{quality_floor: 0.8}}\n{rules(REST)}"
    new = f"defaults: {{quality_floor: 0.9}}\n{rules(own)}"
    assert said(old, new) == [
        "defaults: quality_floor: 0.8 -> 0.9 (no rule that stayed follows it)",
        "rule rest: quality_floor: 0.8 -> 0.7",
    ]


def test_a_rule_that_was_only_renamed_is_recognised():
    assert said(rules(A, REST), rules(A.replace("id: a", "id: z"), REST)) == [
        "rule z: renamed, was `a`; nothing else in it changed"
    ]


def test_an_added_rule_says_what_it_does_and_from_whom_it_may_take_requests():
    (only,) = said(rules(A, REST), rules(C, A, REST))
    assert only == (
        "rule c: added in place 1 of 3: when task is creative; use accelerator; "
        "it comes before `rest`, which can match the same"
    )


def test_a_removed_rule_says_what_it_was():
    slow = "{id: a, when: {task: code}, use: cpu, slo: {ttft_p95_ms: 9000}}"
    (only,) = said(rules(slow, REST), rules(REST))
    assert only == "rule a: removed, was: when task is code; use cpu; slo.ttft_p95_ms 9,000 ms"


def test_two_rules_that_change_places_matter_where_a_request_can_match_both():
    (only,) = said(rules(A, B, REST), rules(B, A, REST))
    assert only == (
        "rule b: moved above `a`; a request can match both it and `a`: the first decides"
    )


def test_two_rules_that_no_request_can_match_both_may_change_places():
    (only,) = said(rules(A, C, REST), rules(C, A, REST))
    assert only == "rule c: moved above `a`, which changes nothing: no request can match both"


def test_a_place_matters_where_a_request_can_match_both_as_they_are_or_as_they_were():
    wide = C.replace("creative", "[creative, code]")
    for old, new in (((A, C), (wide, A)), ((A, wide), (C, A))):
        *_, last = said(rules(*old, REST), rules(*new, REST))
        assert last.startswith("rule c: moved above `a`; a request can match both")


def test_budgets_rate_limits_hedges_cascades_and_shadow_judging_are_told():
    old = rules("{id: rest, use: {in_order: [cpu, accelerator]}}")
    hedge = old.replace("]}}", "]}, hedge: {after: 900, spend_up_to_usd: 0.01}}")
    cascade = rules(
        "{id: rest, cascade: {try: cpu, accept_if: {json_valid: true}, then: accelerator}}"
    )
    budget = "\nbudgets: [{id: t, match: {team: search}, usd: 400, per: month, when_spent: reject}]"
    rate = "\nrate_limits: [{id: r, match: {team: '*'}, requests_per_min: 60}]"
    assert said(old, hedge) == ["rule rest: hedge: added, after 900 ms, spend_up_to_usd $0.01"]
    assert said(old, cascade) == ["rule rest: accept_if: added, json_valid yes"]
    assert said(old, old + budget) == [
        "budget t: added: match team search; usd $400; per month; tz UTC; when_spent reject"
    ]
    assert said(old + budget, old + budget.replace("400", "500")) == ["budget t: usd: $400 -> $500"]
    assert said(old + rate, old) == [
        "rate limit r: removed, was: match team *; requests_per_min 60"
    ]


def test_a_name_in_chinese_stays_as_it_is():
    old = "{id: a, when: {team: 搜索}, use: cpu}"
    assert said(rules(old, REST), rules(old.replace("搜索", "[搜索, 客服]"), REST)) == [
        "rule a: team: + 客服"
    ]
