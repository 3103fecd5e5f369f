"""`--fail-if 'usd > +5%'`: what is asked, and whether it holds of a comparison.

METRIC [.low|.high] COMPARATOR VALUE. A value with a sign is a change from old to new: `+5%` of the
old value, `-100` in the metric's unit; of a share (`slo`) `-1%` is a point. Without one it bounds
the new value: `ttft_p95_ms > 900`, `refused > 1%` (of the requests). `.low` and `.high` are the
ends of the interval. What is unknown can't be judged, which is told and is no pass.

* ValueError   the text is no condition: where, and what would be one
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from math import inf, isfinite
from types import MappingProxyType
from typing import Final

from router.compare.comparison import Comparison
from router.compare.interval import Interval
from router.compare.metrics import METRICS, Metric
from router.finops.money import dollars
from router.replay.summary import NANO
from yamlfile import full_width

Compares = Callable[[float, float], bool]
COMPARATORS: Mapping[str, Compares] = MappingProxyType(
    {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
)
DIGITS: Final = 30
LONGEST: Final = 200  # characters
ENDS: Final = ("low", "high")
_PART: Final = re.compile(
    r"\s*(?P<metric>[A-Za-z_0-9]*)(?:\.(?P<end>\w*))?\s*(?P<sign>[<>=!~]*)\s*(?P<value>.*?)\s*$"
)
_VALUE: Final = re.compile(
    r"(?P<sign>[+-]?)\$?"
    r"(?P<number>[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?P<percent>%?)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Condition:
    """`bound` is a share where it was written in percent. `end`: low, high, or None: the figure."""

    text: str
    metric: str
    end: str | None
    comparator: str
    bound: float
    is_change: bool
    percent: bool


@dataclass(frozen=True, slots=True)
class Judged:
    """`holds` None: it can't be judged. What holds or can't be judged fails the command."""

    text: str
    holds: bool | None
    said: str

    @property
    def fails(self) -> bool:
        return self.holds is not False


def parse(text: str) -> Condition:
    """Return the condition that is written."""
    if len(text) > LONGEST:
        said = f"a condition has at most {LONGEST} characters"
        raise ValueError(_wrong(f"{text[:40]}...", LONGEST, said))
    _check_typed(text)
    part = _PART.match(text)
    if part is None:  # a line break in it
        raise ValueError(_wrong(text, 0, "a condition is one line"))
    name, end, sign = part["metric"], part["end"], part["sign"]
    metric = METRICS.get(name)
    if metric is None:
        raise ValueError(_wrong(text, part.start("metric"), _unknown(name)))
    _check_end(text, part, metric)
    if sign not in COMPARATORS:
        said = f"a comparator is one of {' '.join(COMPARATORS)}"
        raise ValueError(_wrong(text, part.start("sign"), said))
    value = _VALUE.fullmatch(part["value"])
    if value is None or len(value["number"]) > DIGITS:
        said = "a value is a change (+5%, -100) or a bound (900, 99%, 1,500.25)"
        raise ValueError(_wrong(text, part.start("value"), f"{said}{_decimal(part['value'])}"))
    _check_value(text, part.start("value"), name, value)
    number = float(value["sign"] + value["number"].replace(",", ""))
    percent = bool(value["percent"])
    bound = number / 100 if percent else number
    condition = Condition(text.strip(), name, end, sign, bound, bool(value["sign"]), percent)
    _check_possible(text, part.start("value"), condition)
    return condition


def judged(condition: Condition, found: Comparison) -> Judged:
    """Return whether it holds of the comparison, and by how much."""
    value = _change(condition, found) if condition.is_change else _bounded(condition, found)
    if value is None:
        return Judged(condition.text, None, f"can't be judged: {_why_unknown(condition, found)}")
    holds = COMPARATORS[condition.comparator](value, condition.bound)
    return Judged(condition.text, holds, _said(condition, value, found, holds=holds))


# -- what is wrong with the text -------------------------------------------------------------------


def _wrong(text: str, at: int, said: str) -> str:
    return f"`{text}`: at character {at + 1}: {said}"


def _check_typed(text: str) -> None:
    """Refuse a sign of another keyboard: a condition is ASCII, but for spaces."""
    at = next((i for i, sign in enumerate(text) if full_width(sign) and not sign.isspace()), None)
    if at is not None:
        raise ValueError(_wrong(text, at, full_width(text[at])))


def _decimal(value: str) -> str:
    """Return what a comma that separates no thousands may have been meant for."""
    return "; write decimals with a point (1.5)" if "," in value else ""


def _unknown(name: str) -> str:
    close = get_close_matches(name, METRICS, n=1)
    meant = f", did you mean `{close[0]}`?" if close else ""
    what = f"unknown metric `{name}`{meant}" if name else "a metric is missing"
    return f"{what} (known: {', '.join(_known())})"


def _known() -> list[str]:
    """Return all that can be asked: a metric that has an interval by its ends, too."""
    ends = {
        name: [f"{name}.{end}" for end in ENDS if metric.sure] for name, metric in METRICS.items()
    }
    return [asked for name in METRICS for asked in (name, *ends[name])]


def _check_end(text: str, part: re.Match[str], metric: Metric) -> None:
    end = part["end"]
    if end is None:
        return
    if end not in ENDS:
        raise ValueError(_wrong(text, part.start("end"), f"`.{end}` is neither .low nor .high"))
    if not metric.sure:
        sure = ", ".join(name for name, other in METRICS.items() if other.sure)
        said = f"`{part['metric']}` has no interval (only {sure} has)"
        raise ValueError(_wrong(text, part.start("end"), said))


def _check_value(text: str, at: int, name: str, value: re.Match[str]) -> None:
    metric = METRICS[name]
    if value["sign"] and metric.is_change:
        said = f"`{name}` is a change already: write the number without a sign"
        raise ValueError(_wrong(text, at, said))
    if value["percent"] and not value["sign"] and metric.unit not in ("share", "count"):
        number = value["number"]
        said = f"a percentage of `{name}` is a change: write +{number}% or -{number}%"
        raise ValueError(_wrong(text, at, said))
    if value["percent"] and not value["sign"] and name in ("never_hit", "budgets_broken"):
        raise ValueError(_wrong(text, at, f"`{name}` doesn't count requests: write a number"))
    if metric.unit == "share" and not value["percent"]:
        number = float(value["number"].replace(",", ""))
        meant = number if value["sign"] or number > 1 else number * 100
        said = f"write it in percent ({value['sign']}{meant:.12g}%)"
        raise ValueError(_wrong(text, at, f"`{name}` is a share: {said}"))


def _check_possible(text: str, at: int, condition: Condition) -> None:
    """Refuse a bound that no figure can be beyond, or that every figure is beyond."""
    low, high = _range(condition)
    compares, bound = COMPARATORS[condition.comparator], condition.bound
    if condition.end is not None or (low <= bound <= high and _may_hold(condition, low, high)):
        return
    holds = "always" if compares(low if isfinite(low) else high, bound) else "never"
    sign = "+" if condition.is_change else ""
    whole = 100 if condition.percent else 1
    unit = "%" if condition.percent else ""
    what = f"a change of `{condition.metric}`" if condition.is_change else f"`{condition.metric}`"
    least = f"{low * whole:{sign if low else ''}g}{unit}"
    span = f"{least} or more" if high == inf else f"from {least} to {high * whole:{sign}g}{unit}"
    raise ValueError(_wrong(text, at, f"this {holds} holds: {what} is {span}"))


def _may_hold(condition: Condition, low: float, high: float) -> bool:
    compares = COMPARATORS[condition.comparator]
    return compares(low, condition.bound) or compares(high, condition.bound)


def _range(condition: Condition) -> tuple[float, float]:
    """Return the least and the most that the figure can be."""
    unit = METRICS[condition.metric].unit
    if condition.is_change:
        least = -1.0 if condition.percent else -inf
        return least, 1.0 if unit == "share" else inf
    return 0.0, 1.0 if condition.percent else inf


# -- what it comes to ------------------------------------------------------------------------------


def _bounded(condition: Condition, found: Comparison) -> float | None:
    metric = METRICS[condition.metric]
    if condition.end is not None:
        return _end(condition.end, None if found.spread is None else found.spread.new)
    new = metric.read(found)[1]
    if new is not None and condition.percent and metric.unit == "count":
        return new / found.requests if found.requests else 0.0
    return new


def _change(condition: Condition, found: Comparison) -> float | None:
    metric = METRICS[condition.metric]
    relative = condition.percent and metric.unit != "share"
    if condition.end is not None:
        spread = found.spread
        intervals = (None, None) if spread is None else (spread.change, spread.ratio)
        return _end(condition.end, intervals[relative])
    old, new = metric.read(found)
    if old is None or new is None:
        return None
    if not relative:
        return new - old
    return new / old - 1 if old else (inf if new > 0 else 0.0)


def _end(end: str, interval: Interval | None) -> float | None:
    if interval is None:
        return None
    return interval.low if end == "low" else interval.high


def _why_unknown(condition: Condition, found: Comparison) -> str:
    old, new = METRICS[condition.metric].read(found)
    if condition.metric == "budgets_broken":
        return found.foreseen[0]
    if new is None or (condition.is_change and old is None):
        return f"`{condition.metric}` is unknown (no price, or nothing was served)"
    if found.spread is None:
        return "the trace is too short for an interval"
    return "the old bill is 0: a change of it has no percentage"


def _said(condition: Condition, value: float, found: Comparison, *, holds: bool) -> str:
    name = condition.metric + ("" if condition.end is None else f".{condition.end}")
    bound = _amount(condition, condition.bound, signed=condition.is_change)
    if value == inf:
        new = METRICS[condition.metric].read(found)[1] or 0.0
        risen = _amount(replace(condition, percent=False), new, signed=False)
        said = f"{name} rises from 0 to {risen}, which has no percentage"
        return f"{said}, the bound is {condition.comparator} {bound}"
    what = "changes by" if condition.is_change else "is"
    beyond = abs(value - condition.bound)
    by = f", {_amount(condition, beyond, signed=False)} beyond" if holds else ""
    shown = _amount(condition, value, signed=condition.is_change)
    return f"{name} {what} {shown}, the bound is {condition.comparator} {bound}{by}"


def _amount(condition: Condition, value: float, *, signed: bool) -> str:
    plus = "+" if signed else ""
    unit = METRICS[condition.metric].unit
    if condition.percent:
        points = " points" if condition.is_change and unit == "share" else "%"
        return f"{value * 100:{plus}.2f}{points}"
    if unit == "usd":
        sign = "-" if value < 0 else plus
        return f"{sign}{dollars(round(abs(value) * NANO))}"
    return f"{value:{plus},.12g}" if unit == "count" else f"{value:{plus},.0f} ms"
