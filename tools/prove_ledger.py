"""`make prove-ledger`: try to make the ledger wrong, and print what was tried and what was found.

Storms of processes and threads over shared budgets, with some killed in between; a kill before
every statement and in the midst of every few hundred bytes written; full disks; logs cut short;
the same storm on DynamoDB, as moto plays it with one request at a time.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path.insert(0, str(TESTS))

from ledger_storm import storm  # noqa: E402 (found beside the tests)
from ledger_support import dynamo_client, dynamo_server  # noqa: E402 (as above)

from router.ledger.dynamo_table import definition  # noqa: E402 (as above)

OPERATIONS = 20_000
KILLS = 20
STEP_BYTES = "611"


def main() -> None:
    found: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        found += told("SQLite, 8 processes of 8 threads", folder + "/storm", 8, 8, OPERATIONS, 0)
        found += told("SQLite, processes killed", folder + "/kills", 8, 8, OPERATIONS, KILLS)
        found += crashes(folder + "/crash")
    with dynamo_server() as address:
        dynamo_client(address).call("CreateTable", definition("storm"))
        place = f"{address}#storm"
        found += told("DynamoDB (moto), 4 processes of 16 threads", place, 4, 16, OPERATIONS, 0)
    print(f"\nviolations: {len(found)}")
    for violation in found[:20]:
        print(f"  {violation}")
    sys.exit(bool(found))


def told(
    what: str, place: str, processes: int, threads: int, operations: int, kills: int
) -> list[str]:
    begun = time.monotonic()
    far = place.startswith("http")  # it takes minutes: say how far it is
    counts, spent, found = storm(place, processes, threads, operations, kills, tells=far)
    kinds = ("reserve", "settle", "release", "lose", "expire", "replay")
    done = sum(counts[kind] for kind in kinds)
    detail = ", ".join(f"{counts[kind]} {kind}" for kind in (*kinds, "refused"))
    took_s = time.monotonic() - begun
    print(f"{what}: {done} operations, {kills} kills, {took_s:.0f} s, violations {len(found)}")
    print(f"  {detail}; spent {spent}", flush=True)
    return found


def crashes(folder: str) -> list[str]:
    command = [sys.executable, TESTS / "ledger_crash.py", folder, STEP_BYTES]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 (ours)
    steps = json.loads(done.stdout)
    found: list[str] = steps.pop("violations")
    kills = steps["statements"] + steps["writes"]
    print(f"SQLite, one step after the other: {kills} kills, violations {len(found)}")
    print("  " + ", ".join(f"{count} {what}" for what, count in steps.items()), flush=True)
    return found


if __name__ == "__main__":
    main()
