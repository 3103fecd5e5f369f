"""One thing that `sluice doctor` looked at."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """`advice` says what to do where `verdict` isn't ok."""

    what: str
    verdict: Literal["ok", "warning", "failed"]
    detail: str
    advice: str = ""
