"""`make replay-day`: a day of traffic through the code that decides and charges, on a clock of its
own, and what FinOps then reads of it.

    python -m tools.replay.day FOLDER [--requests 60000] [--seed 1]

Requests come at random over a day that is quiet at night and busy in the afternoon (Shanghai);
their texts are those of our tests. Judging, prices, decisions, budgets and the ledger are the
product's. Nothing is sent: a fleet takes the time that its profile predicts for the load of that
moment (one without a profile: HOSTED_MS), and its answers are as long as was expected, give or
take. Of a few requests nobody ever says what came of them.
"""

import argparse
import asyncio
import heapq
import itertools
import json
import math
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from backends.sse import Usage
from router import wire
from router.charge import charged
from router.classify import judge_by
from router.decide import Decision, decide
from router.entries import Spent
from router.errors import Refusal
from router.estimate import Estimate
from router.facts import facts_of
from router.features import read
from router.identity import Key
from router.keeper import fleet_time
from router.ledger.audit import violations
from router.ledger.entry import stamp
from router.ledger.sqlite import SqliteLedger
from router.receipt import Outcome, receipt
from router.record import keep_versions
from router.sources import Sources
from router.tracker import Tracker
from router.treasury import Held, Treasury, decided_by

HERE = Path(__file__).parent
PROMPTS = HERE.parents[1] / "tests" / "data" / "requests.jsonl"
START = datetime(2026, 11, 20, 16, tzinfo=UTC)  # the first moment of 21 November in Shanghai
DAY_S = 86_400
LOOK_S = 60.0
BUSIEST_H = 15.0
LOST = 0.002  # of the requests: their router was killed
HOSTED_MS = 300.0, 15.0  # to the first token and for each: assumed of a fleet without a profile
TEAMS = (("search", 5), ("crm", 3), ("ads", 2))
HINTS = wire.parse_hints({})

Happens = Callable[[], Awaitable[None]]


class Day:
    """The router's parts around one simulated clock, in seconds since 1970."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.draw = random.Random(seed)  # noqa: S311  (traffic, no secrets)
        self.world = Sources(folder, HERE / "fleets.yaml", HERE / "policy.yaml", "local").load()
        keep_versions(folder, self.world)
        self.now_s = START.timestamp()
        self.counts = Counter[str]()
        self.tracker = Tracker(self.world.fleets)
        self.ledger = SqliteLedger(folder)
        self.treasury = Treasury(
            self.ledger,
            lambda: self.now_s,
            lambda alerts: self.counts.update(alerts=len(alerts)),
            lambda: None,
        )
        self.treasury.adopt(self.world.policy)
        self._looked_s = self.now_s
        self._judge = judge_by()
        self._bodies = [
            json.dumps({"model": "auto", "messages": json.loads(line)["messages"]}).encode()
            for line in PROMPTS.read_text("utf-8").splitlines()
        ]

    def arrivals(self, requests: int) -> Iterator[float]:
        """Yield when requests come: a Poisson stream whose rate has one wave a day."""
        times: list[float] = []
        while len(times) < requests:
            hour = self.draw.uniform(0, 24)
            if self.draw.random() < (1 + 0.8 * math.cos((hour - BUSIEST_H) * math.pi / 12)) / 1.8:
                times.append(START.timestamp() + hour * 3600)
        return iter(sorted(times))

    async def look(self) -> None:
        """Do what the keeper does: charge what ran out, write down the fleets' time."""
        self.counts["expired"] += await self.treasury.expire()
        loads = self.tracker.loads(self.now_s)
        rows = fleet_time(self.world, loads, self._looked_s, self.now_s)
        await self.treasury.add_fleet_time(rows)
        self._looked_s = self.now_s

    async def asked(self, number: int) -> tuple[float, Happens] | None:
        """Decide and reserve one request; return when it ends and what happens then."""
        request_id, decision = f"req_{number:024x}", self._decision()
        self.counts["requests"] += 1
        if not decision.plan.attempts:  # every fleet that may serve is full
            self.counts["no_fleet"] += 1
            return None
        try:
            decision, held = await self.treasury.set_aside(
                request_id, self.world, decision, decided_by(self.world, stream=False)
            )
        except Refusal as refused:
            self.counts[refused.code or "refused"] += 1
            return None
        if self.draw.random() < LOST:
            self.counts["lost"] += 1
            return None
        attempt = decision.plan.attempts[0]
        candidate, most = attempt.candidate, attempt.max_tokens
        drawn = decision.facts.tokens_out * self.draw.lognormvariate(-0.08, 0.4)
        tokens_out = max(1, min(most, round(drawn)))
        ttft_ms, itl_ms = candidate.ttft_p50_ms, candidate.itl_p50_ms
        if ttft_ms is None or itl_ms is None:
            ttft_ms, itl_ms = HOSTED_MS
        took_ms = ttft_ms + itl_ms * tokens_out
        outcome, most_ms = "ok", decision.plan.limits.deadline_ms
        if took_ms > most_ms:  # an overloaded fleet: what it had made by then is charged
            tokens_out = max(0, round((most_ms - ttft_ms) / itl_ms))
            outcome, took_ms = "timed_out", float(most_ms)
        usage = Usage(decision.facts.tokens_in, tokens_out)
        service_ms = min(took_ms, _service_ms(candidate, usage))
        number = self.tracker.started(candidate.fleet)

        async def ends() -> None:
            self.tracker.ended(candidate.fleet, number)
            charge = charged(candidate.on.card, usage, estimated=False)
            assert charge is not None
            spent = Spent(attempt, outcome, usage, charge.nano, estimated=False, e2e_ms=service_ms)
            self._settle(request_id, decision, held, spent)

        return self.now_s + took_ms / 1000, ends

    def _decision(self) -> Decision:
        request = wire.parse_chat(self.draw.choice(self._bodies))
        reading = read(request.body, request.sent_bytes)
        (team,) = self.draw.choices([name for name, _ in TEAMS], [share for _, share in TEAMS])
        key = Key(id=f"key-{team}", tenant="shop", team=team)
        judged = self._judge(reading)
        facts = facts_of(request, reading.features, judged, key, HINTS, stamp(self.now_s))
        return decide(self.world, facts, self.tracker.loads(self.now_s))

    def _settle(self, request_id: str, decision: Decision, held: Held, spent: Spent) -> None:
        line = receipt(request_id, self.world, decision, Outcome([], [], held.json()))
        self.treasury.settle(held, (request_id, self.world, decision), [spent], line)
        self.counts[spent.outcome] += 1


def _service_ms(candidate: Estimate, usage: Usage) -> float:
    """Return the time on a replica, without the wait for a place on it."""
    load = candidate.load
    places = int(candidate.on.capacity) * load.replicas
    full = replace(load, in_flight=min(load.in_flight, max(0, places - 1)))
    tokens = usage.tokens_in or 0, usage.tokens_out or 0
    predicted_ms = candidate.on.predict(*tokens, 1, full).e2e_p50_ms
    return math.inf if predicted_ms is None else predicted_ms


async def replay(day: Day, requests: int) -> None:
    """Run the day: whatever comes first happens first."""
    number, order = itertools.count(1), itertools.count()
    events: list[tuple[float, int, Happens]] = []

    def at(when_s: float, what: Happens) -> None:
        heapq.heappush(events, (when_s, next(order), what))

    async def arrive() -> None:
        ending = await day.asked(next(number))
        if ending is not None:
            at(*ending)

    for when_s in day.arrivals(requests):
        at(when_s, arrive)
    for minute in range(1, DAY_S // 60 + 1):
        at(START.timestamp() + minute * LOOK_S, day.look)
    while events:
        day.now_s, _, happens = heapq.heappop(events)
        await happens()
    day.now_s += DAY_S  # every lease is over
    day.counts["expired"] += await day.treasury.expire()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--requests", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if (given.folder / "sluice.db").exists():
        parser.error(f"{given.folder}: there is a ledger already; give an empty folder")
    day = Day(given.folder, given.seed)
    asyncio.run(replay(day, given.requests))
    found = list(violations(day.ledger.books()))
    day.ledger.close()
    print(", ".join(f"{count:,} {what}" for what, count in day.counts.items()))
    print(f"violations: {len(found)}\n", flush=True)
    report = ("-m", "router.cli", "ledger", "report", "--state", given.folder, "--by", "rule")
    over = ("--from", "2026-11-21", "--to", "2026-11-22", "--tz", "Asia/Shanghai")
    chart = ("--chart", given.folder / "day.svg")
    subprocess.run([sys.executable, *report, *over, *chart], check=True)  # noqa: S603  (ours)
    raise SystemExit(bool(found))


if __name__ == "__main__":
    main()
