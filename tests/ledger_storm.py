"""Many processes and threads at once: random reservations, settlements, expiries and replays.

`storm` runs the processes and adds up what they did; run by itself this file is one of them.
"""

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from ledger_support import NOW, alert, charge, dynamo_client, scope, worst, wrong

from router.ledger.port import Reserved
from router.ledger.sqlite import SqliteLedger

LEASE_S = 60
SKEW_S = 90  # every thread's clock is off by up to that: leases run out before their time
LIMITS = (60_000, 25_000, 15_000)
SCOPES = (
    scope("tenant", LIMITS[0], value="tenant=acme"),
    scope("team", LIMITS[1]),
    scope("key", LIMITS[2] - 500, LIMITS[2], "downgrade", value="key=ab12cd34"),
    scope("other", LIMITS[2], value="key=ef56"),
    alert("watch", 30_000, alert_at=(0.25, 0.5, 0.75, 1.0)),
)
LATER = NOW + 10**7


def open_ledger(place):
    """`place`: a folder, or an address and a table's name."""
    if not place.startswith("http"):
        return SqliteLedger(Path(place), wait_s=60)
    from router.ledger.dynamo import DynamoLedger

    address, table = place.split("#")
    return DynamoLedger(dynamo_client(address), table)


class Worker(threading.Thread):
    """Does so many operations and remembers what must come of each of its requests."""

    def __init__(self, ledger, name, operations, tells=0):
        """`tells`: after so many operations it says on stderr how far it is; 0: never."""
        super().__init__()
        self.tells, self.begun = tells, time.monotonic()
        self.ledger, self.label, self.operations = ledger, name, operations
        self.chance = random.Random(name)
        self.now = NOW + self.chance.uniform(-SKEW_S, SKEW_S)
        self.open, self.done, self.due = [], [], {}
        self.counts, self.told, self.failure = Counter(), [], None

    def run(self):
        try:
            for number in range(self.operations):
                self.step()
                if self.tells and (number + 1) % self.tells == 0:
                    share, took_s = (number + 1) / self.operations, time.monotonic() - self.begun
                    sys.stderr.write(f"  about {share:.0%} after {took_s:.0f} s\n")
        except BaseException as exc:
            self.failure = repr(exc)
            raise

    def step(self):
        self.now += self.chance.choice((-5, 0.0, 1, 10))
        kind = self.chance.choices(
            ("reserve", "settle", "release", "lose", "expire", "replay"), (40, 30, 6, 6, 4, 14)
        )[0]
        self.counts[kind] += 1
        getattr(self, kind)()

    def reserve(self):
        request_id = f"{self.label}-{self.counts['reserve']}"
        scopes = self.chance.sample(SCOPES, self.chance.randint(1, 4))
        nano = self.chance.choice((1, 5, 20, 50))
        lowered = frozenset(self.chance.choice(((), ("key",))))
        found = self.ledger.reserve(
            worst(request_id, nano), scopes, self.now, self.now + LEASE_S, lowered
        )
        if isinstance(found, Reserved):
            self.due[request_id] = nano  # if nothing else comes, in full
            self.open.append(found)
        else:
            self.counts["refused"] += 1
            self.due[request_id] = 0

    def taken(self):
        return self.open.pop(self.chance.randrange(len(self.open))) if self.open else None

    def settle(self):
        reserved = self.taken()
        if reserved is None:
            return
        used = self.chance.randint(0, reserved.nano + 5)
        hard = any(found.hard_nano is not None for found in reserved.scopes)
        self.due[reserved.id] = min(used, reserved.nano) if hard else used
        rows = (charge(reserved.id, used, at_s=self.now),)
        self.told += self.ledger.settle(reserved, rows, self.now)
        self.done.append((reserved, rows))

    def release(self):
        reserved = self.taken()
        if reserved is not None:
            self.ledger.release(reserved, self.now)
            self.due[reserved.id] = 0

    def lose(self):
        self.taken()

    def expire(self):
        self.told += self.ledger.expire(self.now).alerts

    def replay(self):
        if self.done:
            reserved, rows = self.chance.choice(self.done)
            self.told += self.ledger.settle(reserved, rows, self.now)
            self.ledger.release(reserved, self.now)
        elif self.open:
            reserved = self.chance.choice(self.open)
            try:
                row = worst(reserved.id, reserved.nano)
                again = self.ledger.reserve(row, reserved.scopes, self.now, self.now + LEASE_S)
            except ValueError:
                return  # another's clock says that its lease ran out: it is charged
            assert isinstance(again, Reserved)


def storm(place, processes, threads, operations, kills=0, *, tells=False):
    """Return what was done, and every violation, once all is over and what was lost expired."""
    each = -(-operations // (processes * threads))
    names = [f"p{number}" for number in range(processes)]
    chance = random.Random(kills)
    running = [start(place, name, threads, each, tells and name == "p0") for name in names]
    for number in range(kills):
        time.sleep(chance.uniform(0.5, 1.5))
        victim = running[number % processes]
        victim.send_signal(signal.SIGKILL)
        victim.communicate()
        running[number % processes] = start(place, f"k{number}", threads, each)
    counts, due, told, found = Counter(), {}, Counter(), []
    for process in running:
        text, _ = process.communicate(timeout=3000)
        if process.returncode:
            found.append(f"a process ended with {process.returncode}: {text[-500:]}")
            continue
        result = json.loads(text)
        counts.update(result["counts"])
        due |= result["due"]
        told.update(result["told"])
    ledger = open_ledger(place)
    counts["expired at the end"] = ledger.expire(LATER).leases
    found += wrong(ledger)
    charged = Counter()
    for row in ledger.entries("", "9999"):
        charged[row.request_id] += row.nano
    found += [
        f"{request_id}: charged {charged[request_id]} for {nano}"
        for request_id, nano in due.items()
        if charged[request_id] != nano
    ]
    found += [f"{alert_} was told {times} times" for alert_, times in told.items() if times > 1]
    for of in SCOPES:
        left = ledger.balance(of, LATER)
        if left.reserved or (of.hard_nano is not None and left.avail < 0):
            found.append(f"{of.budget} ends with {left}")
    spent = {of.budget: ledger.balance(of, LATER).spent for of in SCOPES}
    ledger.close()
    return counts, spent, found


def start(place, name, threads, each, tells=False):
    command = [sys.executable, __file__, place, name, str(threads), str(each), "tell" * tells]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def main(place, name, threads, each, tells=""):
    ledger, each = open_ledger(place), int(each)
    workers = [
        Worker(ledger, f"{name}t{number}", each, each // 10 if tells and number == 0 else 0)
        for number in range(int(threads))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    counts, due, told = Counter(), {}, []
    for worker in workers:
        assert worker.failure is None, worker.failure
        counts.update(worker.counts)
        due |= worker.due
        told += [f"{found.budget} at {found.share}" for found in worker.told]
    sys.stdout.write(json.dumps({"counts": counts, "due": due, "told": Counter(told)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
