"""What a plan must hold: ``ttft_p95=300ms,e2e_p95=60s`` as a value. Pure.

* BadSlo   the text is at fault: what is wrong, and what would be valid
"""

import math
import re
from dataclasses import dataclass

from yamlfile import full_width

VALID = "valid: `ttft_p95=300ms`, `e2e_p95=60s` or both with a comma between"
MS = {"ms": 1.0, "s": 1000.0, "m": 60_000.0}
NAMES = ("ttft_p95", "e2e_p95")
_TIME = re.compile(r"([0-9]*\.?[0-9]+)(ms|s|m)")


class BadSlo(ValueError):  # noqa: N818  (it reads as what was given)
    """Not an SLO; the message says what would be."""


@dataclass(frozen=True, slots=True)
class Slo:
    """Milliseconds that 95 % of the requests of every class keep to; None: no limit."""

    ttft_ms: float | None = None
    e2e_ms: float | None = None

    def met(self, ttft_ms: float | None, e2e_ms: float | None) -> bool:
        """Return whether these times keep to it; an unknown time keeps to no limit."""
        return _within(ttft_ms, self.ttft_ms) and _within(e2e_ms, self.e2e_ms)

    def __str__(self) -> str:
        limits = zip(NAMES, (self.ttft_ms, self.e2e_ms), strict=True)
        return ",".join(f"{name}={ms:g}ms" for name, ms in limits if ms is not None)


def parse_slo(text: str) -> Slo:
    if typed := full_width(text.replace("\u3000", " ")):
        raise BadSlo(f"{typed} ({VALID})")
    found: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if name not in NAMES or not equals:
            raise BadSlo(f"`{part.strip()}` is no limit ({VALID})")
        if name in found:
            raise BadSlo(f"`{name}` stands twice ({VALID})")
        found[name] = _ms(name, value)
    return Slo(found.get("ttft_p95"), found.get("e2e_p95"))


def _ms(name: str, value: str) -> float:
    match = _TIME.fullmatch(value)
    ms = float(match[1]) * MS[match[2]] if match else 0.0
    if not 0 < ms < math.inf:
        said = "a number above 0 with its unit: `300ms`, `1.5s` or `2m`"
        raise BadSlo(f"`{name}={value}`: `{value}` is no time ({said})")
    return ms


def _within(ms: float | None, limit_ms: float | None) -> bool:
    return limit_ms is None or (ms is not None and ms <= limit_ms)
