"""Moments and spans as the options of ``sluice keys`` take them."""

import re
import time
from datetime import UTC, datetime, timedelta

from router.cli.errors import INVALID, Ends
from router.key_rows import stamp

_SPAN = re.compile(r"([0-9]{1,6})([mhdw])")
_MINUTES = {"m": 1, "h": 60, "d": 1440, "w": 10_080}


def now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)


def expiry(text: str, at: datetime, option: str = "--expires") -> str:
    """Return when `--expires TEXT` lets a key end."""
    span = _span(text)
    try:
        ends = datetime.fromisoformat(text) if span is None else at + span
        ends = (ends if ends.tzinfo else ends.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        said = f"`{option} {text}` is neither a span (12h, 30d, 8w) nor a date (2027-01-31)"
        raise Ends(said, INVALID) from None
    if ends <= at:
        raise Ends(f"`{option} {text}` lies in the past", INVALID)
    return stamp(ends)


def grace(text: str, at: datetime) -> str:
    """Return until when `--grace TEXT` lets the old secret work."""
    span = _span(text)
    if span is None or not span:
        raise Ends(f"`--grace {text}` is no span (valid: 30m, 1h, 7d)", INVALID)
    try:
        return stamp(at + span)
    except OverflowError:
        raise Ends(f"`--grace {text}` ends beyond the calendar", INVALID) from None


def _span(text: str) -> timedelta | None:
    found = _SPAN.fullmatch(text)
    return None if found is None else timedelta(minutes=int(found[1]) * _MINUTES[found[2]])
