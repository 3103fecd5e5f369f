"""Traces and runs written by hand, for what compares two of them."""

from array import array
from math import nan

from backends import files
from policies.model import Facts
from policies.parse import parse
from router.compare.comparison import Side, compare
from router.replay.outcome import REFUSED, SERVED, TIMED_OUT, FleetRun, Replayed
from router.sources import names_of
from router.traces.trace import Trace

NAMES = names_of(files.catalogue(None))
HEAD = "version: 1\nname: {}\nbaseline: llama-4-scout@p5-scout\n"
TWO_RULES = """
rules:
  - {id: simple, when: {tier: simple}, use: cpu, slo: {ttft_p95_ms: 500}}
  - {id: rest, use: accelerator}
"""
FLEETS = ("cheap", "dear")
LOOK_S = 60.0


def policy(rest=TWO_RULES, name="shop"):
    return parse(HEAD.format(name) + rest, "p.yaml", NAMES)


def kind(team="web", task="code", tenant="shop"):
    return Facts("", tenant, team, "k", {}, task, "heavy", 0.5, 0.5, "en", 10, 10)


def trace(count=4, kinds=(), every_s=1.0, assumptions=()):
    """Return a trace whose requests are of these kinds in turn."""
    kinds = kinds or (kind(),)
    return Trace(
        "t.csv",
        0.0,
        array("d", [i * every_s for i in range(count)]),
        *(array("l", [10] * count) for _ in range(3)),
        *(array("d", [0.5] * count) for _ in range(2)),
        array("b", [-1] * count),
        array("l", [i % len(kinds) for i in range(count)]),
        tuple(kinds),
        assumptions,
    )


def run(
    places, *, usd=1000, ttft_ms=100.0, rules=None, bills=((1.0,), (0.0,)), seconds=60.0, **more
):
    """Return a run: the place of the fleet of each request, None refused, "late" timed out on the
    first fleet, as the engine says it.

    `bills`: of each fleet what every look costs. `usd`: nano-USD of each, or a list.
    """
    outcome = [REFUSED if p is None else TIMED_OUT if p == "late" else SERVED for p in places]
    fleet = [-1 if p is None else 0 if p == "late" else p for p in places]
    charged = usd if isinstance(usd, list) else [usd if p >= 0 else 0 for p in fleet]
    times = ttft_ms if isinstance(ttft_ms, list) else [ttft_ms] * len(places)
    times = [ms if p >= 0 else nan for ms, p in zip(times, fleet, strict=True)]
    return Replayed(
        "shop", "0" * 16, "t.csv",
        tuple(_fleet(name, bill) for name, bill in zip(FLEETS, bills, strict=True)),
        array("h", fleet), array("h", rules or [1] * len(places)), array("b", outcome),
        array("f", times), array("f", times), array("q", charged),
        seconds=seconds, **more,
    )  # fmt: skip


def _fleet(name, bill):
    if bill is None:
        return FleetRun(name, *(array("d") for _ in range(3)), array("d", [nan]), usd_bill=None)
    so_far = [sum(bill[: i + 1]) for i in range(len(bill))]
    total = so_far[-1]
    columns = (array("d") for _ in range(3))
    return FleetRun(name, *columns, array("d", so_far), usd_bill=total, usd_busy=total / 2)


def compared(old, new, of=None, old_policy=None, new_policy=None):
    """Return the comparison of two runs."""
    of = of or trace(len(old.fleet))
    sides = Side(old_policy or policy(), old), Side(new_policy or policy(), new)
    return compare(of, *sides, seed=1, look_s=LOOK_S)
