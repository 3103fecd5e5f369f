"""A half-open period between two instants, as a person writes it in their own time zone."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

from yamlfile import full_width

_YEAR = re.compile(r"\d{4}")
_MONTH = re.compile(r"\d{4}-\d{2}")
_CHINESE = re.compile(r"(\d{4})年(?:(\d{1,2})月(?:(\d{1,2})[日号號])?)?", re.ASCII)
_FORMS = "2026, 2026-11, 2026-11-21, 2026-11-21T09:00 or 2026-11-21T09:00+08:00"
BEGIN, END = "0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"


class WrongPeriod(ValueError):  # noqa: N818  (what it says)
    """The message says which option, and what would be valid."""


@dataclass(frozen=True, slots=True)
class Period:
    """RFC 3339 UTC with milliseconds; `start` belongs to it, `end` doesn't. None: as far as it
    goes.
    """

    start: str | None
    end: str | None

    @property
    def bounds(self) -> tuple[str, str]:
        return self.start or BEGIN, self.end or END

    @property
    def length(self) -> timedelta | None:
        """Return how long it is; None: it has no bounds."""
        if self.start is None or self.end is None:
            return None
        return moment(self.end) - moment(self.start)


def period(start: str | None, end: str | None, zone: tzinfo) -> Period:
    """Return the period of a ledger, in whole minutes, from the start of `start` to the start of
    `end`; raise WrongPeriod.
    """
    begins, ends = instants(start, end, zone)
    for option, text, at in (("--from", start, begins), ("--to", end, ends)):
        if at is not None and (at.second or at.microsecond):
            said = "is no whole minute, and fleets are billed by minutes"
            raise WrongPeriod(f"`{option} {text}` {said}")
    return Period(
        None if begins is None else rfc3339(begins), None if ends is None else rfc3339(ends)
    )


def instants(
    start: str | None, end: str | None, zone: tzinfo
) -> tuple[datetime | None, datetime | None]:
    """Return the start of `start` and the start of `end`, in UTC; raise WrongPeriod."""
    begins = None if start is None else instant(start, zone, "--from")
    ends = None if end is None else instant(end, zone, "--to")
    if begins is not None and ends is not None and begins >= ends:
        said = "is not before" if begins > ends else "is the same instant as"
        raise WrongPeriod(f"`--from {start}` {said} `--to {end}`: a period holds its start, not "
                          "its end, so a day is `--from 2026-11-21 --to 2026-11-22`")  # fmt: skip
    return begins, ends


def instant(text: str, zone: tzinfo, option: str) -> datetime:
    """Return the instant in UTC. A day starts at its first moment, even where that isn't 00:00."""
    try:
        if _YEAR.fullmatch(text):
            return _midnight(date.fromisoformat(f"{text}-01-01"), zone)
        if _MONTH.fullmatch(text):
            return _midnight(date.fromisoformat(f"{text}-01"), zone)
        if len(text) == len("2026-11-21"):
            return _midnight(date.fromisoformat(text), zone)
        at = datetime.fromisoformat(text)
        found = _local(at, zone) if at.tzinfo is None else at.astimezone(UTC)
        found.astimezone(zone)  # a report shows it there: the first hours of year 1 may have none
    except _Unclear as exc:
        raise WrongPeriod(f"`{option} {text}` {exc}") from None
    except (ValueError, OverflowError):
        typed = full_width(text) or _chinese_date(text)
        said = f"{typed}; " if typed else ""
        raise WrongPeriod(f"`{option} {text}` is no time ({said}valid: {_FORMS})") from None
    return found


def _chinese_date(text: str) -> str:
    """Return how to write a date with Chinese signs; "" for another text."""
    numbers = _CHINESE.fullmatch(text)
    return (
        f"write {'-'.join(each.zfill(2) for each in numbers.groups() if each)}" if numbers else ""
    )


class _Unclear(Exception):  # noqa: N818  (a clock time that stands for no instant, or for two)
    pass


def _midnight(day: date, zone: tzinfo) -> datetime:
    """Where the clock leaps over midnight, the earlier offset gives the moment it leaps."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def _local(at: datetime, zone: tzinfo) -> datetime:
    first, second = (at.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first != second:
        there = first.astimezone(zone).replace(tzinfo=None) == at
        said = "stands for two instants" if there else "does not exist"
        raise _Unclear(f"{said}: the clock changes then (write it with its offset)")
    return first


def rfc3339(at: datetime) -> str:
    """Return it in UTC with milliseconds; `strftime` pads no year before 1000."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def moment(text: str) -> datetime:
    """Return a row's time; raise ValueError."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"`{text[:40]}` has no offset")
    return at


def day_of(text: str, zone: tzinfo) -> date:
    """Return the calendar day of a row's time in this zone."""
    return moment(text).astimezone(zone).date()


def day_start(text: str, zone: tzinfo) -> datetime:
    """Return the local midnight of a row's time."""
    return moment(text).astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)


def hour_start(text: str, zone: tzinfo) -> datetime:
    """Return the start of the local hour of a row's time."""
    return moment(text).astimezone(zone).replace(minute=0, second=0, microsecond=0)


def month_of(at: datetime) -> tuple[datetime, datetime]:
    """Return the start and end of the UTC month."""
    at = at.astimezone(UTC)
    start = datetime(at.year, at.month, 1, tzinfo=UTC)
    return start, (start + timedelta(days=32)).replace(day=1)
