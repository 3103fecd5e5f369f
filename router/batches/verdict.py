"""What an answer means for the line that it was given to: its result, or that it is sent again.
Pure; `chance` is from 0 to 1.

* kept as it is   2xx; 4xx that the line itself is at fault for
* sent again      429, 503: no room now; 402: the next period may have it; 408, 409: this send isn't
                  known to be over - until the deadline
                  500, 502, 504: it may have cost money: at most MOST_COSTLY times
* never sent      `already_requested`, of one that was charged: its answer is lost
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from router.batches.port import Job, Result

FREE: Final = frozenset({402, 408, 409, 429, 503})
COSTLY: Final = frozenset({500, 502, 504})
MOST_COSTLY: Final = 5
FIRST_WAIT_S: Final = 1.0  # then doubled
MOST_WAIT_S: Final = 300.0
MOST_ASKED_S: Final = 3600.0  # of Retry-After: a budget may be raised before its next period
CODE_CHARACTERS: Final = 64
LOST: Final = (
    "answer_lost",
    "it was sent and charged, but its answer was lost as the router ended: send it anew",
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request was answered with. Header names are lower case."""

    status: int
    headers: Mapping[bytes, bytes]
    body: bytes


@dataclass(frozen=True, slots=True)
class Again:
    """It is sent again, after `wait_s`. `reason` quotes nothing of the line. `failed`: it may have
    cost money.
    """

    wait_s: float
    reason: str
    failed: bool = False


def judged(job: Job, answer: Answer, chance: float) -> Result | Again:
    line, status = job.line, answer.status
    error = _error(answer.body) if status not in range(200, 300) else {}
    again = status in FREE or (status in COSTLY and job.failures + 1 < MOST_COSTLY)
    if status == 409 and error.get("state") == "settled":  # noqa: PLR2004  (HTTP's)
        return Result(line.number, line.custom_id, job.request_id, None, b"", *LOST)
    if not again:
        return Result(line.number, line.custom_id, job.request_id, status, answer.body)
    wait_s = min(MOST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(job.sends, 20)) * (0.5 + chance / 2)
    asked_s = min(MOST_ASKED_S, retry_after_s(answer.headers))
    # Its waits are told apart too: all that were refused at once must not come at once again.
    wait_s = max(wait_s, asked_s + chance * min(asked_s, wait_s))
    return Again(wait_s, _told(status, error), failed=status in COSTLY)


def _error(body: bytes) -> Mapping[str, Any]:
    try:
        found = orjson.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _told(status: int, error: Mapping[str, Any]) -> str:
    """Return the router's own word for it: a message may quote what a fleet said."""
    code = error.get("code")
    return f"{status} {code[:CODE_CHARACTERS]}" if isinstance(code, str) else str(status)


def retry_after_s(headers: Mapping[bytes, bytes]) -> float:
    told = headers.get(b"retry-after", b"")
    return float(told) if told.isdigit() and len(told) < 9 else 0.0  # noqa: PLR2004  (30 years)
