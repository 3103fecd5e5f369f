"""What a trace asks of fleets: classes of requests, and how many a second of each in every hour.

Pure. An hour's rate is that of its busy minutes, as far as they are busier than chance alone makes
them: minutes of steady random arrivals differ too, and that is counted where replicas are (see
``capacity``).
"""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from backends.queueing import Z95
from router.plan.slo import Slo
from router.traces.trace import Trace

HOUR_S: Final = 3600.0
MINUTE_S: Final = 60.0
WEEK_HOURS: Final = 168
INPUT_WEIGHT: Final = 0.1  # of an input token against one of output, as where nobody measured it
LONG: Final = 0.95  # a class meets its limits at this quantile of its lengths


@dataclass(frozen=True, slots=True)
class RequestClass:
    """Requests that the same fleets may serve. Means are what work is counted by, `long_in` and
    `long_out` (p95) what times are. `late`: no fleet is fast enough, and they are few: they are
    served without a limit of time. `slo` None: the plan's.
    """

    id: str
    rule: int
    fleets: frozenset[str]  # that may serve it, times aside
    tokens_in: float
    tokens_out: float
    long_in: int
    long_out: int
    requests: int
    longest_in: int = 0
    tier: str = ""
    service_class: str = ""
    late: bool = False
    slo: Slo | None = None


@dataclass(frozen=True, slots=True)
class Hour:
    """`rates`: requests a second of each class, in the busy minutes. `peak`: how much busier those
    are than the mean. `weight`: hours of a week (or of the trace) that it stands for.
    """

    rates: tuple[float, ...]
    peak: float
    weight: float
    first_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Demand:
    """`hours` in their order; after the last one the first comes again. `per_week`: what the
    trace's bill is multiplied by for a week's. `class_of`: the class of each request.
    """

    classes: tuple[RequestClass, ...]
    hours: tuple[Hour, ...]
    per_week: float
    weekly: bool = False
    class_of: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Sort:
    """What a request is counted as: requests of one sort form a class, of that name."""

    rule: int
    name: str
    fleets: frozenset[str]
    tier: str = ""
    service_class: str = ""


SortOf = Callable[[int], Sort]


def bucket(tokens: int) -> int:
    """Return the power of two that so many tokens are below; 256 is the least."""
    return 256 if tokens < 256 else 1 << tokens.bit_length()  # noqa: PLR2004


def demand(trace: Trace, sort_of: SortOf, busy: float = 0.95) -> Demand:
    """Count the trace. `busy`: the quantile of an hour's minutes that counts as its rate."""
    keys: dict[tuple[Sort, int], int] = {}
    places = []
    for i in range(len(trace)):
        key = (sort_of(i), bucket(trace.tokens_in[i]))
        places.append(keys.setdefault(key, len(keys)))
    slots, weekly = _slots(trace)
    classes = _classes(trace, keys, places)
    hours = _hours(trace, places, len(classes), slots, weekly=weekly, busy=busy)
    whole = sum(hour.weight for hour in hours)
    return Demand(classes, hours, WEEK_HOURS / whole if whole else 0.0, weekly, places)


def _slots(trace: Trace) -> tuple[list[int], bool]:
    """Return the hour that each request falls in: of the week by the clock (UTC, Monday first)
    where the trace has a whole week, else of the trace.
    """
    if trace.seconds < WEEK_HOURS * HOUR_S:
        return [int(at // HOUR_S) for at in trace.at_s], False
    monday_s = 4 * 24 * HOUR_S  # 1970-01-05
    start = trace.start_s - monday_s
    return [int((start + at) // HOUR_S) % WEEK_HOURS for at in trace.at_s], True


def _classes(
    trace: Trace, keys: Mapping[tuple[Sort, int], int], places: Sequence[int]
) -> tuple[RequestClass, ...]:
    lengths_in: list[list[int]] = [[] for _ in keys]
    lengths_out: list[list[int]] = [[] for _ in keys]
    for i, place in enumerate(places):
        lengths_in[place].append(trace.tokens_in[i])
        lengths_out[place].append(trace.tokens_out[i])
    found = []
    named: dict[str, int] = {}
    for (sort, below), place in keys.items():
        name = f"{sort.name}, under {below:,} tokens"
        named[name] = named.get(name, 0) + 1  # the same, but for who may serve them
        ins, outs = sorted(lengths_in[place]), sorted(lengths_out[place])
        found.append(
            RequestClass(
                name if named[name] == 1 else f"{name} ({named[name]})",
                sort.rule,
                sort.fleets,
                sum(ins) / len(ins),
                sum(outs) / len(outs),
                int(quantile(ins, LONG)),
                int(quantile(outs, LONG)),
                len(ins),
                ins[-1],
                sort.tier,
                sort.service_class,
            )
        )
    return tuple(found)


def _hours(
    trace: Trace,
    places: Sequence[int],
    classes: int,
    slots: Sequence[int],
    *,
    weekly: bool,
    busy: float,
) -> tuple[Hour, ...]:
    most = WEEK_HOURS if weekly else (max(slots) + 1 if slots else 0)
    counts = [[0] * classes for _ in range(most)]
    minutes: list[dict[int, float]] = [{} for _ in range(most)]
    work: list[tuple[float, float]] = [(0.0, 0.0)] * most
    for i, (slot, place) in enumerate(zip(slots, places, strict=True)):
        counts[slot][place] += 1
        weight = INPUT_WEIGHT * trace.tokens_in[i] + trace.tokens_out[i]
        minute = int(trace.at_s[i] // MINUTE_S)
        minutes[slot][minute] = minutes[slot].get(minute, 0.0) + weight
        work[slot] = (work[slot][0] + weight, work[slot][1] + weight * weight)
    covered = _covered(trace, most, weekly=weekly)
    hours = []
    for slot in range(most):
        seconds = covered[slot]
        peak = _peak(list(minutes[slot].values()), seconds, sum(counts[slot]), *work[slot], busy)
        rates = tuple(count / seconds * peak for count in counts[slot])
        weight = 1.0 if weekly else min(1.0, seconds / HOUR_S)
        hours.append(Hour(rates, peak, weight, slot * HOUR_S))
    if len(hours) == 1:
        hours = [Hour(hours[0].rates, hours[0].peak, 1.0)]
    return tuple(hours)


def _covered(trace: Trace, most: int, *, weekly: bool) -> list[float]:
    """Return how many seconds of each hour the trace has; a minute at least."""
    if not weekly:
        ends = [min(HOUR_S, trace.seconds - slot * HOUR_S) for slot in range(most)]
        return [max(MINUTE_S, seconds) for seconds in ends]
    covered = [0.0] * most
    at_s = 0.0
    offset = (trace.start_s - 4 * 24 * HOUR_S) % HOUR_S
    while at_s < trace.seconds:
        slot = int((trace.start_s - 4 * 24 * HOUR_S + at_s) // HOUR_S) % most
        until = min(trace.seconds, at_s + HOUR_S - (offset + at_s) % HOUR_S)
        covered[slot] += until - at_s
        at_s = until
    return [max(MINUTE_S, seconds) for seconds in covered]


def _peak(
    busy_minutes: Sequence[float],
    seconds: float,
    requests: int,
    total: float,
    squares: float,
    busy: float,
) -> float:
    """Return the work of a busy minute over that of a mean one, less what chance makes of it.

    In units of a mean request's work, a minute of `m` random arrivals has variance `m x s` with
    s = E[w^2] / E[w]^2; so the quantile q = m + z sqrt(m s) gives back m.
    """
    whole = max(1, round(seconds / MINUTE_S))
    if requests < 2 or whole < 2:  # noqa: PLR2004  (nothing to compare)
        return 1.0
    each = total / requests
    spread = squares / requests / (each * each)
    quiet = max(0, whole - len(busy_minutes))
    q = quantile(sorted([0.0] * quiet + [minute / each for minute in busy_minutes]), busy)
    z = normal_quantile(busy)
    return max(1.0, mean_below(q, z * math.sqrt(spread)) / (requests * MINUTE_S / seconds))


def mean_below(quantile_at: float, spread: float) -> float:
    """Return the mean m of which m + spread x sqrt(m) is this quantile."""
    half = spread / 2
    return float((math.sqrt(quantile_at + half * half) - half) ** 2)


def normal_quantile(share: float) -> float:
    """Return the normal quantile, for shares from a half up (Z95 where it is known exactly)."""
    if share == LONG:
        return Z95
    # Abramowitz and Stegun 26.2.23, within 0.00045
    t = math.sqrt(-2 * math.log(1 - share))
    top = 2.515517 + t * (0.802853 + t * 0.010328)
    return max(0.0, t - top / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308))))


def quantile(rising: Sequence[float], share: float) -> float:
    """Return the least value that so large a share doesn't exceed."""
    return rising[max(0, math.ceil(share * len(rising)) - 1)]


def merged(demand: Demand, most: int = 24) -> tuple[tuple[Hour, ...], tuple[int, ...]]:
    """Return levels of traffic, each for the hours that are nearly alike, and each hour's level.

    Hours of one level have their busiest requests of each class together, so that what holds for
    the level holds for each. Where there are few hours, each is its own.
    """
    hours = demand.hours
    if len(hours) <= most:
        return hours, tuple(range(len(hours)))
    ratio = 1.05
    while len(set(marks := _levels(demand, ratio))) > most:
        ratio *= 1.05
    names: dict[Hashable, int] = {}
    of = tuple(names.setdefault(mark, len(names)) for mark in marks)
    return tuple(_together(hours, of, level) for level in range(len(names))), of


def _levels(demand: Demand, ratio: float) -> list[int | None]:
    found = []
    for hour in demand.hours:
        work = sum(rate * _work(c) for rate, c in zip(hour.rates, demand.classes, strict=True))
        found.append(math.ceil(math.log(work) / math.log(ratio)) if work > 0 else None)
    return found


def _work(requests: RequestClass) -> float:
    return INPUT_WEIGHT * requests.tokens_in + requests.tokens_out


def _together(hours: Sequence[Hour], of: Sequence[int], level: int) -> Hour:
    own = [hour for hour, place in zip(hours, of, strict=True) if place == level]
    rates = tuple(map(max, zip(*(hour.rates for hour in own), strict=True)))
    return Hour(rates, max(h.peak for h in own), math.fsum(h.weight for h in own), own[0].first_s)


def busiest(hours: Iterable[Hour]) -> float:
    """Return the most requests a second of any hour."""
    return max((sum(hour.rates) for hour in hours), default=0.0)
