"""Budgets bind in a replay as the real ledger has it, request by request."""

import asyncio
import random

import pytest
from replay_worlds import START_S, box, catalogue_of, hosted, kind, strong, trace_of, world_of

from backends.sse import Usage
from router.decide import decide
from router.entries import Spent
from router.errors import Refusal
from router.ledger.sqlite import SqliteLedger
from router.replay.outcome import REFUSED, SERVED, Settings
from router.replay.run import replay
from router.tracker import Tracker
from router.treasury import Treasury, decided_by

FLEETS = catalogue_of(
    box("a", replicas={"min": 4, "max": 4, "concurrency_each": 8}),
    strong(
        "p5",
        usd_per_hour=90,
        profile="p5.48xlarge/llama-4-scout",
        replicas={"min": 1, "max": 1, "concurrency_each": 64},
    ),
)
POLICY = """
version: 1
name: thrifty
baseline: big@p5
defaults: {quality_floor: 0, slo: {ttft_p95_ms: null, e2e_p95_ms: null}, max_output_tokens: 200}
rules:
  - {id: heavy, when: {tier: heavy}, use: {in_order: [accelerator, cpu]}}
  - {id: all, use: [cpu, accelerator]}
budgets:
"""
BUDGETS = {
    "reject": "  - {id: team, match: {team: '*'}, usd: 0.02, per: hour, when_spent: reject}\n",
    "downgrade": "  - {id: all, match: {tenant: shop}, usd: 0.01, per: day, when_spent: downgrade,"
    " hard_usd: 0.03}\n",
    "alert": "  - {id: ads, match: {team: ads}, usd: 0.001, per: week, when_spent: alert}\n",
}
KINDS = (kind(), kind(tier="heavy", team="ads"), kind(tier="heavy", team="crm", n=2))


def traffic(seed, many=160):
    """Return requests far enough apart that each ends before the next one comes."""
    draw, rows = random.Random(seed), []
    for i in range(many):
        lengths = draw.choice([20, 400]), draw.choice([5, 60, 199])
        of = {"kind": draw.randrange(3), "expected": draw.choice([50, 150])}
        rows.append((60.0 * i, *lengths, of))
    return trace_of(rows, KINDS)


def by_the_ledger(world, trace, folder):
    """Return of each request the fleet it was charged at, or None where it was refused."""
    now, found = [0.0], []
    ledger = SqliteLedger(folder)
    treasury = Treasury(ledger, lambda: now[0], lambda _: None, lambda: None)
    treasury.adopt(world.policy)
    tracker, decided = Tracker(world.fleets), decided_by(world, stream=False)

    async def play():
        for i in range(len(trace)):
            now[0] = trace.start_s + trace.at_s[i]
            request_id = f"req_{i:024x}"
            decision = decide(world, trace.facts(i), tracker.loads(now[0]))
            try:
                decision, held = await treasury.set_aside(request_id, world, decision, decided)
            except Refusal as refused:
                found.append(refused.code)
                continue
            attempt = decision.plan.attempts[0]
            usage = Usage(trace.tokens_in[i], trace.tokens_out[i])
            nano = attempt.candidate.on.card.charge_nano(usage.tokens_in, 0, usage.tokens_out)
            spent = Spent(attempt, "ok", usage, nano, estimated=False, e2e_ms=1.0)
            treasury.settle(held, (request_id, world, decision), [spent], b"{}")
            await treasury.finished()
            found.append((attempt.candidate.fleet, min(nano, held.most_nano or nano)))

    asyncio.run(play())
    standing = {
        (each.budget, each.value, each.period): each.spent
        for each in ledger.standings(now[0], closed=True)
    }
    ledger.close()
    return found, standing


@pytest.mark.parametrize(
    "which", [("reject",), ("downgrade",), ("alert", "reject"), ("reject", "downgrade", "alert")]
)
def test_the_same_are_refused_and_charged_as_by_the_real_ledger(tmp_path, which):
    world = world_of(POLICY + "".join(BUDGETS[name] for name in which), FLEETS)
    trace = traffic(len(which))
    expected, standing = by_the_ledger(world, trace, tmp_path)
    out = replay(world, trace)
    found = [
        (out.fleets[out.fleet[i]].fleet, out.usd_nano[i])
        if out.outcome[i] == SERVED
        else "budget_exhausted"
        for i in range(len(trace))
    ]
    assert found == expected
    assert {name: spent for name, (spent, _) in out.budgets.items()} == standing
    assert out.refusals.get("budget_exhausted", 0) == out.outcome.count(REFUSED)
    if "reject" in which:
        assert out.refusals["budget_exhausted"]
        short_s = min(s for _, s in out.budgets.values() if s is not None)
        assert (
            short_s
            == next(trace.at_s[i] for i, code in enumerate(expected) if code == "budget_exhausted")
            or "downgrade" in which
        )


def test_budgets_that_are_left_out_bind_nobody():
    world = world_of(POLICY + BUDGETS["reject"], FLEETS)
    out = replay(world, traffic(1), Settings(budgets=False))
    assert set(out.outcome) == {SERVED}
    assert out.budgets == {}


def test_a_new_hour_has_its_own_budget():
    world = world_of(POLICY + BUDGETS["reject"], FLEETS)
    out = replay(world, traffic(1))
    periods = {period for _, _, period in out.budgets}
    assert len(periods) == 3
    assert START_S % 3600 == 0


ASLEEP = {"min": 0, "max": 2, "concurrency_each": 4}
DEAR = hosted("dear", fallback_usd_per_mtok=500.0)
POOR = "  - {id: all, match: {}, usd: 0.000001, per: day, when_spent: reject}\n"
RICH = "  - {id: all, match: {}, usd: 1000, per: day, when_spent: reject}\n"
ELSEWHERE = "  - {id: ads, match: {team: ads}, usd: 0.000001, per: day, when_spent: reject}\n"


@pytest.mark.parametrize(
    ("boxes", "budget", "refused", "starts"),
    [
        # The one that serves isn't paid for, and neither is the one that sleeps.
        ((box("s", replicas=ASLEEP), DEAR), POOR, {"budget_exhausted": 5}, 0),
        # Nobody serves, and the one that sleeps isn't paid for.
        ((box("s", replicas=ASLEEP),), POOR, {"budget_exhausted": 5}, 0),
        ((box("s", replicas=ASLEEP),), RICH, {"no_fleet": 5}, 1),
        ((box("s", replicas=ASLEEP),), ELSEWHERE, {"no_fleet": 5}, 1),
    ],
)
def test_only_a_request_that_is_paid_for_wakes_a_fleet(boxes, budget, refused, starts):
    lanes = "cpu, accelerator" if len(boxes) > 1 else "cpu"
    policy = POLICY.replace("[cpu, accelerator]", f"[{lanes}]").replace("big@p5", "m@s")
    policy = policy.replace("{in_order: [accelerator, cpu]}", "cpu")
    asked = trace_of([(0.0, 20, 5, {"expected": 150})] * 5)
    out = replay(world_of(policy + budget, catalogue_of(*boxes)), asked)
    run = next(each for each in out.fleets if each.fleet == "s")
    assert out.refusals == refused
    assert run.starts == starts
    assert {spent for spent, _ in out.budgets.values()} <= {0}


@pytest.mark.parametrize(
    ("times", "refused", "starts"), [(1.3, "budget_exhausted", 0), (3.0, "overloaded", 1)]
)
def test_who_waited_in_vain_wakes_a_fleet_only_where_it_would_have_been_paid_for(
    times, refused, starts
):
    # The first one holds the only place for longer than the second may wait.
    full = box("a", replicas={"min": 1, "max": 1, "concurrency_each": 1})
    policy = POLICY.replace("[cpu, accelerator]", "cpu").replace("big@p5", "m@a")
    policy = policy.replace("{in_order: [accelerator, cpu]}", "cpu")
    boxes = catalogue_of(full, box("s", replicas=ASLEEP))
    card = world_of(policy + RICH, boxes).fleets[0].card
    each_usd = card.charge_nano(20, 0, 200) / 1e9
    budget = POOR.replace("0.000001", f"{times * each_usd:.9f}")
    asked = trace_of([(0.0, 20, 199), (0.1, 20, 199)])
    out = replay(world_of(policy + budget, boxes), asked)
    assert out.refusals == {refused: 1}
    assert out.fleets[1].starts == starts
