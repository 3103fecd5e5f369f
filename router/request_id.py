"""A request's id: ``req_``, the milliseconds since 1970 in 12 hex digits, 12 random ones. Pure.

The time in front lets a receipt be found without an index; the random part can't be guessed.
"""

import re
from typing import Final

CHANCE_BYTES: Final = 6
_FORM: Final = re.compile(r"req_([0-9a-f]{12})[0-9a-f]{12}")


def request_id(now_s: float, chance: str) -> str:
    """Return the id of a request that came now; `chance` is CHANCE_BYTES of randomness in hex."""
    return f"req_{int(now_s * 1000):012x}{chance}"


def made_ms(text: str) -> int | None:
    """Return when the request came, or None if this is no request's id."""
    found = _FORM.fullmatch(text)
    return int(found[1], 16) if found else None
