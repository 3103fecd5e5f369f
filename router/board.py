"""The memory that the workers of one router share: counts and times, never a name or a text.

A worker writes under a lock of the kernel's, which is free again when its holder is killed. What a
worker counts of its own (requests at once) stands in a column of its own, so that what a dead one
left behind can be cleared. All arrays are of 8-byte words, written one at a time: a worker that is
killed between two leaves a figure that is a little too strict, or one that `clear` puts right.

What is looked up lies under a keyed hash of its name, so nobody can choose where.
"""

import fcntl
import mmap
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Final

MOST_WORKERS: Final = 64
SALT_BYTES: Final = 16
WORD: Final = 8

FLEETS: Final = 1_024  # a catalogue has tens; those beyond are not shared
WAYS: Final = 16  # places among which a name may lie
BUCKETS: Final = 8_192 * WAYS  # minutes of rate limits: those of 131,072 keys or values at once
RUNNING: Final = 1_024 * WAYS  # limits of requests at once that have any

CANARY_WORDS: Final = 10  # of a worker: five sums of the policy in force, five of its canary
FLEET_LOCK, RATE_LOCK = 0, 1  # bytes of the file: nothing hangs on what lies there


class Board:
    """`slot` is this worker's column, 0 to workers - 1; the parent has none of its own.

    One board a file and process: closing a second one would free the locks of the first.
    """

    def __init__(self, fd: int, workers: int, slot: int | None = None) -> None:
        self.fd, self.workers, self.slot = fd, workers, slot
        size = _size(workers)
        if os.fstat(fd).st_size != size:
            os.ftruncate(fd, size)
        self._memory = memoryview(mmap.mmap(fd, size))
        self._used = 0
        salt = self._region(SALT_BYTES // WORD)
        self.keeper = self._region(1).cast("q")  # slot + 1 of who keeps the books; 0: nobody
        self.fleet_keys = self._region(FLEETS).cast("Q")
        self.in_flight = self._region(FLEETS).cast("q")  # of all workers
        self.versions = self._region(FLEETS).cast("q")  # counts the changes of a fleet's words
        self.failures = self._region(FLEETS).cast("q")
        self.openings = self._region(FLEETS).cast("q")
        self.trials = self._region(FLEETS).cast("q")  # slot + 1 of who tries; 0: nobody does
        self.closed_until_s = self._region(FLEETS).cast("d")
        self.missed = self._region(FLEETS).cast("q")
        self.missed_since_s = self._region(FLEETS).cast("d")
        self.asked_s = self._region(FLEETS).cast("d")
        self.own_in_flight = self._region(FLEETS * workers).cast("q")  # [fleet][worker]
        self.lines = self._region(FLEETS).cast("q")  # workers in which somebody waits for a place
        self.rank = self._region(FLEETS * workers).cast("d")  # [fleet][worker]: of the first there
        self.told_s = self._region(FLEETS * workers).cast("d")  # when that was said
        self.bucket_keys = self._region(BUCKETS).cast("Q")
        self.taken = self._region(BUCKETS).cast("d")
        self.at_s = self._region(BUCKETS).cast("d")
        self.most = self._region(BUCKETS).cast("q")
        self.running_keys = self._region(RUNNING).cast("Q")
        self.running = self._region(RUNNING * workers).cast("q")  # [place][worker]
        self.canary_keys = self._region(workers).cast("Q")
        self.canary_sums = self._region(CANARY_WORDS * workers).cast("d")  # [worker][sum]
        if slot is None:
            salt[:] = secrets.token_bytes(SALT_BYTES)
        self._salt = bytes(salt)

    def lock(self, byte: int) -> None:
        """Wait for a part of the board. It is held for microseconds, and never over an await."""
        fcntl.lockf(self.fd, fcntl.LOCK_EX, 1, byte)

    def unlock(self, byte: int) -> None:
        fcntl.lockf(self.fd, fcntl.LOCK_UN, 1, byte)

    @contextmanager
    def held(self, byte: int) -> Iterator[None]:
        self.lock(byte)
        try:
            yield
        finally:
            self.unlock(byte)

    def key(self, name: str) -> int:
        """Return what a name is found by: 64 bits, not 0, which means free."""
        digest = blake2b(name.encode(), digest_size=WORD, key=self._salt).digest()
        return int.from_bytes(digest, "little") | 1

    def mine(self) -> bool:
        """Keep the books from now on, unless another worker does; return whether this one does."""
        assert self.slot is not None
        with self.held(FLEET_LOCK):
            self.keeper[0] = self.keeper[0] or self.slot + 1
            return self.keeper[0] == self.slot + 1

    def pass_on(self) -> None:
        assert self.slot is not None
        with self.held(FLEET_LOCK):
            self._leave(self.slot)

    def clear(self, slot: int) -> None:
        """Forget what a worker that has ended was doing; the next one in its slot starts anew."""
        with self.held(FLEET_LOCK):
            self._leave(slot)
            for i in range(FLEETS):
                if self.fleet_keys[i]:
                    self._clear_fleet(i, slot)
        with self.held(RATE_LOCK):
            for i in range(slot, len(self.running), self.workers):
                if self.running[i]:
                    self.running[i] = 0

    def _leave(self, slot: int) -> None:
        if self.keeper[0] == slot + 1:
            self.keeper[0] = 0

    def _clear_fleet(self, i: int, slot: int) -> None:
        mine = i * self.workers
        self.own_in_flight[mine + slot] = 0
        # It may have died between its own count and the sum.
        self.in_flight[i] = sum(self.own_in_flight[mine : mine + self.workers])
        self.rank[mine + slot] = 0.0
        self.lines[i] = sum(map(bool, self.rank[mine : mine + self.workers]))
        if self.trials[i] == slot + 1:
            self.trials[i] = 0
        self.versions[i] += 1

    def _region(self, words: int) -> memoryview:
        begins, self._used = self._used, self._used + words * WORD
        return self._memory[begins : self._used]


def create(workers: int) -> Board:
    """Return the parent's board. Its file has no name: it is gone with the last that has it."""
    if sys.platform == "linux":
        return Board(os.memfd_create("sluice-board"), workers)
    with tempfile.TemporaryFile() as file:
        return Board(os.dup(file.fileno()), workers)


def _size(workers: int) -> int:
    fleets = FLEETS * (11 + 3 * workers)
    rates = BUCKETS * 4 + RUNNING * (1 + workers)
    canary = workers * (1 + CANARY_WORDS)
    return SALT_BYTES + WORD * (1 + fleets + rates + canary)
