"""What the ledger takes of a request: reserve + settle over three scopes, beside a plain write.

The yardstick is the least that any ledger on SQLite could do with the same file settings: two
transactions that write the same row. The ratio is taken turn by turn, within the same second.
"""

import dataclasses
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

from router.ledger.entry import Entry, entry_json, stamp
from router.ledger.port import Reserved, Scope
from router.ledger.sqlite import SqliteLedger

ROUNDS, BATCH = 20, 200
BUDGETS = (("tenant", "tenant=acme"), ("team", "team=search"), ("key", "key=ab12cd34"))
SCOPES = tuple(
    Scope(name, value, "2026-11", "2026-12-01T00:00:00Z", 10**15, 10**15, "reject", (0.5, 0.9))
    for name, value in BUDGETS
)


def worst_of(request_id: str, nano: int, now_s: float) -> Entry:
    """Return a row as long as real ones are."""
    at = stamp(now_s)
    who = ("ab12cd34", "acme", "search", (("app", "mail"),), "classify", "simple", "en", "standard")
    what = ("0123456789abcdef", "cheap-first", "qwen3-0.6b", "c8g-qwen3", "c8g.xlarge", "us-east-1")
    tokens = (210, 0, 180, None)
    prices = (nano, nano, nano, 9 * nano, 0, 812.5, 4, 159_520_000, False, False, nano, 0)
    return Entry(
        request_id, 0, "expired", at, at, *who, *what, "lost", True, *tokens, *prices, "0" * 16
    )


def main() -> None:
    now_s = time.time()
    ours, least = [], []
    with tempfile.TemporaryDirectory() as folder:
        ledger = SqliteLedger(Path(folder))
        plain = sqlite3.connect(Path(folder) / "plain.db", isolation_level=None)
        plain.execute("PRAGMA journal_mode=WAL")
        plain.execute("PRAGMA synchronous=NORMAL")
        plain.execute("CREATE TABLE money (id INTEGER PRIMARY KEY, nano INTEGER) STRICT")
        plain.execute("INSERT INTO money VALUES (1, 0)")
        number = 0
        for _ in range(ROUNDS):
            for _ in range(BATCH):
                number += 1
                worst = worst_of(f"req_{int(now_s * 1000) + number:012x}{number:012x}", 900, now_s)
                charge = dataclasses.replace(worst, kind="charge", nano=700)
                begun = time.perf_counter()
                reserved = ledger.reserve(worst, SCOPES, now_s, now_s + 90)
                assert isinstance(reserved, Reserved)
                ledger.settle(reserved, (charge,), now_s + 1)
                ours.append(time.perf_counter() - begun)
            for _ in range(BATCH):
                begun = time.perf_counter()
                for _ in range(2):
                    plain.execute("BEGIN IMMEDIATE")
                    plain.execute("UPDATE money SET nano = nano + 1 WHERE id = 1")
                    plain.execute("COMMIT")
                least.append(time.perf_counter() - begun)
        ledger.close()
        plain.close()
    p50, p95 = statistics.median(ours) * 1e6, statistics.quantiles(ours, n=20)[-1] * 1e6
    floor = statistics.median(least) * 1e6
    print(f"\nledger on SQLite, three scopes, a row of {len(entry_json(charge))} bytes")
    print(f"  reserve + settle         {p50:6.1f} us p50   {p95:6.1f} us p95")
    print(f"  two plain transactions   {floor:6.1f} us p50   ratio {p50 / floor:.1f}")


if __name__ == "__main__":
    main()
