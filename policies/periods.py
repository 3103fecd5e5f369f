"""The periods of a budget: hours, days, ISO weeks and months of a time zone. Pure.

A day begins at midnight there, also where that day has 23 or 25 hours.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from types import MappingProxyType
from zoneinfo import ZoneInfo

from policies.model import Per

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Period:
    """`name` is unique in its zone and kind; seconds since 1970, from begin to before the end."""

    name: str
    begins_s: float
    ends_s: float


def period(per: Per, tz: str, now_s: float) -> Period:
    """Return the period in which `now_s` lies."""
    local = datetime.fromtimestamp(now_s, UTC).astimezone(ZoneInfo(tz))
    if per == "hour":
        begins_s = now_s - (local.minute * 60 + local.second + local.microsecond / 1e6)
        # An hour that the clock goes through twice has two names.
        return Period(f"{local:%Y-%m-%dT%H%z}", begins_s, begins_s + HOUR_S)
    name, first, after = _DAYS[per](local.date())
    return Period(name, _midnight_s(first, tz), _midnight_s(after, tz))


def _midnight_s(day: date, tz: str) -> float:
    return datetime.combine(day, time(), ZoneInfo(tz)).timestamp()


Days = tuple[str, date, date]
"""The name of a period of whole days, its first day, and the day after its last."""


def _day(day: date) -> Days:
    return day.isoformat(), day, day + timedelta(days=1)


def _week(day: date) -> Days:
    year, week, weekday = day.isocalendar()
    monday = day - timedelta(days=weekday - 1)
    return f"{year}-W{week:02d}", monday, monday + timedelta(days=7)


def _month(day: date) -> Days:
    first = day.replace(day=1)
    return f"{day:%Y-%m}", first, (first + timedelta(days=32)).replace(day=1)


_DAYS: Mapping[str, Callable[[date], Days]] = MappingProxyType(
    {"day": _day, "week": _week, "month": _month}
)
