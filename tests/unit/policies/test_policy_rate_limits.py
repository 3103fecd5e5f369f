"""`rate_limits`: what is read and refused, and what it is compiled to."""

import json

import pytest

from policies import from_compiled
from policies.model import Match, RateLimit
from policies.names import Names
from policies.parse import parse
from policies.shadow import shadow_policy
from yamlfile import Invalid

NAMES = Names(frozenset({"cpu"}), frozenset({"c8g"}), frozenset({"m"}), frozenset({"here"}))
HEAD = "version: 1\nname: prod\nbaseline: m@c8g\nrules:\n  - {id: rest, use: cpu}\n"
NONE = f"{HEAD}rate_limits:\n"


def read(*limits):
    return parse(NONE + "".join(f"  - {{{limit}}}\n" for limit in limits), "p.yaml", NAMES)


def told(*limits):
    with pytest.raises(Invalid) as caught:
        read(*limits)
    return [str(problem).removeprefix("p.yaml:") for problem in caught.value.problems]


def test_limits_are_read_with_what_they_leave_out():
    assert read(
        "id: search-team, match: {team: search}, requests_per_min: 600, tokens_per_min: 200000.0, "
        "concurrent: 20",
        'id: each-tenant, match: {tenant: "*", tags: {app: web}}, tokens_per_min: 1000000',
        "id: all, match: {}, concurrent: 100",
    ).rate_limits == (
        RateLimit("search-team", Match(team="search"), 600, 200_000, 20),
        RateLimit("each-tenant", Match("*", tags=(("app", "web"),)), tokens_per_min=1_000_000),
        RateLimit("all", concurrent=100),
    )


def test_the_compiled_form_says_the_same_and_a_policy_without_limits_keeps_its_hash():
    written = 'id: a, match: {team: x, tags: {k: "*", b: c}}, requests_per_min: 5'
    policy = read(written)
    again = from_compiled(json.loads(json.dumps(policy.compiled)))
    assert (again.rate_limits, again.hash) == (policy.rate_limits, policy.hash)
    assert policy.compiled["rate_limits"] == [
        {
            "id": "a",
            "match": {"team": "x", "tags": {"b": "c", "k": "*"}},
            "requests_per_min": 5,
            "tokens_per_min": None,
            "concurrent": None,
        }
    ]
    assert read(written.replace("5", "5.0")).hash == policy.hash
    assert read(written.replace("5", "6")).hash != policy.hash
    bare, empty = (parse(text, "p.yaml", NAMES) for text in (HEAD, f"{HEAD}rate_limits: []\n"))
    assert "rate_limits" not in bare.compiled
    assert empty.hash == bare.hash


ONE = "id: a, match: {}, concurrent: 5"


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (
            ["id: a, match: {}"],
            (
                "7: rate_limits[0]: this mapping is not a limit: give `requests_per_min`, "
                "`tokens_per_min` or `concurrent`"
            ),
        ),
        (["id: a, concurrent: 5"], "7: rate_limits[0]: `match` is missing"),
        (["match: {}, concurrent: 5"], "7: rate_limits[0]: `id` is missing"),
        (
            [ONE.replace("5", "0")],
            "7: rate_limits[0].concurrent: `0` is below 1",
        ),
        (
            ["id: a, match: {}, requests_per_min: -5"],
            "7: rate_limits[0].requests_per_min: `-5` is below 1",
        ),
        (
            ["id: a, match: {}, tokens_per_min: 1.5"],
            "7: rate_limits[0].tokens_per_min: `1.5` is not an integer",
        ),
        (
            ["id: a, match: {}, tokens_per_min: 1000000000001"],
            "7: rate_limits[0].tokens_per_min: `1000000000001` is above 1000000000000",
        ),
        (
            [f"{ONE}, request_per_min: 5"],
            (
                "7: rate_limits[0]: unknown key `request_per_min` (did you mean "
                "`requests_per_min`? known: concurrent, id, match, "
                "requests_per_min, tokens_per_min)"
            ),
        ),
        (
            ["id: a, match: {tier: simple}, concurrent: 5"],
            "7: rate_limits[0].match: unknown key `tier` (known: key, tags, team, tenant)",
        ),
        (
            ["id: a, match: {tenant: sluice-shadow}, concurrent: 5"],
            (
                "7: rate limit a: `sluice-shadow` sends no requests of its own: its budget is what "
                "limits it"
            ),
        ),
        ([ONE, ONE], "8: rate limit a: this id stands twice"),
    ],
)
def test_mistakes_are_told_with_their_line(limits, said):
    assert told(*limits) == [said]


def test_a_list_is_what_is_meant():
    with pytest.raises(Invalid, match=r"p.yaml:6: rate_limits: this mapping is not a list"):
        parse(f"{HEAD}rate_limits: {{{ONE}}}\n", "p.yaml", NAMES)


def test_mistakes_in_limits_and_rules_are_told_in_one_run():
    text = NONE.replace("use: cpu", "use: gpu") + f"  - {{{ONE}}}\n  - {{{ONE}}}\n"
    with pytest.raises(Invalid) as caught:
        parse(text, "p.yaml", NAMES)
    assert [problem.where for problem in caught.value.problems] == ["p.yaml:5", "p.yaml:8"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"concurrent": None},
        {"concurrent": 0},
        {"concurrent": "5"},
        {"concurrent": 5.0},
        {"concurrent": True},
        {"requests": 5},
        {"match": {"team": None}},
    ],
)
def test_what_this_version_would_not_have_compiled_is_refused(wrong):
    compiled = json.loads(json.dumps(read(ONE).compiled))
    compiled["rate_limits"][0].update(wrong)
    with pytest.raises(ValueError, match="not a compiled policy of this version"):
        from_compiled(compiled)


def test_shadow_judgings_own_policy_has_no_limits():
    policy = read(ONE)
    assert shadow_policy(policy, policy.rules[0], ["c8g"]).rate_limits == ()
