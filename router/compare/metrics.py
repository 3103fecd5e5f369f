"""What a condition of `--fail-if` may look at: one entry of METRICS each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from router.compare.comparison import Comparison
from router.compare.figures import Figures

Unit = Literal["usd", "ms", "count", "share"]
Both = tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class Metric:
    """`read` gives the old value and the new one, None: unknown. `is_change`: it says what the
    new policy changes, so it has no old value. `sure`: it has an interval.
    """

    unit: Unit
    said: str
    read: Callable[[Comparison], Both]
    is_change: bool = False
    sure: bool = False


def _of(read: Callable[[Figures], float | None]) -> Callable[[Comparison], Both]:
    return lambda found: (read(found.old), read(found.new))


def _broken(found: Comparison) -> float | None:
    """Return how many budgets break; None: the trace is too short to tell."""
    return None if found.foreseen else sum(bound.breaks for bound in found.bounds)


def _new(read: Callable[[Comparison], float | None]) -> Callable[[Comparison], Both]:
    return lambda found: (None, read(found))


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "usd": Metric(
            "usd", "the bill: fleets, idle ones too, and the router",
            _of(lambda f: f.money.total), sure=True,
        ),
        "usd_allocated": Metric(
            "usd", "what requests are charged", _of(lambda f: f.money.allocated)
        ),
        "usd_idle": Metric(
            "usd", "what machines cost while nothing ran", _of(lambda f: f.money.idle)
        ),
        "usd_router": Metric("usd", "what the router costs", _of(lambda f: f.money.router)),
        "ttft_p50_ms": Metric("ms", "time to the first token", _of(lambda f: f.ttft_ms.p50)),
        "ttft_p95_ms": Metric("ms", "time to the first token", _of(lambda f: f.ttft_ms.p95)),
        "e2e_p50_ms": Metric("ms", "time to the whole answer", _of(lambda f: f.e2e_ms.p50)),
        "e2e_p95_ms": Metric("ms", "time to the whole answer", _of(lambda f: f.e2e_ms.p95)),
        "slo": Metric(
            "share", "requests served within their rule's objectives", _of(lambda f: f.attained)
        ),
        "slo_as_old": Metric(
            "share", "the same by the old policy's objectives", _of(lambda f: f.attained_as_old)
        ),
        "refused": Metric("count", "requests refused", _of(lambda f: f.refused)),
        "timed_out": Metric("count", "requests that timed out", _of(lambda f: f.timed_out)),
        "relaxed": Metric(
            "count", "requests for which a soft limit was dropped", _of(lambda f: f.relaxed)
        ),
        "never_hit": Metric(
            "count", "rules that no request matched", _of(lambda f: len(f.never_hit))
        ),
        "moved": Metric(
            "count", "requests that go elsewhere",
            _new(lambda found: sum(row.requests for row in found.moved)), is_change=True,
        ),
        "budgets_broken": Metric(
            "count", "budgets that refuse or downgrade, and didn't",
            _new(_broken), is_change=True,
        ),
    }
)  # fmt: skip
