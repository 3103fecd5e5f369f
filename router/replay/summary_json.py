"""A summary as the JSON of `sluice replay --json`, rounded to nano-dollars and µs. Pure."""

from typing import Any

from router.replay.baseline import Baseline
from router.replay.quantiles import Quantiles
from router.replay.summary import Flow, Money, OfBudget, OfFleet, OfRule, Summary


def summary_json(found: Summary, baseline: Baseline | None) -> dict[str, Any]:
    """Return what one policy comes to, beside the baseline fleet alone."""
    money = found.money
    return {
        "policy": {"name": found.policy, "hash": found.hash},
        "trace": found.trace,
        "requests": found.requests,
        "seconds": _rounded(found.seconds, 6),
        "usd_total": usd(money.total),
        "usd_allocated": usd(money.allocated),
        "usd_idle": usd(money.idle),
        "usd_variance": usd(money.variance),
        "usd_router": usd(money.router),
        "usd_baseline": None if baseline is None else usd(baseline.money.total),
        "saving": share(saving(baseline)),
        "slo_attainment": share(found.attained),
        "ttft_ms": quantiles_json(found.ttft_ms),
        "e2e_ms": quantiles_json(found.e2e_ms),
        "served": found.served,
        "refused": found.refused,
        "timed_out": found.timed_out,
        "refusals": dict(found.refusals),
        "relaxed": found.relaxed,
        "quality": _quality(found),
        "by_fleet": [_fleet(row) for row in found.by_fleet],
        "by_rule": [_rule(row) for row in found.by_rule],
        "budgets": [_budget(row) for row in found.budgets],
        "budgets_left_out": found.budgets_left_out,
        "flows": [_flow(row) for row in found.flows],
        "baseline": None if baseline is None else baseline_json(baseline),
        "assumptions": list(found.assumptions),
    }


def saving(baseline: Baseline | None) -> float | None:
    """Return the share of the baseline's bill that is saved, both until the same moment; negative:
    the policy costs more.
    """
    if baseline is None or not baseline.money.total or baseline.usd_policy is None:
        return None
    return 1 - baseline.usd_policy / baseline.money.total


def baseline_json(baseline: Baseline) -> dict[str, Any]:
    return {
        "fleet": baseline.fleet,
        "replicas": baseline.replicas,
        "reached": baseline.reached,
        "slo_attainment": share(baseline.attained),
        "usd_bill": usd(baseline.money.bill),
        "usd_idle": usd(baseline.money.idle),
        "usd_router": usd(baseline.money.router),
        "usd_policy": usd(baseline.usd_policy),
        "ttft_ms": quantiles_json(baseline.ttft_ms),
        "e2e_ms": quantiles_json(baseline.e2e_ms),
    }


def quantiles_json(of: Quantiles) -> dict[str, float | None]:
    return {"p50": ms(of.p50), "p95": ms(of.p95), "p99": ms(of.p99)}


def usd(value: float | None) -> float | None:
    return _rounded(value, 9)


def ms(value: float | None) -> float | None:
    return _rounded(value, 3)


def share(value: float | None) -> float | None:
    return _rounded(value, 6)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _quality(found: Summary) -> dict[str, Any]:
    of = found.answers
    return {
        "expected": share(of.quality),
        "acceptable_share": share(of.acceptable),
        "acceptable_unknown": of.unknown,
        "small_share": share(of.small),
    }


def _money(of: Money) -> dict[str, float | None]:
    return {
        "usd_bill": usd(of.bill),
        "usd_busy": usd(of.busy),
        "usd_allocated": usd(of.allocated),
        "usd_idle": usd(of.idle),
        "usd_variance": usd(of.variance),
    }


def _fleet(row: OfFleet) -> dict[str, Any]:
    return {
        "fleet": row.fleet,
        "requests": row.requests,
        **_money(row.money),
        "replicas": _rounded(row.replicas, 3),
        "replicas_paid": _rounded(row.paid, 3),
        "replicas_most": row.most,
        "starts": row.starts,
        "interruptions": row.interruptions,
        "ttft_ms": quantiles_json(row.ttft_ms),
        "e2e_ms": quantiles_json(row.e2e_ms),
    }


def _rule(row: OfRule) -> dict[str, Any]:
    return {
        "rule": row.rule,
        "requests": row.requests,
        "served": row.served,
        "usd_allocated": usd(row.usd_allocated),
        "slo": {"ttft_p95_ms": row.slo.ttft_p95_ms, "e2e_p95_ms": row.slo.e2e_p95_ms},
        "slo_attainment": share(row.attained) if row.requests else None,
        "ttft_ms": quantiles_json(row.ttft_ms),
        "fleets": dict(row.fleets),
    }


def _budget(row: OfBudget) -> dict[str, Any]:
    return {
        "budget": row.budget,
        "value": row.value,
        "period": row.period,
        "usd": usd(row.usd),
        "limit_usd": row.limit_usd,
        "first_bound_s": _rounded(row.first_s, 3),
    }


def _flow(row: Flow) -> dict[str, Any]:
    return {
        "task": row.task,
        "tier": row.tier,
        "rule": row.rule,
        "fleet": row.fleet,
        "requests": row.requests,
    }
