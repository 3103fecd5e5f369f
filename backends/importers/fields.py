"""Reading numbers out of a report whose makers had their own ideas, with errors that point.

* NotReadable    the file is at fault: which one, where in it, what is wrong, what would be right

What a report holds besides its figures may be somebody's prompts: no text of it is ever repeated.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from backends.importers.measurement import Percentiles

MOST = 1e15  # no benchmark counts further; infinity and numbers of 400 digits don't either
UNITS_MS: Mapping[str, float] = {
    "ns": 1e-6,
    "nanosecond": 1e-6,
    "nanoseconds": 1e-6,
    "us": 1e-3,
    "µs": 1e-3,
    "microsecond": 1e-3,
    "microseconds": 1e-3,
    "ms": 1.0,
    "millisecond": 1.0,
    "milliseconds": 1.0,
    "s": 1e3,
    "sec": 1e3,
    "second": 1e3,
    "seconds": 1e3,
}


class NotReadable(ValueError):  # noqa: N818  (it reads as what it says)
    """The report can't be taken over."""


@dataclass(frozen=True, slots=True)
class Fields:
    """A mapping of a report and where it stands there (``report.json: benchmarks[0]``)."""

    where: str
    values: Mapping[str, Any]

    def wrong(self, key: str, said: str) -> NotReadable:
        return NotReadable(f"{self.where}: `{key}`{_shown(self.values.get(key))} {said}")

    def number(self, key: str, expected: str = "a number above 0", *, least: float = 0) -> float:
        """Return a number above `least`; raise NotReadable if it is missing or anything else."""
        found = self.maybe(key, expected, least=least)
        if found is None:
            raise self.wrong(key, f"is missing: {expected} is expected")
        return found

    def maybe(
        self, key: str, expected: str = "a number above 0", *, least: float = 0
    ) -> float | None:
        """Return a number above `least`; None where the tool says null, NaN or nothing."""
        value = self.values.get(key)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(key, f"is not a number: {expected} is expected")
        if not least < value < MOST:
            raise self.wrong(key, f"can't be: {expected} is expected")
        return float(value)

    def count(self, key: str) -> int:
        """Return a count, zero where it is missing."""
        value = self.values.get(key)
        if value is None:
            return 0
        known = isinstance(value, int | float) and not isinstance(value, bool)
        if not known or not 0 <= value < MOST:
            raise self.wrong(key, "is not a count: a whole number is expected")
        return int(value)

    def text(self, key: str) -> str | None:
        value = self.values.get(key)
        return value if isinstance(value, str) and value else None

    def day(self, key: str) -> str | None:
        """Return the date that a text begins with, as YYYY-MM-DD; None where it is none."""
        text = self.text(key) or ""
        shown = f"{text[:4]}-{text[4:6]}-{text[6:8]}" if text[:8].isdigit() else text[:10]
        try:
            return date.fromisoformat(shown).isoformat()
        except ValueError:
            return None

    def inside(self, key: str) -> "Fields":
        """Return the mapping under this key; one that isn't there is empty."""
        value = self.values.get(key)
        if value is None:
            value = {}
        if not isinstance(value, Mapping):
            raise self.wrong(key, "is not an object")
        return Fields(f"{self.where}.{key}", value)

    def flat_percentiles(self, name: str) -> Percentiles | None:
        """Return what stands as ``mean_<name>``, ``median_<name>``, ``p95_<name>``, in ms."""
        ms = "milliseconds above 0"
        found = Percentiles(
            mean=self.maybe(f"mean_{name}", ms),
            p50=self.maybe(f"median_{name}", ms),
            p90=self.maybe(f"p90_{name}", ms),
            p95=self.maybe(f"p95_{name}", ms),
            p99=self.maybe(f"p99_{name}", ms),
        )
        return None if found.mean is None and found.p50 is None else found

    def metric_ms(self, key: str) -> Percentiles | None:
        """Return a metric that names its unit: ``{"unit": "ms", "avg": .., "p95": ..}``."""
        if self.values.get(key) is None:
            return None
        metric = self.inside(key)
        unit = metric.values.get("unit")
        if not isinstance(unit, str) or unit.lower() not in UNITS_MS:
            raise metric.wrong("unit", "is no unit of time: ns, us, ms or s is expected")
        scale = UNITS_MS[unit.lower()]

        def of(name: str) -> float | None:
            value = metric.maybe(name, f"{unit} above 0")
            return None if value is None else value * scale

        found = Percentiles(of("avg"), of("p50"), of("p90"), of("p95"), of("p99"))
        return None if found.mean is None and found.p50 is None else found


def grouped(rows: Sequence[Fields], of: Callable[[Fields], str]) -> list[list[Fields]]:
    """Return the rows that have the same key together, in the order of their first."""
    groups: dict[str, list[Fields]] = {}
    for row in rows:
        groups.setdefault(of(row), []).append(row)
    return list(groups.values())


def _shown(value: object) -> str:
    """Return a number as it stands; of a text only that it is one."""
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return f" {value}"
    return f" ({type(value).__name__})"
