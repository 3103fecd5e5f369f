"""What callers say of pages and of expiry. Pure."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from router.batches.port import Asked
from router.errors import Refusal

LEAST_S: Final = 3600  # of a file's life, as OpenAI has it
MOST_S: Final = 2_592_000
_KNOWN: Final = ("limit", "after")
_KNOWN_OF_FILES: Final = (*_KNOWN, "order", "purpose")


def asked_of(query: bytes, tenant: str, default: int, most: int, *, files: bool) -> Asked:
    """Return which page is asked for, or raise Refusal(400) naming the parameter."""
    known = _KNOWN_OF_FILES if files else _KNOWN
    found = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    unknown = sorted(found.keys() - set(known))
    if unknown:
        name = unknown[0][:60]
        raise _wrong(name, f"unknown parameter `{name}` (known: {', '.join(known)})")
    limit = found.get("limit", str(default))
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 6 and 1 <= int(limit) <= most):  # noqa: PLR2004  (digits)
        raise _wrong("limit", f"`limit` must be a whole number from 1 to {most}")
    order = found.get("order", "desc")
    if order not in ("asc", "desc"):
        raise _wrong("order", "`order` must be `asc` or `desc`")
    oldest_first = order == "asc"
    return Asked(tenant, int(limit), found.get("after"), oldest_first, found.get("purpose"))


def expiry_of(given: object, param: str) -> int:
    """Return the seconds of {"anchor": "created_at", "seconds": N}, or raise Refusal(400)."""
    found = given if isinstance(given, Mapping) else {}
    seconds = found.get("seconds")
    if (
        set(found) != {"anchor", "seconds"}
        or found["anchor"] != "created_at"
        or not isinstance(seconds, int)
        or isinstance(seconds, bool)
        or not LEAST_S <= seconds <= MOST_S
    ):
        said = (
            f"`{param}` must be an `anchor` of `created_at`, and `seconds` from {LEAST_S:,} to "
            f"{MOST_S:,}"
        )
        raise _wrong(param, said)
    return seconds


def _wrong(param: str, message: str) -> Refusal:
    return Refusal(400, message, "invalid_request", param)
