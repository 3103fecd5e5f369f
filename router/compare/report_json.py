"""A diff as JSON: unknown is null, USD to the nano-dollar."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from router.compare.comparison import Comparison
from router.compare.figures import Figures
from router.compare.interval import Interval, Spread
from router.compare.report import PER_S, Report, assumptions, headline, middle


def report_json(report: Report) -> dict[str, Any]:
    """Return the whole report."""
    found = report.found
    return {
        "old": asdict(report.old),
        "new": asdict(report.new),
        "same_meaning": not report.words,
        "words": [asdict(each) for each in report.words],
        "notes": list(report.notes),
        "replay": None if found is None else _replay(found, report.per),
        "fail_if": [
            {
                "condition": one.text,
                "fails": one.fails,
                "unknown": one.holds is None,
                "said": one.said,
            }
            for one in report.judged
        ],
    }


def _replay(found: Comparison, per: str | None) -> dict[str, Any]:
    change, told = found.usd_change, middle(found)
    return {
        "headline": headline(found),
        "trace": found.trace,
        "requests": found.requests,
        "seconds": round(found.seconds, 6),
        "same": found.same,
        "old": _side(found.old),
        "new": _side(found.new),
        "draws": len(found.seeded),
        "seed": found.seeded[0].seed,
        "usd_change": _usd(change),
        "usd_change_middle": None if told is None else _usd(told.usd_change),
        "usd_change_interval": _interval(found.spread, "change"),
        "usd_ratio_interval": _interval(found.spread, "ratio"),
        "usd_new_interval": _interval(found.spread, "new"),
        "extrapolated": None if per is None else _per(found, per),
        "moved": sum(row.requests for row in found.moved),
        "moves": [_rounded(asdict(row)) for row in found.moved],
        "budgets": [_rounded({**asdict(b), "breaks": b.breaks}) for b in found.bounds],
        "seeds": [
            {
                "seed": each.seed,
                "usd_old": _usd(each.usd_old),
                "usd_new": _usd(each.usd_new),
                "usd_change_interval": _interval(each.spread, "change"),
            }
            for each in found.seeded
        ],
        "assumptions": assumptions(found),
    }


def _side(side: Figures) -> dict[str, Any]:
    money = side.money
    return {
        "usd_total": _usd(money.total),
        "usd_allocated": _usd(money.allocated),
        "usd_idle": _usd(money.idle),
        "usd_router": _usd(money.router),
        "ttft_ms": _rounded(asdict(side.ttft_ms)),
        "e2e_ms": _rounded(asdict(side.e2e_ms)),
        "slo_attainment": round(side.attained, 6),
        "slo_attainment_as_old": round(side.attained_as_old, 6),
        "served": side.served,
        "refused": side.refused,
        "timed_out": side.timed_out,
        "relaxed": side.relaxed,
        "refusals": dict(side.refusals),
        "rules": dict(side.rules),
        "never_hit": list(side.never_hit),
        "usd_by_team": {team: _usd(usd) for team, usd in side.by_team.items()},
    }


def _per(found: Comparison, per: str) -> dict[str, Any]:
    times = PER_S[per] / found.seconds if found.seconds else 0.0
    change, told = found.usd_change, middle(found)
    spread = found.spread
    return {
        "per": per,
        "usd_change": None if change is None else _usd(change * times),
        "usd_change_middle": None if told is None else _usd(told.usd_change * times),
        "interval": None
        if spread is None
        else [_usd(end * times) for end in (spread.change.low, spread.change.high)],
    }


def _interval(spread: Spread | None, which: str) -> list[float | None] | None:
    interval: Interval | None = None if spread is None else getattr(spread, which)
    return None if interval is None else [_usd(interval.low), _usd(interval.high)]


def _usd(value: float | None) -> float | None:
    return None if value is None else round(value, 9)


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: round(v, 9) if isinstance(v, float) else v for k, v in row.items()}
