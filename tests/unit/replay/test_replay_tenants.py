"""As many tenants as requests, each with a budget of its own: what a replay keeps of them."""

import subprocess
import sys
from dataclasses import replace

from replayed import SMALL, by_hand, kind, replayed, served, trace

from router.cli.replay.tables import budget_rows, budgets_left_out
from router.replay.summary import BUDGETS, summary
from router.replay.summary_json import summary_json

TENANTS = 60_000
BYTES_EACH = 1_030  # a million: 2^30, with what an empty replay takes
POLICY = """
version: 1
name: each
baseline: llama-4-scout@p5-scout
rules: [{id: all, use: {in_order: [cpu, accelerator]}}]
budgets: [{id: each, match: {tenant: "*"}, usd: 20, per: day, when_spent: reject}]
"""
LINE = (
    '{"id":"r","facts":{"at":"2026-01-05T%02d:%02d:%02d.000Z","tenant":"tenant-%d","team":"t",'
    '"key":"key-%d","tags":{},"task":"code","tier":"heavy","complexity":0.5,"p_small":0.5,'
    '"language":"en","tokens_in":50,"tokens_out":5,"tokens_in_bound":90,"may":["pin_model"]},'
    '"charge":{}}\n'
)
MEASURED = """
import resource, sys
from router.replay.run import replay
from router.replay.summary import summary
from router.sources import Sources
from router.traces.opening import open_trace
from pathlib import Path
world = Sources(Path("nowhere"), None, Path(sys.argv[1])).load()
for path in sys.argv[2:]:
    trace = open_trace(path)
    run = replay(world, trace)
    found = summary(world, trace, run)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(len(run.budgets), found.served, most, flush=True)
"""


def test_a_million_tenants_with_a_budget_each_are_replayed_within_a_gigabyte(tmp_path):
    policy, one, many = (tmp_path / name for name in ("policy.yaml", "one.jsonl", "many.jsonl"))
    policy.write_text(POLICY, "utf-8")
    with many.open("w") as file:
        for n in range(TENANTS):
            s = n % 86_400
            file.write(LINE % (s // 3600, s // 60 % 60, s % 60, n, n))
    one.write_text(LINE % (0, 0, 0, 0, 0), "utf-8")
    command = [sys.executable, "-c", MEASURED, str(policy), str(one), str(many)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    (_, _, empty_bytes), (budgets, requests, most_bytes) = (
        map(int, line.split()) for line in run.stdout.splitlines()
    )
    assert (budgets, requests) == (TENANTS, TENANTS)
    assert most_bytes - empty_bytes < TENANTS * BYTES_EACH


def test_of_many_budgets_those_that_bound_and_the_fullest_are_told():
    many = BUDGETS + 2
    spent = {("each", f"tenant={n}", "2026-01-05"): (n * 10**6, None) for n in range(many)}
    spent["each", "tenant=0", "2026-01-05"] = (0, 7.0)
    run = replace(replayed([served(SMALL, 0, 1, 2, 10**9)]), budgets=spent)
    found = summary(by_hand(POLICY), trace([kind()]), run)
    told = {row.value for row in found.budgets}
    assert told == {"tenant=0", *(f"tenant={n}" for n in range(3, many))}
    assert found.budgets_left_out == 2
    assert len(budget_rows(found)) == BUDGETS
    assert budgets_left_out(found).startswith("and 2 more budgets")
    shown = summary_json(found, None)
    assert (len(shown["budgets"]), shown["budgets_left_out"]) == (BUDGETS, 2)
