"""`sluice ledger budgets` and `override`, as typed, over both stores."""

import json
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from click.testing import CliRunner
from ledger_support import charge, limit, scope, worst

from router.cli.main import cli
from router.cli.width import width
from router.ledger.entry import stamp
from router.ledger.sqlite import SqliteLedger

BUDGETS = {
    "search": {"team": "search"},
    "any-key": {"key": "*"},
    "app": {"tags": {"app": "*"}},
    "all": {},
    "quiet": {"tenant": "acme"},
}


def ledger(command, *arguments, code=0):
    ran = CliRunner().invoke(cli, ["ledger", command, *map(str, arguments)])
    assert ran.exit_code == code, ran.output
    return ran


def of(value, budget, nano=10**9, **more):
    """Return a scope of the day that is running."""
    today = datetime.fromtimestamp(time.time(), UTC).replace(hour=0, minute=0, second=0)
    ends = stamp((today + timedelta(days=1)).timestamp())
    return scope(budget, nano, value=value, **{"period": f"{today:%Y-%m-%d}", "ends": ends, **more})


@pytest.fixture
def state(tmp_path):
    """A dollar a budget; $0.80 of the search team's are spent and $0.10 set aside."""
    opened, now_s = SqliteLedger(tmp_path), time.time()
    opened.adopt({name: limit(10**9) for name in BUDGETS}, "abcd1234", now_s)
    scopes = (of("team=search", "search"), of("tags.app=搜索组", "app"), of("all", "all"))
    held = opened.reserve(worst("r1", 8 * 10**8), scopes, now_s, now_s + 90)
    opened.settle(held, (charge("r1", 8 * 10**8),), now_s)
    opened.reserve(worst("r2", 10**8), scopes[:1], now_s, now_s + 90)
    gone = of("team=search", "search", period="2020-01-01", ends="2020-01-02T00:00:00Z")
    opened.reserve(worst("r3", 5), (gone,), now_s, now_s + 90)
    opened.close()
    (tmp_path / "versions").mkdir()
    kept = {"budgets": [{"id": name, "match": match} for name, match in BUDGETS.items()]}
    (tmp_path / "versions" / "abcd1234.json").write_text(json.dumps(kept))
    return tmp_path


def override(state, *arguments, code=0):
    if "--end" not in arguments and "--until" not in arguments:
        arguments = (*arguments, "--until", "1h")
    return ledger("override", *arguments, "--state", state, code=code)


def shown(state, *more):
    out = ledger("budgets", "--state", state, "--json", *more).stdout
    return json.loads(out, parse_float=Decimal)


# -- budgets ---------------------------------------------------------------------------------------


def test_what_is_left_of_each_budget_is_shown(state):
    found = shown(state)
    rows = {(row["budget"], row["value"]): row for row in found["budgets"]}
    assert set(rows) == {("search", "team=search"), ("app", "tags.app=搜索组"), ("all", "all")}
    row = rows["search", "team=search"]
    figures = [row[f"usd{name}"] for name in ("", "_hard", "_spent", "_reserved", "_left")]
    assert figures == [Decimal(text) for text in ("1", "1", "0.8", "0.1", "0.1")]
    assert (row["usd_left_hard"], row["override_until"]) == (Decimal("0.1"), None)
    assert found["untouched"] == ["any-key", "quiet"]
    assert (found["policy"], found["overrides"]) == ("abcd1234", [])


def test_periods_that_are_over_are_shown_where_asked_for(state):
    periods = [row["period"] for row in shown(state, "--all")["budgets"]]
    assert len(periods) == 4
    assert "2020-01-01" in periods


def test_the_columns_stand_below_each_other(state):
    lines = ledger("budgets", "--state", state).stdout.splitlines()
    table = [line for line in lines if "20" in line]
    assert {width(line[: line.index(" 20")]) for line in table} == {
        width("budget  tags.app=搜索组 ")
    }
    assert lines[-1] == "no request counted in: any-key, quiet"


def test_a_budget_that_only_alerts_has_no_hard_limit(state):
    opened = SqliteLedger(state)
    opened.adopt({"search": limit(10**9, None), "all": limit(10**9, 2 * 10**9)}, "b", time.time())
    opened.close()
    rows = {row["budget"]: row for row in shown(state)["budgets"]}
    assert (rows["search"]["usd_hard"], rows["search"]["usd_left_hard"]) == (None, None)
    assert (rows["all"]["usd_left"], rows["all"]["usd_left_hard"]) == (
        Decimal("0.2"),
        Decimal("1.2"),
    )
    table = ledger("budgets", "--state", state).stdout
    assert " 1.00       - " in table


def test_overrides_are_shown_also_where_nobody_has_spent(state):
    override(state, "search", "team=search", "--usd", "5")
    override(state, "any-key", "key=ab12cd34", "--usd", "0.00001")
    found = shown(state)
    assert [(one["budget"], one["usd"]) for one in found["overrides"]] == [
        ("any-key", Decimal("0.00001")),
        ("search", 5),
    ]
    (row,) = (row for row in found["budgets"] if row["budget"] == "search")
    assert (row["usd"], row["override_until"]) == (5, found["overrides"][1]["until"])
    text = ledger("budgets", "--state", state).stdout
    assert "override of any-key for key=ab12cd34: $0.00001 until 20" in text
    assert row["override_until"] in text


def test_a_ledger_without_budgets_says_so(tmp_path):
    opened = SqliteLedger(tmp_path)
    assert "no router has adopted a policy" in ledger("budgets", "--state", tmp_path).stdout
    opened.adopt({}, "abcd", time.time())
    assert "the policy abcd has no budgets" in ledger("budgets", "--state", tmp_path).stdout
    opened.close()
    assert "no ledger here" in ledger("budgets", "--state", tmp_path / "no", code=3).stderr


# -- override --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "value", "valid"),
    [
        ("search", "搜索组", "`team=search`"),
        ("search", "team=serch", "`team=search`"),
        ("search", "tenant=acme", "`team=search`"),
        ("search", "all", "`team=search`"),
        ("any-key", "key=*", "`key=ID`, the ID as in `sluice keys list`"),
        ("app", "app=web", "`tags.app=X`, X any name"),
        ("all", "team=search", "`all`"),
    ],
)
def test_a_value_that_nobody_counts_under_is_refused(state, budget, value, valid):
    said = override(state, budget, value, "--usd", "5", code=3).stderr
    assert f"`{value}` is no value of budget `{budget}` (valid: {valid}" in said
    assert shown(state)["overrides"] == []


def test_an_unknown_budget_names_the_known(state):
    said = override(state, "serch", "team=search", "--usd", "5", code=3).stderr
    assert "(did you mean `search`? known: all, any-key, app, quiet, search)" in said


@pytest.mark.parametrize("kept", [None, "garbled", "[]", '{"budgets": []}'])
def test_without_the_policy_s_version_the_form_alone_is_checked(state, kept):
    path = state / "versions" / "abcd1234.json"
    path.unlink() if kept is None else path.write_text(kept)
    wrong = override(state, "search", "搜索组", "--usd", "5", code=3).stderr
    assert "valid: `all`, or of `tenant=X`, `team=X`, `key=ID`, `tags.NAME=X`" in wrong
    given = override(state, "search", "team=serch", "--usd", "5").stderr
    assert "versions has no policy abcd1234: only the form of `team=serch` was checked" in given


def test_small_money_is_told_in_full(state):
    out = override(state, "quiet", "tenant=acme", "--usd", "0.00001").stdout
    assert "budget quiet, tenant=acme: $0.00001 until " in out
    assert ": $600.00 until" in override(state, "quiet", "tenant=acme", "--usd", "600").stdout


def test_what_may_not_be_meant_is_warned_of(state):
    low = override(state, "search", "team=search", "--usd", "0.5").stderr
    assert "warning: $0.80 are spent already in " in low
    assert "more than the limit of $0.50" in low
    nobody = override(state, "any-key", "key=12345678", "--usd", "5").stderr
    assert "warning: nobody has spent under `key=12345678`" in nobody
    assert override(state, "search", "team=search", "--usd", "5").stderr == ""


def test_an_override_is_ended(state):
    override(state, "search", "team=search", "--usd", "5")
    ended = override(state, "search", "team=search", "--end")
    assert "budget search, team=search: the override is ended: $1.00 again" in ended.stdout
    assert shown(state)["overrides"] == []
    override(state, "app", "tags.app=搜索组", "--usd", "5")
    said = override(state, "search", "team=search", "--end", code=3).stderr
    assert "has no override for `team=search` (there are: app tags.app=搜索组)" in said


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--usd", "5", "--end"], "`--end` goes without `--usd` and `--until`"),
        (["--until", "3d"], "give `--usd` and `--until`, or `--end`"),
    ],
)
def test_half_an_override_is_told(state, more, said):
    assert said in override(state, "search", "team=search", *more, code=3).stderr
