"""A replay as tables for the terminal."""

from collections.abc import Collection, Iterator, Sequence

from router.cli.replay.columns import Cell, Usd, written
from router.cli.table import counted, grid
from router.ledger.entry import stamp
from router.replay.bench import Found, totals
from router.replay.rivals import Rival
from router.replay.summary import Summary
from router.replay.summary_json import saving
from router.traces.trace import Trace

LEFT = {"policy", "fleet", "rule", "rival", "how it chooses", "budget", "value", "period"}
SECOND_MS, MINUTE_S, HOUR_S = 1000.0, 60.0, 3600.0
FEW_MS = 10_000


def tables(trace: Trace, found: Sequence[Found], against: Found | None) -> str:
    """Return everything that was found, the money first, what was assumed last."""
    everyone = [*found, *([] if against is None else [against])]
    parts = [head(trace), _grid(POLICIES, [policy_row(one) for one in everyone], LEFT)]
    if against is not None:
        parts += [delta_line(one, against) for one in found]
    for one in found:
        parts += _of_policy(one)
    parts.append("assumed\n" + "\n".join(f"  - {line}" for line in assumptions(found)))
    return "\n\n".join(parts)


def head(trace: Trace) -> str:
    many, begins = counted(len(trace), "request"), stamp(trace.start_s)
    return f"{trace.name}: {many} in {duration(trace.seconds)}, from {begins}"


def assumptions(found: Sequence[Found]) -> list[str]:
    """Return what any of them assumed, each sentence once."""
    return list(dict.fromkeys(line for one in found for line in one.summary.assumptions))


# -- policies --------------------------------------------------------------------------------------

POLICIES = (
    "policy",
    "bill $",
    "idle $",
    "router $",
    "total $",
    "baseline $",
    "saving",
    "in SLO",
    "TTFT p50",
    "TTFT p95",
    "e2e p95",
    "quality",
    "not served",
)


def policy_row(one: Found) -> tuple[Cell, ...]:
    of = one.summary
    return (
        of.policy,
        Usd(of.money.bill),
        Usd(of.money.idle),
        Usd(of.money.router),
        Usd(of.money.total),
        Usd(one.baseline.money.total),
        percent(saving(one.baseline)),
        percent(of.attained),
        ms(of.ttft_ms.p50),
        ms(of.ttft_ms.p95),
        ms(of.e2e_ms.p95),
        number(of.answers.quality),
        f"{of.requests - of.served:,}",
    )


def delta_line(new: Found, old: Found) -> str:
    ours, theirs = new.summary, old.summary
    usd_new, usd_old = totals(new, old)
    if usd_new is None or usd_old is None:
        money = "dollars unknown: a price is missing"
    else:
        grown = usd_new - usd_old
        part = f" ({grown / usd_old:+.1%})" if usd_old else ""
        money = f"{'+' if grown >= 0 else '-'}${abs(grown):,.4f}{part}"
    late = 100 * (ours.attained - theirs.attained)
    return f"{ours.policy} against {theirs.policy}: {money}, {late:+.2f} points within SLO"


def _of_policy(one: Found) -> Iterator[str]:
    of = one.summary
    yield f"== {of.policy} ({of.hash})\n{baseline_line(one)}"
    yield _grid(FLEETS, fleet_rows(of), LEFT)
    yield _grid(RULES, rule_rows(of), LEFT)
    if of.refusals:
        said = ", ".join(f"{code} {count:,}" for code, count in of.refusals.items())
        yield f"refused {of.refused:,} ({said}), timed out {of.timed_out:,}"
    if of.budgets:
        yield _grid(BUDGETS, budget_rows(of), LEFT)
    if of.budgets_left_out:
        yield budgets_left_out(of)
    if one.rivals:
        yield _grid(RIVALS, [rival_row(rival) for rival in one.rivals], LEFT)
    if one.curve:
        yield f"saving over the simple share\n{_grid(CURVE, curve_rows(one))}"


def baseline_line(one: Found) -> str:
    alone, of = one.baseline, one.summary
    many = "1 replica" if alone.replicas == 1 else f"{alone.replicas:,} replicas"
    said = f"baseline: {alone.fleet} alone, always on, {many}"
    if alone.reached:
        return f"{said}, the fewest that are in SLO as often ({percent(alone.attained)})"
    return (
        f"{said}, in SLO {percent(alone.attained)}; no number reaches the policy's "
        f"{percent(of.attained)}, so the saving compares unequal service"
    )


FLEETS = (
    "fleet",
    "requests",
    "bill $",
    "busy $",
    "idle $",
    "charged $",
    "replicas",
    "most",
    "starts",
    "TTFT p95",
    "e2e p95",
)


def fleet_rows(of: Summary) -> list[tuple[Cell, ...]]:
    """Return the fleets that served or cost something, and one line for the others."""
    used = [row for row in of.by_fleet if row.requests or row.money.bill != 0]
    rows: list[tuple[Cell, ...]] = [
        (
            row.fleet,
            f"{row.requests:,}",
            Usd(row.money.bill),
            Usd(row.money.busy),
            Usd(row.money.idle),
            Usd(row.money.allocated),
            f"{row.replicas:.2f}",
            f"{row.most:g}",
            f"{row.starts:,}",
            ms(row.ttft_ms.p95),
            ms(row.e2e_ms.p95),
        )
        for row in used
    ]
    unused = [row.fleet for row in of.by_fleet if row not in used]
    if unused:
        rows.append((f"unused: {len(unused)}", "0", *["-"] * (len(FLEETS) - 2)))
    return rows


RULES = ("rule", "requests", "served", "in SLO", "charged $", "TTFT p95", "fleet")


def rule_rows(of: Summary) -> list[tuple[Cell, ...]]:
    return [
        (
            row.rule,
            f"{row.requests:,}",
            f"{row.served:,}",
            percent(row.attained) if row.requests else "never hit",
            Usd(row.usd_allocated),
            ms(row.ttft_ms.p95),
            ", ".join(f"{fleet} {count:,}" for fleet, count in row.fleets.items()),
        )
        for row in of.by_rule
    ]


BUDGETS = ("budget", "value", "period", "spent $", "limit $", "bound after")


def budget_rows(of: Summary) -> list[tuple[Cell, ...]]:
    return [
        (
            row.budget,
            row.value,
            row.period,
            Usd(row.usd),
            Usd(row.limit_usd),
            "never" if row.first_s is None else duration(row.first_s),
        )
        for row in of.budgets
    ]


def budgets_left_out(of: Summary) -> str:
    return f"and {of.budgets_left_out:,} more budgets, which bound nobody or are less full"


RIVALS = (
    "rival",
    "total $",
    "policy $",
    "in SLO",
    "served",
    "TTFT p95",
    "e2e p95",
    "quality",
    "small",
    "how it chooses",
)


def rival_row(rival: Rival) -> tuple[Cell, ...]:
    return (
        rival.name,
        Usd(rival.money.total),
        Usd(rival.usd_policy),
        percent(rival.attained),
        f"{rival.served:,}",
        ms(rival.ttft_ms.p95),
        ms(rival.e2e_ms.p95),
        number(rival.answers.quality),
        f"{rival.small_served:,} ({percent(rival.answers.small)})",
        rival.about,
    )


CURVE = ("simple share", "total $", "baseline $", "saving", "in SLO", "small", "baseline replicas")


def curve_rows(one: Found) -> list[tuple[Cell, ...]]:
    return [
        (
            f"{point.simple_share:.0%}",
            Usd(point.usd_total),
            Usd(point.usd_baseline),
            percent(point.saving),
            percent(point.attained),
            percent(point.small_share),
            f"{point.replicas:,}",
        )
        for point in one.curve
    ]


# -- figures ---------------------------------------------------------------------------------------


def _grid(head: Sequence[str], rows: Sequence[Sequence[Cell]], left: Collection[str] = ()) -> str:
    return grid(head, written(rows), left)


def percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}"


def number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f} ms" if value < FEW_MS else f"{value / SECOND_MS:,.1f} s"


def duration(seconds: float) -> str:
    if seconds < MINUTE_S:
        return f"{seconds:.3g} s"
    if seconds < 2 * HOUR_S:
        return f"{seconds / MINUTE_S:.1f} min"
    return f"{seconds / HOUR_S:.1f} h"
