"""Where the lines of ``router.emf`` are gathered and printed: standard output, which Lambda and ECS
hand on to CloudWatch. One write a line; an output that can't be written, or that nobody reads,
costs the line alone.
"""

import errno
import os
import select
from collections.abc import Callable

from prometheus_client import Counter

from router.emf import Form, Numbers, Process
from router.exchange import Exchange
from router.runtime import LOG, Runtime

STDOUT = 1


def to_stdout(line: bytes) -> None:
    """Write a line, shorter than a pipe takes at once (4,096 bytes), or raise OSError: a pipe that
    nobody empties would stop the whole process.
    """
    if not select.select([], [STDOUT], [], 0)[1]:
        raise BlockingIOError(errno.EAGAIN, "nobody reads standard output")
    os.write(STDOUT, line)


class Lines:
    """`now` is the wall clock, in seconds since 1970; `write` may raise OSError."""

    def __init__(
        self,
        form: Form,
        runtime: Runtime,
        now: Callable[[], float],
        write: Callable[[bytes], object],
    ) -> None:
        self._form, self._runtime, self._now, self._write = form, runtime, now, write
        self._told = (0, 0)
        self._losing = False

    def tell(self, status: int | None, numbers: Numbers) -> None:
        """Print the line of a request that was answered so; None: its caller left."""
        metrics, before = self._runtime.metrics, self._told
        self._told = (_total(metrics.unsettled), _total(metrics.receipts_lost))
        unsettled, lost = (now - then for now, then in zip(self._told, before, strict=True))
        process = Process(unsettled, lost, self._runtime.stale)
        line = self._form.line(int(self._now() * 1000), status, numbers, process)
        try:
            self._write(line + b"\n")
        except OSError as exc:
            metrics.lines_lost.inc()
            if not self._losing:
                LOG.error("lines of metrics can't be written: %s", exc.strerror)
            self._losing = True
        else:
            self._losing = False


def measure(numbers: Numbers, exchange: Exchange, reserved_nano: int) -> None:
    """Take what is known of a request that is over."""
    meter = exchange.meter
    charge = meter.charge()
    sent = [attempt for attempt in meter.attempts if attempt["outcome"] != "passed_over"]
    if sent:
        last = sent[-1]
        numbers.fleet = last["fleet"]
        numbers.ttft_ms = last["ttft_ms"]
        numbers.e2e_ms = last["e2e_ms"] if last["outcome"] == "ok" else None
        numbers.profile_wrong = exchange.generation.tracker.profile_is_wrong(numbers.fleet)
    numbers.usd, numbers.usd_saved = charge.get("usd"), charge.get("usd_saved")
    numbers.overrun = sum(spent.nano or 0 for spent in meter.spent) > reserved_nano
    numbers.broken = exchange.outcome == "broken"


def _total(counter: Counter) -> int:
    (family,) = counter.collect()
    return int(next(s.value for s in family.samples if s.name.endswith("_total")))
