"""A plan as text: what to buy, where requests go, what each limit costs, what a replay says.

A plan fits into COLUMNS, names that are longer aside.
"""

import re
from collections.abc import Sequence
from itertools import zip_longest
from textwrap import fill

from router.cli.table import counted, grid
from router.plan.report import Reported
from router.plan.solve import Plan
from router.plan.values import Value
from router.plan.verify import Played
from router.plan.why_not import Lack

SHOWN = 12  # rows of a table that reads well; --json has all
TOLD = 3
_MS = re.compile(r"(\d+(?:\.\d+)?)ms$")
COLUMNS = 100
LEFT = {"fleets", "bought", "hours", "limit", "relaxed to", "fleet", "decided by", "requests"}


def headline(found: Reported) -> str:
    plan = found.plan
    return (
        f"sluice plan {found.trace} --slo {found.slo}: ${plan.usd_per_week:,.2f} a week"
        f" (policy {found.policy})"
    )


def plan(found: Reported) -> str:
    parts = [
        _wrapped(headline(found)),
        _wrapped(_span(found)),
        "",
        _bought(found.plan),
        "",
        _routes(found.plan),
        "",
        _values(found.values),
        "",
        _verified(found),
        "",
        _prices(found),
        *map(_wrapped, _left_out(found)),
        "assumed:",
        *(_wrapped(f"  {said}") for said in found.assumptions),
    ]
    return "\n".join(parts)


def _wrapped(line: str) -> str:
    """Return the line in lines of COLUMNS, the later ones set in; no name is cut."""
    after = " " * (len(line) - len(line.lstrip()) + 2)
    return fill(
        line, COLUMNS, subsequent_indent=after, break_long_words=False, break_on_hyphens=False
    )


def infeasible(lacks: Sequence[Lack]) -> str:
    """Return the worst of each limit; the same limit is often missed by many classes."""
    lines = ["infeasible: no fleets hold this"]
    limits = list(dict.fromkeys(lack.limit for lack in lacks))
    for limit in limits:
        own = sorted(
            (lack for lack in lacks if lack.limit == limit),
            key=lambda lack: -((lack.best or 0.0) - (lack.wanted or 0.0)),
        )
        told = list(dict.fromkeys(lack.said for lack in own))
        lines += [f"  {limit}: {said}" for said in told[:TOLD]]
        if len(told) > TOLD:
            lines.append(f"  {limit}: and {more_classes(len(told) - TOLD)} (--json)")
    return "\n".join(lines)


def _span(found: Reported) -> str:
    problem = found.plan.problem
    hours = len(problem.level_of)
    span = f"{counted(found.requests, 'request')} in {counted(round(found.seconds / 60), 'minute')}"
    if problem.per_week != 1:
        span += f"; a week is taken for {problem.per_week:,.4g} times {these_hours(hours)}"
    gap = "" if found.plan.gap <= 1e-4 else f"; within {found.plan.gap:.2%} of the cheapest"  # noqa: PLR2004  (what is asked of the solver)
    peak = max(level.peak for level in problem.levels)
    return f"{span}; busy minutes up to {peak:.2f} times the hour's mean{gap}"


def more_classes(count: int) -> str:
    return f"{count} more {'class' if count == 1 else 'classes'} of requests"


def these_hours(count: int) -> str:
    return "this hour" if count == 1 else f"these {count} hours"


def _bought(plan: Plan) -> str:
    rows = []
    of = plan.problem.level_of
    for purchase in plan.purchases:
        if not max(purchase.machines):
            continue
        unit = next(u for u in plan.problem.units if u.id == purchase.unit)
        ahead = [f"{n} {option}" for option, n in purchase.fixed.items() if n]
        by_hour = [sum(purchase.hourly[level].values()) for level in of]
        if max(by_hour, default=0):
            options = {o for level in purchase.hourly for o, n in level.items() if n}
            ahead.append(f"{_between(by_hour)} {' + '.join(sorted(options))}")
        machines = [_between(_machines(plan, unit.id))]
        rows += list(zip_longest(unit.fleets, ahead, machines, fillvalue=""))
    return grid(("fleets", "bought", "machines"), rows, LEFT)


def _machines(plan: Plan, unit: str) -> list[int]:
    machines = plan.purchase(unit).machines
    return [machines[level] for level in plan.problem.level_of]


def _between(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low} to {high}"


def _routes(plan: Plan) -> str:
    """Return the busiest level's routes by fleet and rule."""
    levels = plan.problem.levels
    busiest = max(range(len(levels)), key=lambda level: sum(levels[level].rates))
    rows = [
        (
            run.fleet,
            f"{run.replicas}",
            f"{sum(run.routed.values()):,.2f}",
            f"{run.busy / run.carries:.0%}",
            _longest(plan, list(run.routed)),
        )
        for run in plan.runs
        if run.level == busiest
    ]
    head = ("fleet", "replicas", "requests/s", "of its most", "requests")
    return f"in the busiest hour's busy minutes:\n{grid(head, rows, LEFT)}"


def _longest(plan: Plan, places: Sequence[int]) -> str:
    classes = [plan.problem.classes[place] for place in places]
    tiers = " + ".join(sorted({c.tier for c in classes if c.tier}))
    return f"{tiers}, up to {max(c.longest_in for c in classes):,} tokens in".removeprefix(", ")


def _values(values: Sequence[Value]) -> str:
    rows = [
        (
            spaced(value.limit),
            spaced(value.relaxed),
            _worth(value),
        )
        for value in values
    ]
    head = ("limit", "relaxed to", "costs $ a week")
    return f"what each limit costs, relaxed by itself:\n{grid(head, rows, LEFT)}"


def spaced(limit: str) -> str:
    """Return a limit as --slo takes it (`ttft_p95=3000ms`) the way the other tables write times."""
    return _MS.sub(lambda found: f"{float(found[1]):,.12g} ms", limit)


def _worth(value: Value) -> str:
    if value.usd_per_week is not None:
        return f"{value.usd_per_week:,.2f}"
    return "unknown" if value.less_than_usd is None else f"less than {value.less_than_usd:,.2f}"


def _verified(found: Reported) -> str:
    rows = [
        (
            said,
            f"{p.attained:.2%}",
            _ms(p.ttft_p95_ms),
            _ms(p.e2e_p95_ms),
            _usd(p),
            f"{p.refused:,}",
        )
        for said, p in (
            ("utilisation curve", found.played),
            ("shadow prices", found.played_by_prices),
        )
        if p is not None
    ]
    head = ("decided by", "within SLO", "TTFT p95", "e2e p95", "$ a week", "not served")
    fills = ", ".join(f"{each.fill:.0%}" for each in found.rounds)
    planned = f"planned at ${found.plan.usd_per_week:,.2f} a week"
    lines = [
        _wrapped(f"replayed, {planned} (fleets filled to {fills}):"),
        grid(head, rows, LEFT),
    ]
    curve, prices = found.played, found.played_by_prices
    lines += [] if curve is None else _missed(curve)
    if curve and prices and curve.usd_per_week is not None and prices.usd_per_week is not None:
        saved = curve.usd_per_week - prices.usd_per_week
        lines.append(f"shadow prices save ${saved:,.2f} a week against the curve")
    return "\n".join(lines)


def _missed(played: Played) -> list[str]:
    """Return the worst of the classes that don't hold; all together may hide them."""
    missed = [(name, played.by_class[name]) for name in played.missed]
    lines = [
        _wrapped(f"missed by `{name}`: {each.attained:.2%} of {each.requests:,} within SLO")
        for name, each in missed[:TOLD]
    ]
    if len(missed) > TOLD:
        lines.append(f"missed by {more_classes(len(missed) - TOLD)} (--json)")
    return lines


def _prices(found: Reported) -> str:
    rows = [
        (fleet, f"{min(usd):.6f}", f"{max(usd):.6f}", f"{sum(usd) / len(usd):.6f}")
        for fleet, usd in found.prices.items()
    ]
    head = ("fleet", "least", "most", "mean")
    return f"shadow prices, $ per busy replica-second over the hours:\n{grid(head, rows, LEFT)}\n"


def _left_out(found: Reported) -> list[str]:
    lines = [f"left out: {f}: {why}" for f, why in found.plan.problem.market.left_out]
    late = [c for c in found.plan.problem.classes if c.late]
    if late:
        requests, least = sum(c.requests for c in late), min(c.tokens_in for c in late)
        share = f"{counted(requests, 'request')} ({requests / found.requests:.2%})"
        lines.append(
            f"late: {share}, of {least:,.0f} tokens and more, for which no fleet "
            "is fast enough: served without a limit"
        )
    if found.unplanned:
        verb = "matches" if found.unplanned == 1 else "match"
        lines.append(f"{counted(found.unplanned, 'request')} {verb} no rule")
    return [*lines, ""] if lines else []


def _ms(ms: float | None) -> str:
    return "unknown" if ms is None else f"{ms:,.0f} ms"


def _usd(played: Played) -> str:
    return "unknown" if played.usd_per_week is None else f"{played.usd_per_week:,.2f}"
