"""`budgets`: what is read and refused, whose requests count, and when a period begins."""

from datetime import UTC, datetime

import pytest

from policies import from_compiled
from policies.match import counting, value_of
from policies.model import Budget, Facts, Match
from policies.names import Names
from policies.parse import parse
from policies.periods import period
from yamlfile import Invalid

NAMES = Names(frozenset({"cpu"}), frozenset({"c8g"}), frozenset({"m"}), frozenset({"here"}))
HEAD = "version: 1\nname: prod\nbaseline: m@c8g\nrules:\n  - {id: rest, use: cpu}\nbudgets:\n"


def read(*budgets):
    return parse(HEAD + "".join(f"  - {{{b}}}\n" for b in budgets), "p.yaml", NAMES)


def told(*budgets):
    with pytest.raises(Invalid) as caught:
        read(*budgets)
    return [str(problem).removeprefix("p.yaml:") for problem in caught.value.problems]


def facts(**known):
    given = {
        "at": "2026-11-21T00:00:00.000Z",
        "tenant": "shop",
        "team": "search",
        "key": "ab12",
        "tags": {"app": "web"},
        "task": "code",
        "tier": "heavy",
        "complexity": 0.9,
        "p_small": 0.1,
        "language": "en",
        "tokens_in": 10,
        "tokens_out": 10,
    }
    return Facts(**(given | known))


def test_a_budget_is_read_with_what_it_leaves_out():
    plain, soft, alert = read(
        "id: a, match: {}, usd: 20, per: hour, when_spent: reject",
        "id: b, match: {team: search, tags: {app: '*'}}, usd: 400, per: month, tz: Asia/Shanghai, "
        "when_spent: downgrade, alert_at: [1, 0.5, 0.8]",
        "id: c, match: {key: '*'}, usd: 1, per: week, when_spent: alert",
    ).budgets
    assert plain == Budget("a", 20.0, "hour")
    assert (plain.nano, plain.hard_nano) == (20_000_000_000, 20_000_000_000)
    assert soft == Budget(
        "b", 400.0, "month", "Asia/Shanghai", Match(team="search", tags=(("app", "*"),)),
        "downgrade", 440.0, (0.5, 0.8, 1.0),
    )  # fmt: skip
    assert soft.hard_nano == 440_000_000_000
    assert (alert.hard_nano, alert.alert_at) == (None, (1.0,))


def test_no_nano_usd_is_added_to_a_budget():
    assert Budget("b", 0.1 + 0.2, "day").nano == 300_000_000
    assert Budget("b", 1.2345678999, "day").nano == 1_234_567_899
    assert Budget("b", 1e-10, "day").nano == 0


def test_the_compiled_form_says_the_same_and_a_policy_without_budgets_keeps_its_hash():
    written = "id: a, match: {team: x}, usd: 5, per: day, when_spent: downgrade"
    policy = read(written)
    again = from_compiled(policy.compiled)
    assert (again.budgets, again.hash) == (policy.budgets, policy.hash)
    assert read(written.replace("5", "5.0")).hash == policy.hash
    assert read(written.replace("5", "6")).hash != policy.hash
    bare = parse(HEAD.removesuffix("budgets:\n"), "p.yaml", NAMES)
    assert "budgets" not in bare.compiled


@pytest.mark.parametrize(
    ("budgets", "said"),
    [
        (["id: a, match: {}, usd: 0, per: day, when_spent: reject"], "7: budgets[0].usd: "),
        (["id: a, match: {}, usd: -5, per: day, when_spent: reject"], "7: budgets[0].usd: "),
        (
            ["id: a, match: {}, usd: 0.0000000001, per: day, when_spent: reject"],
            "7: budget a: `usd` (1e-10) is less than a nano-dollar",
        ),
        (["id: a, match: {}, usd: 5, per: year, when_spent: reject"], "7: budgets[0].per: "),
        (["id: a, match: {tier: simple}, usd: 5, per: day, when_spent: reject"], "7: budgets[0]"),
        (
            ["id: a, match: {}, usd: 5, per: day, when_spent: reject, tz: Asia/Peking"],
            "7: budget a: unknown time zone `Asia/Peking` (such as `Asia/Shanghai`)",
        ),
        (
            ["id: a, match: {}, usd: 5, per: day, when_spent: reject, hard_usd: 6"],
            "7: budget a: `hard_usd` goes with `when_spent: downgrade`, not reject",
        ),
        (
            ["id: a, match: {}, usd: 5, per: day, when_spent: downgrade, hard_usd: 4"],
            "7: budget a: `hard_usd` (4) is below `usd` (5)",
        ),
        (
            ["id: a, match: {}, usd: 5, per: day, when_spent: downgrade, hard_usd: 1.0e+11"],
            "7: budgets[0].hard_usd: ",
        ),
        (
            ["id: a, match: {}, usd: 5, per: day, when_spent: alert, alert_at: [0]"],
            "7: budgets[0].alert_at[0]: ",
        ),
        (
            ["id: a, match: {}, usd: 5, per: day, when_spent: reject, alert_at: [0.8, 80]"],
            "7: budget a: `alert_at` 80 is never reached, 1 is the most (a share of `usd`: 0.8 is",
        ),
        (
            ["id: a, match: {}, usd: 5, per: day, when_spent: downgrade, alert_at: [1.2]"],
            "7: budget a: `alert_at` 1.2 is never reached, 1.1 is the most",
        ),
        (
            ["id: a, match: {}, usd: 5, per: day, when_spent: alert, alert_at: [50]"],
            "7: budget a: `alert_at` 50 is never reached, 10 is the most",
        ),
        (
            ["id: a, match: {key: sk-sluice-ab0619c6-x}, usd: 5, per: day, when_spent: reject"],
            "7: budget a: a key is meant by its 8 hex digits, without `sk-sluice-`",
        ),
        (
            ["id: a, match: {team: 'fr*'}, usd: 5, per: day, when_spent: reject"],
            "7: budget a: `fr*`: `*` stands alone for any value",
        ),
        (
            ["id: a, match: {tags: {app: 'x*'}}, usd: 5, per: day, when_spent: reject"],
            "7: budget a: `x*`: `*` stands alone for any value",
        ),
        (
            ["id: a, match: {tags: {}}, usd: 5, per: day, when_spent: reject"],
            "7: budgets[0].match.tags: ",
        ),
        (
            ["id: a, match: {}, usd: 5, per: day, when_spent: reject"] * 2,
            "8: budget a: this id stands twice",
        ),
    ],
)
def test_mistakes_are_told_with_their_line(budgets, said):
    found = told(*budgets)
    assert any(problem.startswith(said) for problem in found), found


@pytest.mark.parametrize(
    ("match", "value"),
    [
        (Match(), "all"),
        (Match(tenant="shop"), "tenant=shop"),
        (Match(tenant="bank"), None),
        (Match(team="*"), "team=search"),
        (Match(key="*", tags=(("app", "web"),)), "key=ab12,tags.app=web"),
        (Match(tags=(("app", "*"), ("env", "*"))), None),
        (Match(tenant="shop", team="ads"), None),
    ],
)
def test_a_request_counts_where_its_identity_matches(match, value):
    assert value_of(match, facts()) == value


def test_nobody_counts_by_what_they_do_not_have():
    assert value_of(Match(team="*"), facts(team=None)) is None
    budgets = (Budget("a", 1.0, "day"), Budget("b", 1.0, "day", match=Match(team="ads")))
    assert counting(budgets, facts()) == [(budgets[0], "all")]


def at(text):
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("per", "tz", "now", "name", "begins", "ends"),
    [
        ("day", "UTC", "2026-11-21T00:00:00+00:00", "2026-11-21", "2026-11-21T00:00Z",
         "2026-11-22T00:00Z"),
        # Midnight of Shanghai is 16:00 UTC of the day before.
        ("day", "Asia/Shanghai", "2026-11-21T15:59:59.999+00:00", "2026-11-21",
         "2026-11-20T16:00Z", "2026-11-21T16:00Z"),
        ("day", "Asia/Shanghai", "2026-11-21T16:00:00+00:00", "2026-11-22",
         "2026-11-21T16:00Z", "2026-11-22T16:00Z"),
        # Days of 23 and 25 hours, where the clocks change.
        ("day", "America/New_York", "2026-03-08T12:00:00+00:00", "2026-03-08",
         "2026-03-08T05:00Z", "2026-03-09T04:00Z"),
        ("day", "America/New_York", "2026-11-01T12:00:00+00:00", "2026-11-01",
         "2026-11-01T04:00Z", "2026-11-02T05:00Z"),
        ("week", "UTC", "2027-01-03T23:00:00+00:00", "2026-W53", "2026-12-28T00:00Z",
         "2027-01-04T00:00Z"),
        ("month", "Europe/Berlin", "2026-03-31T21:59:00+00:00", "2026-03",
         "2026-02-28T23:00Z", "2026-03-31T22:00Z"),
        ("month", "UTC", "2026-12-31T23:59:59+00:00", "2026-12", "2026-12-01T00:00Z",
         "2027-01-01T00:00Z"),
        ("hour", "Asia/Kolkata", "2026-11-21T00:10:00+00:00", "2026-11-21T05+0530",
         "2026-11-20T23:30Z", "2026-11-21T00:30Z"),
        # One o'clock comes twice.
        ("hour", "America/New_York", "2026-11-01T05:30:00+00:00", "2026-11-01T01-0400",
         "2026-11-01T05:00Z", "2026-11-01T06:00Z"),
        ("hour", "America/New_York", "2026-11-01T06:30:00+00:00", "2026-11-01T01-0500",
         "2026-11-01T06:00Z", "2026-11-01T07:00Z"),
    ],
)  # fmt: skip
def test_a_period_begins_and_ends_by_the_clocks_of_its_zone(per, tz, now, name, begins, ends):
    found = period(per, tz, at(now))
    assert found.name == name
    assert datetime.fromtimestamp(found.begins_s, UTC) == datetime.fromisoformat(begins)
    assert datetime.fromtimestamp(found.ends_s, UTC) == datetime.fromisoformat(ends)


@pytest.mark.parametrize("per", ["hour", "day", "week", "month"])
@pytest.mark.parametrize("tz", ["UTC", "Asia/Shanghai", "America/New_York", "Asia/Kolkata"])
def test_periods_follow_one_another_without_a_gap(per, tz):
    now_s = at("2026-02-26T00:00:00+00:00")
    for _ in range(400 if per == "hour" else 60):
        this = period(per, tz, now_s)
        after = period(per, tz, this.ends_s)
        assert this.begins_s <= now_s < this.ends_s
        assert after.begins_s == this.ends_s
        assert after.name != this.name
        now_s = this.ends_s
