"""Budgets that can't be, and budgets that lie across each other."""

import pytest
from support import ANSWER, catalogue, fleet, plain, policy, sluice, wait_until

from router.ledger.sqlite import SqliteLedger

PER_DAY = "per: day, when_spent: reject"


def with_budgets(*budgets, defaults=""):
    return (
        policy(defaults=defaults)
        + "budgets:\n"
        + "".join(f"  - {{{budget}}}\n" for budget in budgets)
    )


MISTAKES = [
    (f"id: a, match: {{}}, usd: 0, {PER_DAY}", "budgets[0].usd: "),
    (f"id: a, match: {{}}, usd: -5, {PER_DAY}", "budgets[0].usd: "),
    (
        f"id: a, match: {{}}, usd: 0.0000000001, {PER_DAY}",
        "budget a: `usd` (1e-10) is less than a nano-dollar",
    ),
    (
        f"id: a, match: {{}}, usd: 5, {PER_DAY}, tz: Mars/Olympus",
        "unknown time zone `Mars/Olympus`",
    ),
]


@pytest.mark.parametrize(("budget", "said"), MISTAKES)
def test_a_budget_that_can_not_be_keeps_a_router_from_starting(tmp_path, upstream, budget, said):
    fleets, path = tmp_path / "fleets.yaml", tmp_path / "policy.yaml"
    fleets.write_text(catalogue(fleet("one", upstream.url)))
    path.write_text(with_budgets(budget))
    files = ("--policy", path, "--fleets", fleets, "--state", tmp_path / "state")
    done = sluice("serve", "--port", "0", "--auth", "none", *files)
    assert done.returncode == 3
    assert f"{path}:8: " in done.stderr
    assert said in done.stderr


def test_a_budget_that_can_not_be_is_refused_while_the_router_runs(start_router, upstream):
    worked = with_budgets(f"id: a, match: {{}}, usd: 1, {PER_DAY}")
    router = start_router(catalogue(fleet("one", upstream.url)), worked)
    path = router.state.parent / "policy.yaml"
    path.write_text(worked.replace("usd: 1,", "usd: -1,"))
    wait_until(lambda: "the change is refused" in router.log())
    assert "budgets[0].usd: " in router.log()
    assert router.chat().status_code == 200


@pytest.mark.parametrize("usd", ["0", "-1", "nan", "0.0000000001"])
def test_an_override_of_nothing_is_told(start_router, upstream, usd):
    limits = with_budgets(f"id: a, match: {{}}, usd: 1, {PER_DAY}")
    router = start_router(catalogue(fleet("one", upstream.url)), limits)
    done = sluice("ledger", "override", "a", "all", f"--usd={usd}", "--until", "1h",
                  "--state", router.state)  # fmt: skip
    assert done.returncode == 3
    assert "--usd" in done.stderr
    assert router.chat().status_code == 200


def test_of_budgets_that_lie_across_each_other_all_hold(start_router, upstream):
    """Money for three requests, for two of the team's, and for one of the key's."""
    usage = {"prompt_tokens": 66, "completion_tokens": 10}
    upstream.script = lambda body, send, gone: send(plain({**ANSWER, "usage": usage}))
    fleets = catalogue(fleet("one", upstream.url))
    probe = start_router(fleets, policy(defaults=", limits: {attempts: 1}"))
    worst = probe.receipt(probe.chat("hi", max_tokens=10))["reservation"]["usd"]
    written = (
        f"id: {id_}, match: {{{match}}}, usd: {worst * money:.12f}, {PER_DAY}"
        for id_, match, money in (
            ("all", "", 3.5),
            ("team", 'team: "*"', 2.5),
            ("key", 'key: "*"', 1.5),
        )
    )
    text = with_budgets(*written, defaults=", limits: {attempts: 1}")
    router = start_router(fleets, text, team="search")
    assert router.chat("hi", max_tokens=10).status_code == 200
    refused = router.chat("hi", max_tokens=10)
    assert refused.status_code == 402
    assert refused.json()["error"]["scope"]["budget"] == "key"  # the one with the least left
    ledger = SqliteLedger(router.state)
    try:
        scopes = {row.name.split()[0]: row for row in ledger.books().scopes.values()}
    finally:
        ledger.close()
    assert set(scopes) == {"all", "team", "key"}
    assert len({row.spent for row in scopes.values()}) == 1  # once in each, in full
    assert {row.reserved for row in scopes.values()} == {0}
