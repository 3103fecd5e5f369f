"""When lines may be sent, and whose. Pure: `now_s` and deadlines are seconds since 1970.

Outside the window nothing is sent, unless what is left of a batch needs the time until its
deadline: then it is sent anyway.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from policies.conditions import known_zone, unknown_zone

MINUTE_S: Final = 60
DAY_MINUTES: Final = 1440
LOOK_AHEAD: Final = 2 * DAY_MINUTES + 180  # a window that a change of the clock has swallowed once
SLACK: Final = 1.5  # of the time that lines were seen to need: they wait behind urgent requests
RESERVE_S: Final = 300.0  # before the deadline, for retries and what runs longer
LINE_S: Final = 30.0  # that a line is thought to take before one of its batch was answered
_FORM: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)@(\S+)")


@dataclass(frozen=True, slots=True)
class Window:
    """Minutes of the local day, from `begins` until before `ends`; over midnight if that is less.

    Local is what clocks show in `tz`: a minute that they skip is in no window, one that they show
    twice is in it twice.
    """

    begins: int
    ends: int
    tz: str

    def is_open(self, now_s: float) -> bool:
        local = datetime.fromtimestamp(now_s, UTC).astimezone(ZoneInfo(self.tz))
        length = (self.ends - self.begins) % DAY_MINUTES
        return (local.hour * 60 + local.minute - self.begins) % DAY_MINUTES < length

    @property
    def length_s(self) -> int:
        return (self.ends - self.begins) % DAY_MINUTES * MINUTE_S

    def opens_s(self, now_s: float) -> float:
        """Return when it is open next, now if it is."""
        if self.is_open(now_s):
            return now_s
        minute = math.floor(now_s / MINUTE_S) + 1
        for at in range(minute, minute + LOOK_AHEAD):
            if self.is_open(at * MINUTE_S):
                return at * MINUTE_S
        return math.inf


def window_of(text: str) -> Window:
    """Read `22:00-06:00@Asia/Shanghai`. Raises ValueError."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(
            f"`{text[:60]}` is no window (valid: `HH:MM-HH:MM@ZONE`, as "
            "`22:00-06:00@Asia/Shanghai`)"
        )
    begins = int(found[1]) * 60 + int(found[2])
    ends = int(found[3]) * 60 + int(found[4])
    if begins == ends:
        raise ValueError(f"`{text[:60]}` begins when it ends: leave it out to send at any time")
    if not known_zone(found[5]):
        raise ValueError(unknown_zone(found[5]))
    return Window(begins, ends, found[5])


@dataclass(frozen=True, slots=True)
class Work:
    """A batch in progress. `left`: lines without a result; `line_s`: what one takes, as seen so
    far; None: none was answered yet.
    """

    batch_id: str
    tenant: str
    deadline_s: float
    left: int
    line_s: float | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """`window` None: at any time. `at_once`: lines of all batches."""

    window: Window | None
    at_once: int

    def must_begin_s(self, work: Work) -> float:
        """Return when the rest must be begun, wherever the window is, to be done in time."""
        line_s = LINE_S if work.line_s is None else work.line_s
        needs_s = math.ceil(work.left / self.at_once) * line_s * SLACK
        return work.deadline_s - needs_s - RESERVE_S

    def presses(self, work: Work, now_s: float) -> bool:
        return now_s >= self.must_begin_s(work)

    def may_send(self, work: Work, now_s: float) -> bool:
        if now_s >= work.deadline_s:
            return False
        return self.window is None or self.window.is_open(now_s) or self.presses(work, now_s)

    def next_s(self, works: Iterable[Work], now_s: float) -> float:
        """Return when more may be sent than now, or a deadline comes; infinite: never."""
        comes = [work.deadline_s for work in works]
        if self.window is not None and not self.window.is_open(now_s):
            opens_s = self.window.opens_s(now_s)
            comes += [min(opens_s, self.must_begin_s(work)) for work in works]
        return min((at for at in comes if at > now_s), default=math.inf)

    def shares(
        self, works: Sequence[Work], running: Mapping[str, int], now_s: float
    ) -> Counter[str]:
        """Return how many lines of which batch are to be sent now; `running`: of each tenant.

        Batches whose deadline presses go first, the nearest deadline before others. Else the tenant
        with the fewest lines under way is next, with its nearest deadline.
        """
        free = self.at_once - sum(running.values())
        under_way, given = Counter(running), Counter[str]()
        open_ = sorted(
            (work for work in works if work.left > 0 and self.may_send(work, now_s)),
            key=lambda work: (work.deadline_s, work.batch_id),
        )
        for work in (work for work in open_ if self.presses(work, now_s)):
            taken = min(max(free, 0), work.left)
            given[work.batch_id] += taken
            under_way[work.tenant] += taken
            free -= taken
        while free > 0:
            waiting = [work for work in open_ if work.left > given[work.batch_id]]
            if not waiting:
                break
            work = min(waiting, key=lambda one: under_way[one.tenant])
            given[work.batch_id] += 1
            under_way[work.tenant] += 1
            free -= 1
        return +given
