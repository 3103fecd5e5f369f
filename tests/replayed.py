"""Traces and replays made by hand, for tests of what is read from them."""

from array import array
from math import nan

from backends import files
from policies.model import Facts
from policies.parse import parse
from router.replay.outcome import SERVED, FleetRun, Replayed
from router.sources import names_of
from router.traces.trace import UNKNOWN, Trace
from router.world import world

FLEETS = files.catalogue(None)
SMALL, LARGE = "local-qwen3-tiny", "trn2-scout"
POLICY = """
version: 1
name: by-hand
baseline: llama-4-scout@p5-scout
rules:
  - {id: easy, when: {tier: simple}, use: cpu, slo: {ttft_p95_ms: 1000, e2e_p95_ms: null}}
  - {id: hard, when: {tier: heavy}, use: accelerator, slo: {ttft_p95_ms: 200, e2e_p95_ms: 4000}}
"""


def kind(tier="simple", task="short_answer", team="search", **more):
    known = {"at": "", "tenant": "shop", "team": team, "key": "key-1", "tags": {}, "task": task}
    rest = {"tier": tier, "complexity": 0.0, "p_small": 0.0, "language": "en"}
    return Facts(**known, **rest, tokens_in=0, tokens_out=0, **more)


def by_hand(text=POLICY, catalogue=FLEETS):
    return world(parse(text, "by-hand.yaml", names_of(catalogue)), catalogue)


def trace(kinds, *, at_s=None, tokens_in=None, p_small=None, acceptable=None, assumptions=()):
    """One request of each kind given, a second apart unless told."""
    n = len(kinds)
    each = list(dict.fromkeys(map(repr, kinds)))
    return Trace(
        name="by-hand",
        start_s=1_767_571_200.0,  # 2026-01-05T00:00:00Z
        at_s=array("d", at_s or range(n)),
        tokens_in=array("l", tokens_in or [100] * n),
        tokens_out=array("l", [50] * n),
        expected=array("l", [40] * n),
        complexity=array("d", [0.2] * n),
        p_small=array("d", p_small or [0.9] * n),
        acceptable=array("b", acceptable or [UNKNOWN] * n),
        kind=array("l", [each.index(repr(one)) for one in kinds]),
        kinds=tuple(next(one for one in kinds if repr(one) == said) for said in each),
        assumptions=assumptions,
    )


def fleet_run(name, *, requests=0, bill=0.0, busy=0.0, allocated=0.0):
    line = array("d", [1.0])
    run = FleetRun(name, line, line, line, array("d", [bill or 0.0]))
    run.requests, run.usd_bill, run.usd_busy, run.usd_allocated = requests, bill, busy, allocated
    return run


def replayed(rows, *, fleets=None, router=0.0, budgets=None, refusals=None, assumptions=()):
    """Rows are (fleet, rule, outcome, TTFT, end to end, nano-USD); a fleet of None: nobody."""
    fleets = fleets or (fleet_run(SMALL), fleet_run(LARGE))
    place = {fleet.fleet: i for i, fleet in enumerate(fleets)} | {None: -1}
    columns = list(zip(*rows, strict=True)) or [()] * 6
    return Replayed(
        policy="by-hand",
        hash="0" * 16,
        trace="by-hand",
        fleets=tuple(fleets),
        fleet=array("h", [place[name] for name in columns[0]]),
        rule=array("h", columns[1]),
        outcome=array("b", columns[2]),
        ttft_ms=array("f", [nan if value is None else value for value in columns[3]]),
        e2e_ms=array("f", [nan if value is None else value for value in columns[4]]),
        usd_nano=array("q", columns[5]),
        usd_router=router,
        refusals=refusals or {},
        budgets=budgets or {},
        assumptions=assumptions,
        seconds=60.0,
    )


def served(fleet, rule, ttft_ms, e2e_ms, nano=1000):
    return fleet, rule, SERVED, ttft_ms, e2e_ms, nano
