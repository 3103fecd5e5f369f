"""Budgets and rate limits of which one never binds, and pairs that look like it."""

import pytest

from policies.check import check
from policies.names import Names
from policies.overlaps import overlap_oddities
from policies.parse import load

NAMES = Names(frozenset({"cpu"}), frozenset({"f"}), frozenset({"m"}), frozenset({"r"}))
HEAD = "version: 1\nname: p\nbaseline: m@f\nrules: [{id: a, use: cpu}]\n"


def warned(key, first, second):
    text = f"{HEAD}{key}:\n  - {{id: one, {first}}}\n  - {{id: two, {second}}}\n"
    report = check(text, "p.yaml", NAMES)
    assert report.problems == ()
    kind = {"budgets": "never_spent", "rate_limits": "never_reached"}[key]
    assert {each.kind for each in report.warnings} <= {kind}
    return [str(each) for each in report.warnings]


def budgets(first, second):
    defaults = {"match": "{}", "usd": "10", "per": "day", "when_spent": "reject"}

    def text(given):
        return ", ".join(f"{key}: {value}" for key, value in {**defaults, **given}.items())

    return warned("budgets", text(first), text(second))


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ({}, {"match": "{team: a}"}),
        ({}, {"match": "{team: a}", "usd": 11}),
        ({"match": "{team: '*'}"}, {"match": "{team: a, key: '*'}"}),
        ({"match": "{tags: {c: '*'}}"}, {"match": "{tags: {c: x}, tenant: t}"}),
        ({"match": "{team: '*'}"}, {"match": "{team: '*', tenant: '*'}", "usd": 10}),
        ({}, {"per": "month", "usd": 310}),
        ({}, {"per": "week", "usd": 70, "match": "{key: '*'}"}),
        ({"tz": "Asia/Shanghai"}, {"usd": 20}),
        ({"when_spent": "downgrade", "hard_usd": 11}, {"usd": 11}),
        ({"when_spent": "reject"}, {"when_spent": "downgrade"}),
        ({}, {"when_spent": "alert", "usd": 100, "alert_at": "[0.2]"}),
        ({}, {}),
    ],
)
def test_a_budget_that_another_always_ends_before_is_told_of(wide, narrow):
    (said,) = budgets(wide, narrow)
    assert said.startswith("p.yaml:7: budget two: never spent: budget `one` counts its requests")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {"match": "{team: a}", "usd": 9}),
        ({"match": "{key: '*'}"}, {"match": "{team: a}", "usd": 100}),  # a team has many keys
        ({"match": "{team: a}"}, {"match": "{team: b}"}),
        ({"match": "{team: a}"}, {"match": "{team: '*'}", "usd": 11}),
        ({"when_spent": "alert"}, {"usd": 20}),
        ({}, {"when_spent": "alert", "usd": 10}),
        ({}, {"per": "month", "usd": 309}),
        ({"tz": "Asia/Shanghai"}, {"usd": 19}),
        ({"per": "month"}, {"usd": 9}),
        ({"per": "week"}, {"per": "month", "usd": 59}),
        ({"when_spent": "downgrade", "hard_usd": 12}, {"usd": 11}),
    ],
)
def test_budgets_that_may_each_be_the_first_are_not_told_of(first, second):
    assert budgets(first, second) == []


def test_a_rate_limit_that_another_always_reaches_first_is_told_of_number_by_number():
    wide = "match: {tenant: '*'}, requests_per_min: 10, tokens_per_min: 50"
    narrow = "match: {tenant: t, team: a}, requests_per_min: 10, tokens_per_min: 40, concurrent: 5"
    (said,) = warned("rate_limits", wide, narrow)
    assert said == (
        "p.yaml:7: rate limit two: requests_per_min: never reached: rate limit `one` counts its"
        " requests, too, and allows 10"
    )


@pytest.mark.parametrize(
    "narrow",
    [
        "match: {tenant: t}, requests_per_min: 9",
        "match: {team: a}, requests_per_min: 99",
        "match: {}, requests_per_min: 99",
        "match: {tenant: t}, concurrent: 99",
    ],
)
def test_rate_limits_that_may_each_be_the_first_are_not_told_of(narrow):
    assert warned("rate_limits", "match: {tenant: '*'}, requests_per_min: 10", narrow) == []


def test_of_two_that_are_alike_the_later_is_told_of():
    alike = "match: {team: a}, concurrent: 3"
    (said,) = warned("rate_limits", alike, alike)
    assert said.startswith("p.yaml:7: rate limit two: concurrent:")


def test_of_how_many_budgets_it_is_not_known_is_told_where_they_are_too_many():
    alike = "match: {}, usd: 1, per: day, when_spent: reject"
    text = HEAD + "budgets:\n" + "".join(f"  - {{id: b{i}, {alike}}}\n" for i in range(10))
    policy = load(text, "p.yaml", NAMES)[1]
    assert {each.kind for each in overlap_oddities(policy)} == {"never_spent"}
    *told, last = overlap_oddities(policy, most_pairs=40)
    assert [each.path for each in told] == [("budgets", 1), ("budgets", 2), ("budgets", 3)]
    assert last.kind == "unanswered"
    assert last.message.startswith("budgets: 6 of 10 are not held against the others")
