"""How fast batches are sent on AWS: by how many functions, how many lines each, for how long. Pure.

A function of Lambda runs for 15 minutes at the most. A message stays hidden a minute longer than
that, so that nobody else gets it while its function may live; the leases of its lines end between.
"""

from typing import Final

RUN_S: Final = 900  # Lambda's most
HIDDEN_S: Final = 960  # of a message that was taken; longer than LEASE_S of aws_lines
LONGEST_MS: Final = 780_000  # of one line, by any rule: its function has to end before it is ended
LEAST: Final = 2  # functions: Lambda's MaximumConcurrency of a queue is 2 to 1,000
EACH: Final = 20  # lines that one function has open: it waits for fleets, and computes little
AHEAD: Final = 8  # chunks in the queue for each function: enough for a minute of short answers
STUCK_S: Final = 6 * 3600  # that a chunk waits in the queue at most, unless nobody sends any
STUCK_PARTS: Final = 4  # of what is left until the deadline, and of the window


def hands(at_once: int) -> tuple[int, int]:
    """Return how many functions send, and how many lines each: together at most so many."""
    functions = max(LEAST, -(-at_once // EACH))
    return functions, at_once // functions


def stuck_s(left_s: float, window_s: float | None) -> float:
    """Return after how long a chunk that was put on the queue and not worked on is put there once
    more: its message was set aside. Soon enough for others to come before the deadline, and within
    the window; a message that comes again by itself is waited for. Twice is once.
    """
    open_s = left_s if window_s is None else min(left_s, window_s)
    return min(STUCK_S, max(HIDDEN_S + 60, open_s / STUCK_PARTS))


def most_queued(at_once: int) -> int:
    """Return how many chunks are in the queue or being sent at a time."""
    return hands(at_once)[0] * AHEAD
