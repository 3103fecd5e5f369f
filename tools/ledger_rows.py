"""Realistic rows of a ledger, for tests and for the export that focus-validator reads.

    python tools/ledger_rows.py --requests 10000 --out rows.jsonl

The same seed gives the same rows. Requests take one attempt, some a cascade's two; some leases run
out and are corrected later; of some nobody knows tokens, price or baseline.
"""

import argparse
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from router.finops.period import rfc3339
from router.finops.rows_file import entry_line, time_line
from router.ledger.entry import Entry, corrections
from router.ledger.fleet_time import FleetTime

START = datetime(2026, 11, 1, tzinfo=UTC)
NANO = 1_000_000_000
# id, model, instance, region, nano an hour, streams, nano per 1M in and out, emulated
CPU = ("c8g-qwen3", "qwen3-0.6b", "c8g.xlarge", "us-east-1", 159_520_000, 4, 430, 1223, False)
TRN = ("trn2-scout", "llama-4-scout", "trn2.48xlarge", "us-east-1", 45 * NANO, 1120, 32, 325, False)
CARD = ("api-scout", "llama-4-scout", "none", "local", None, None, 500, 500, False)
DEMO = ("p5-demo", "llama-4-scout", "p5.48xlarge", "us-east-1", 98 * NANO, 1075, 65, 650, True)
FLEETS = (CPU, TRN, CARD, DEMO)
TEAMS = ("search", "ads", "crm", None)
BASE_IN, BASE_OUT = 65, 650  # the p5's card, nano-USD a thousand tokens


def entries(requests: int, seed: int = 1, start: datetime = START, days: float = 20) -> list[Entry]:
    """Return the rows of so many requests over so many days, in the order they were settled."""
    draw = random.Random(seed)  # noqa: S311  (rows, no secrets)
    rows: list[Entry] = []
    for n in range(requests):
        at = start + timedelta(seconds=draw.uniform(0, days * 86400))
        rows += _request(draw, f"req_{seed:04x}{n:08x}", at)
    return sorted(rows, key=lambda row: (row.at, row.request_id, row.n))


def _request(draw: random.Random, request_id: str, at: datetime) -> Iterator[Entry]:
    team = draw.choice(TEAMS)
    tags = (
        (("project", draw.choice(("alpha", "beta", "\u641c\u7d22"))),)
        if draw.random() < 0.7
        else ()
    )
    kind = draw.choices(("one", "cascade", "expired"), (90, 8, 2))[0]
    whose = {
        "team": team,
        "tags": tags,
        "tenant": draw.choice(("acme", "globex")),
        "key": "ab12cd34",
    }
    if kind == "cascade":
        yield _row(draw, request_id, 0, at, CPU, last=False, outcome="not_accepted", **whose)
        yield _row(draw, request_id, 1, at, TRN, **whose)
    elif kind == "expired":
        late = at + timedelta(seconds=180)
        row = _row(draw, request_id, 0, at, TRN, settled=late, kind="expired", tokens=None, **whose)
        yield row
        if draw.random() < 0.7:
            later = late + timedelta(minutes=draw.choice((1, 40 * 24 * 60)))
            true = _row(draw, request_id, 0, at, CPU, settled=later, **whose)
            yield from corrections(row, [true], rfc3339(later))
    else:
        fleet = draw.choices(FLEETS, (60, 30, 5, 5))[0]
        tokens = None if draw.random() < 0.01 else (draw.randint(5, 4000), draw.randint(1, 900))
        yield _row(draw, request_id, 0, at, fleet, tokens=tokens, **whose)


def _row(
    draw: random.Random,
    request_id: str,
    n: int,
    reserved: datetime,
    fleet: tuple,
    *,
    team: str | None,
    tags: tuple,
    tenant: str,
    key: str,
    last: bool = True,
    kind: str = "charge",
    outcome: str = "ok",
    tokens: tuple[int, int] | None = (200, 150),
    settled: datetime | None = None,
) -> Entry:
    name, model, instance, region, nano_hour, capacity, card_in, card_out, emulated = fleet
    spent = draw.randint(50_000, 900_000) if tokens is None else _cost(tokens, card_in, card_out)
    service_ms = round(draw.uniform(50, 30_000), 3)
    baseline = None if tokens is None or not last else _cost(tokens, BASE_IN, BASE_OUT)
    return Entry(
        request_id=request_id,
        n=n,
        kind=kind,
        at=rfc3339(settled or reserved + timedelta(milliseconds=service_ms)),
        period_at=rfc3339(reserved),
        key=key,
        tenant=tenant,
        team=team,
        tags=tags,
        task=draw.choice(("extraction", "chat", "code")),
        tier=draw.choice(("simple", "heavy")),
        language=draw.choice(("en", "zh-Hans")),
        service_class="standard",
        policy="5f0e" * 4,
        rule=draw.choice(("simple-to-cpu", "everything-else")),
        model=model,
        fleet=name,
        instance=instance,
        region=region,
        outcome=outcome,
        last=last,
        tokens_in=tokens and tokens[0],
        tokens_cached=tokens and draw.choice((None, 0, tokens[0] // 2)),
        tokens_out=tokens and tokens[1],
        tokens_reasoning=None,
        nano=spent,
        nano_marginal=None if draw.random() < 0.02 else spent // 3,
        nano_average=spent * 2,
        nano_baseline=None if draw.random() < 0.02 else baseline,
        nano_router=8_950 if last and kind == "charge" else 0,
        service_ms=service_ms,
        capacity=capacity,
        nano_hour=nano_hour,
        estimated=tokens is None,
        emulated=emulated,
        reserved_nano=spent * 5 if last else 0,
        overrun_nano=draw.choice((0,) * 30 + (1_234,)),
        receipt=f"{draw.getrandbits(64):016x}",
    )


def _cost(tokens: tuple[int, int], card_in: int, card_out: int) -> int:
    return tokens[0] * card_in + tokens[1] * card_out


def times(
    minutes: int, seed: int = 1, start: datetime = START, fleets: tuple = (CPU, TRN, DEMO)
) -> Iterator[FleetTime]:
    """Yield the time of the fleets; of one minute in fifty the source is an assumption, or both."""
    draw = random.Random(seed)  # noqa: S311
    for n in range(minutes):
        minute = f"{start + timedelta(minutes=n):%Y-%m-%dT%H:%M:%SZ}"
        for fleet in fleets:
            nano_hour, emulated = fleet[4], fleet[8]
            seconds = 60.0 if draw.random() < 0.95 else round(draw.uniform(0, 60), 3)
            sources = draw.choices(
                (("observed",), ("assumed",), ("observed", "assumed")), (96, 2, 2)
            )
            for source in sources[0]:
                replicas = draw.choice((1, 1, 1, 2))
                yield FleetTime(fleet[0], minute, seconds, replicas, nano_hour, source, emulated)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--minutes", type=int, default=1_440)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    with given.out.open("wb") as out:
        out.writelines(map(entry_line, entries(given.requests, given.seed)))
        out.writelines(map(time_line, times(given.minutes, given.seed)))


if __name__ == "__main__":
    main()
