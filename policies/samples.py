"""One request of every kind that a policy's conditions tell apart, condition by condition. Pure.

A condition looks at one thing of a request (an axis: the tier, the tag `data`, the moment). Of each
axis there are samples, such that whatever a request has there, some sample makes the same of the
conditions hold. They are asked by the conditions' own tests, so nothing is known of them twice.

The plain one comes first: it is what an example shows where anything would do.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import combinations, pairwise
from types import MappingProxyType
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from policies.cases import PLAIN
from policies.conditions import LANGUAGES, MINUTES_A_DAY, NEEDS, SERVICE_CLASSES, TASKS, TIERS

Wanted = Sequence[Any]
"""What the conditions of an axis ask for, in canonical form."""

# Every way in which zones lie to one another occurs in here: daylight saving begins and ends by
# rules of the year, and Ramadan (Morocco's) passes through a third of the seasons in 12 years.
FROM, UNTIL = datetime(2026, 1, 1, tzinfo=UTC), datetime(2038, 1, 1, tzinfo=UTC)
_DAY, _MINUTE = timedelta(days=1), timedelta(minutes=1)


class Sample(NamedTuple):
    """What a request may have on an axis: the facts that say it, and how an example is told."""

    facts: Mapping[str, Any]
    said: str


Sampler = Callable[[Wanted], Iterator[Sample]]


def _closed(name: str, values: Sequence[str]) -> Sampler:
    def samples(_: Wanted) -> Iterator[Sample]:
        plain = PLAIN.get(name, "standard")
        for value in sorted(values, key=lambda value: value != plain):
            yield Sample({name: value}, f"{name} {value}")

    return samples


def _names(name: str, said: str, plain: str | None) -> Sampler:
    """Return samples of names in full: one that nobody asks for, and all that somebody does."""

    def samples(wanted: Wanted) -> Iterator[Sample]:
        named = sorted({value for values in wanted for value in values})
        yield Sample({name: _fresh(plain, named)}, f"another {said}")
        yield from (Sample({name: value}, f"{said} {value}") for value in named)

    return samples


def _fresh(plain: str | None, named: Sequence[str]) -> str | None:
    found = plain
    while found in named:
        found = f"{found}-x"
    return found


def _complexity(wanted: Wanted) -> Iterator[Sample]:
    bounds = sorted({0.0, 1.0, *_bounds(wanted)})
    between = [(low + high) / 2 for low, high in pairwise(bounds)]
    for value in (*between, *bounds):
        yield Sample({"complexity": value}, f"complexity {value:g}")


def _tokens_in(wanted: Wanted) -> Iterator[Sample]:
    bounds = {int(bound) for bound in _bounds(wanted)}
    least = {0} | bounds | {bound + 1 for bound in bounds}  # of each stretch that is told apart
    for value in (PLAIN["tokens_in"], *sorted(least, reverse=True)):
        yield Sample({"tokens_in": value}, f"tokens_in {value}")


def _bounds(wanted: Wanted) -> set[float]:
    return {bound for bounds in wanted for bound in bounds.values()}


def _needs(wanted: Wanted) -> Iterator[Sample]:
    named = [need for need in NEEDS if any(need in values for values in wanted)]
    for size in range(len(named) + 1):
        for needs in combinations(named, size):
            yield Sample({"needs": needs}, f"needs {' and '.join(needs) or 'nothing'}")


def _tag(tag: str) -> Sampler:
    def samples(wanted: Wanted) -> Iterator[Sample]:
        yield Sample({"tags": {}}, f"no tag {tag}")
        for value in sorted({value for tags in wanted for value in tags[tag]}):
            yield Sample({"tags": {tag: value}}, f"tag {tag} {value}")

    return samples


# ---- moments -------------------------------------------------------------------------------------


def _moments(wanted: Wanted) -> Iterator[Sample]:
    """Yield a plain moment, and each at which some condition may begin or end to hold.

    Between two changes of a zone's offset the conditions repeat day by day, so that each stretch
    of the same offsets is looked at for its first day.
    """
    yield _moment(datetime.fromisoformat(PLAIN["at"]))
    zones = sorted({each["tz"] for each in wanted})
    times = {(each["tz"], _minute(each[side])) for each in wanted for side in ("from", "to")}
    changes = sorted({FROM, *(at for zone in zones for at in _changes(zone)), UNTIL})
    seen = set()
    for start, end in pairwise(changes):
        offsets = tuple(start.astimezone(ZoneInfo(zone)).utcoffset() for zone in zones)
        short = end - start < _DAY
        kind = (offsets, (start.hour, start.minute, end - start) if short else None)
        if kind not in seen:
            seen.add(kind)
            yield from map(_moment, _edges(start, end, times))


def _edges(start: datetime, end: datetime, times: set[tuple[str, int]]) -> Iterator[datetime]:
    yield start
    for zone, minute in sorted(times):
        local = start.astimezone(ZoneInfo(zone))
        wait = (minute - local.hour * 60 - local.minute) % MINUTES_A_DAY
        if start + wait * _MINUTE < end:
            yield start + wait * _MINUTE


@lru_cache(maxsize=64)
def _changes(zone: str) -> tuple[datetime, ...]:
    """Return the moments at which the zone's offset changes, to the minute; one a day at most."""
    info = ZoneInfo(zone)
    found, day, offset = [], FROM, FROM.astimezone(info).utcoffset()
    while day < UNTIL:
        after = (day + _DAY).astimezone(info).utcoffset()
        if after != offset:
            low, high = 0, MINUTES_A_DAY
            while high - low > 1:
                middle = (low + high) // 2
                same = (day + middle * _MINUTE).astimezone(info).utcoffset() == offset
                low, high = (middle, high) if same else (low, middle)
            found.append(day + high * _MINUTE)
            offset = after
        day += _DAY
    return tuple(found)


def _moment(at: datetime) -> Sample:
    text = at.isoformat(timespec="milliseconds")[:-6] + "Z"
    return Sample({"at": text}, f"at {text[:16]}Z")


def _minute(time: str) -> int:
    return int(time[:2]) * 60 + int(time[3:])


# ---- the table -----------------------------------------------------------------------------------

SAMPLERS: Mapping[str, Sampler] = MappingProxyType(
    {  # one for every condition but `tags`, of which each tag is an axis of its own
        "tier": _closed("tier", TIERS),
        "task": _closed("task", TASKS),
        "language": _closed("language", LANGUAGES),
        "service_class": _closed("service_class", SERVICE_CLASSES),
        "tenant": _names("tenant", "tenant", PLAIN["tenant"]),
        "team": _names("team", "team", None),
        "key": _names("key", "key", PLAIN["key"]),
        "requested_model": _names("requested_model", "requested model", "auto"),
        "complexity": _complexity,
        "tokens_in": _tokens_in,
        "needs": _needs,
        "local_time": _moments,
    }
)


def sampler_of(axis: str) -> Sampler:
    """Return what samples this axis: a condition's name, or `tags.` and a tag's."""
    tag = axis.removeprefix("tags.")
    return SAMPLERS[axis] if tag == axis else _tag(tag)
