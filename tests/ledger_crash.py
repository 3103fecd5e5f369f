"""Kills a process at every step of the ledger's protocol on SQLite, and looks at what is left.

Run by itself (python ledger_crash.py FOLDER), because it forks; prints one JSON line.

* a statement: SIGKILL before each SQL statement, the commits among them
* a write:     SIGXFSZ in the midst of the log, every few hundred bytes
* a full disk: the same writes fail instead, the process lives on
* power loss:  the log ends earlier, every few hundred bytes
"""

import json
import os
import resource
import shutil
import signal
import sys
from pathlib import Path

from ledger_support import NOW, alert, charge, scope, worst, wrong

from router.ledger.port import LedgerUnavailable, Reserved
from router.ledger.sqlite import SqliteLedger

SCOPES = (scope("team", 1000), scope("key", 400, 500, "downgrade"), alert("watch", 100))
LEASE = NOW + 60
EVERY = int(sys.argv[2]) if len(sys.argv) > 2 else 611  # bytes; no divisor of a page
SPENT = 70 + 20 + 45  # of the first, its second attempt, and the late one


def held_ids(ledger):
    return tuple(row[0] for row in ledger._db.write(lambda: ledger._scopes.prepared(SCOPES, NOW)))


def reserved(ledger, request_id, nano):
    """Reserve, or go on with what was reserved before the process was killed."""
    try:
        return ledger.reserve(worst(request_id, nano), SCOPES, NOW, LEASE)
    except ValueError:  # it is charged already
        return Reserved(request_id, nano, SCOPES, LEASE, held_ids(ledger))


def protocol(ledger):
    """Do all of it, in the order of a bad day. Done again after a crash, it gives the same."""
    first = reserved(ledger, "r1", 120)
    ledger.settle(first, (charge("r1", 70, last=False), charge("r1", 20, n=1)), NOW)
    ledger.release(reserved(ledger, "r2", 90), NOW)
    late = reserved(ledger, "r3", 80)
    ledger.expire(LEASE + 1)
    ledger.settle(late, (charge("r3", 45),), LEASE + 2)


def checked(folder, why):
    """Open it again: the books agree, and what was begun can be brought to its end."""
    ledger = SqliteLedger(folder)
    found = [f"{why}: {violation}" for violation in wrong(ledger)]
    protocol(ledger)
    found += [f"{why}, and again: {violation}" for violation in wrong(ledger)]
    for of in SCOPES:
        left = ledger.balance(of, NOW)
        if (left.spent, left.reserved) != (SPENT, 0):
            found.append(f"{why}: {of.budget} ends with {left}")
    ledger.close()
    return found


def killed(folder, prepare):
    """Fork; the child prepares its end and does the protocol. Return whether it was killed."""
    child = os.fork()
    if not child:
        status = 1
        try:
            ledger = SqliteLedger(folder)
            prepare(ledger)
            protocol(ledger)
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, f"the child failed: {status}"
    return os.WIFSIGNALED(status)


def at_statement(number):
    def prepare(ledger):
        left = iter(range(number))

        def step(_):
            if next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)

        ledger._db._db.set_trace_callback(step)

    return prepare


def limited(folder, more, action):
    """No file grows beyond what the log has now and `more` bytes."""
    size = (folder / "sluice.db-wal").stat().st_size + more
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, action)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))


def at_byte(folder, number):
    return lambda _: limited(folder, number, signal.SIG_DFL)


def refused(folder, number):
    """Fill the disk for a while; return whether anything was refused."""
    child = os.fork()
    if not child:
        status = 3
        try:
            ledger = SqliteLedger(folder)
            limited(folder, number, signal.SIG_IGN)
            try:
                protocol(ledger)
                status = 0
            except LedgerUnavailable:
                hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
                resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
                protocol(ledger)  # the same connection goes on as soon as there is room
                status = 1
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 1), f"the child failed: {status}"
    return status == 1


def fresh(root, name):
    folder = root / name
    shutil.rmtree(folder, ignore_errors=True)
    ledger = SqliteLedger(folder)
    ledger.reserve(worst("r0", 10), SCOPES, NOW, NOW + 10**6)
    ledger.release(Reserved("r0", 10, SCOPES, LEASE, held_ids(ledger)), NOW)
    ledger.close()
    return folder


def every_step(root, name, prepared):
    """Go on until the protocol comes to its end; return steps and violations."""
    found, number = [], 0
    while True:
        folder = fresh(root, name)
        if not killed(folder, prepared(folder, number)):
            return number, found
        found += checked(folder, f"{name} {number}")
        number += 1


def power_loss(root):
    """Cut the log of a whole run, as if its end had never reached the disk."""
    folder = fresh(root, "whole")
    ledger = SqliteLedger(folder)
    protocol(ledger)
    # Copied while it is open: closing would write it all back into the file.
    kept = {path.name: path.read_bytes() for path in folder.iterdir() if "shm" not in path.name}
    ledger.close()
    log, found, cuts = kept["sluice.db-wal"], [], range(0, len(kept["sluice.db-wal"]), EVERY)
    for cut in cuts:
        shutil.rmtree(folder)
        folder.mkdir()
        (folder / "sluice.db").write_bytes(kept["sluice.db"])
        (folder / "sluice.db-wal").write_bytes(log[:cut])
        found += checked(folder, f"power loss {cut}")
    return len(cuts), found


def full_disk(root):
    found, number = [], 0
    while True:
        folder = fresh(root, "full disk")
        if not refused(folder, number * EVERY):
            return number, found
        found += checked(folder, f"full disk {number}")
        number += 1


def main(root):
    statements, found = every_step(root, "statement", lambda _, number: at_statement(number))
    writes, torn = every_step(root, "write", lambda f, number: at_byte(f, number * EVERY))
    disks, full = full_disk(root)
    cuts, lost = power_loss(root)
    steps = {"statements": statements, "writes": writes, "full_disks": disks, "power_losses": cuts}
    sys.stdout.write(json.dumps({**steps, "violations": found + torn + full + lost}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
