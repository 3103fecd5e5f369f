"""The charts of a replay's report: money and fleets over time, times, savings, rivals, budgets."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from router.cli.fleet.pictures import COLOURS
from router.cli.replay.drawing import GREY, figure, legend, look, plain, shown
from router.replay.bench import Found
from router.replay.burn import Burn
from router.replay.outcome import SERVED, FleetRun, Replayed
from router.replay.quantiles import known, quantile

HOUR_S, MINUTE_S = 3600.0, 60.0
UNITS = {"hours": HOUR_S, "minutes": MINUTE_S}
CDF_STEPS = 200
MARKERS: Mapping[str, str] = {
    "always-large": "^",
    "always-small": "v",
    "random": "s",
    "length-rule": "D",
    "oracle": "*",
}
LINES = 8  # budgets that have room in one picture


def cost_over_time(found: Found, look_s: float) -> Figure:
    """Draw the bill over time, stacked by fleet, and how much of each fleet's was used."""
    of = figure(10, 3.6)
    over, split = of.subplots(1, 2, width_ratios=(1.9, 1))
    run = found.run
    paid = [(i, fleet) for i, fleet in enumerate(run.fleets) if fleet.usd_bill]
    at, unit = _times(run, look_s)
    if paid and at:
        over.stackplot(
            [0.0, *at],
            [_rates(fleet.usd, at, unit) for _, fleet in paid],
            step="pre",
            labels=[shown(fleet.fleet) for _, fleet in paid],
            colors=[COLOURS[i % len(COLOURS)] for i, _ in paid],
        )
    plain(over, f"{unit} since the trace's start", "USD an hour", "The bill over time")
    over.set_ylim(bottom=0)
    _busy_and_idle(split, [fleet for _, fleet in paid])
    legend_below(of, over)
    return of


def _rates(so_far: Sequence[float], at: Sequence[float], unit: str) -> list[float]:
    """Return USD an hour before each look, of a bill that grows; the first one twice, for a line
    that begins at the start.
    """
    hours = UNITS[unit] / HOUR_S
    looks = pairwise(zip((0.0, *at), (0.0, *so_far), strict=True))
    rates = [(new - old) / ((end - begin) * hours) for (begin, old), (end, new) in looks]
    return [rates[0], *rates]


def _busy_and_idle(axes: Axes, fleets: Sequence[FleetRun]) -> None:
    """Draw a bar for each fleet: what its requests used of its bill, and what stood idle."""
    names = [shown(fleet.fleet) for fleet in fleets][::-1]
    busy = [fleet.usd_busy or 0.0 for fleet in fleets][::-1]
    idle = [max(0.0, (fleet.usd_bill or 0.0) - (fleet.usd_busy or 0.0)) for fleet in fleets][::-1]
    axes.barh(names, busy, 0.6, color=COLOURS[0], label="busy")
    axes.barh(
        names, idle, 0.6, left=busy, color="#cccccc", label="idle", hatch="//", edgecolor=GREY
    )
    axes.set_ylim(-0.8, max(3, len(names) + 1))  # one bar alone is no wall
    plain(axes, "USD of the whole run", "", "Used and idle")
    axes.legend(frameon=False, fontsize=8.5, loc="upper right")


def fleet_sizes(found: Found, look_s: float) -> Figure:
    """Draw how many replicas were ready (line) and paid for (thin), and how many streams ran."""
    of = figure(10, 3.4)
    sizes, streams = of.subplots(1, 2)
    at, unit = _times(found.run, look_s)
    for i, fleet in enumerate(found.run.fleets):
        if not any(fleet.paid) and not fleet.requests:
            continue
        name = shown(fleet.fleet)
        sizes.step(at, fleet.replicas, where="pre", label=name, **look(i))
        sizes.step(at, fleet.paid, where="pre", alpha=0.6, **look(i, thin=True))
        streams.plot(at, fleet.in_flight, **look(i))
    plain(
        sizes, f"{unit} since the trace's start", "replicas", "Ready (thick), and paid for (thin)"
    )
    plain(streams, f"{unit} since the trace's start", "requests in flight", "Requests in flight")
    for axes in (sizes, streams):
        axes.set_ylim(bottom=0)
    legend_below(of, sizes)
    return of


def latencies(found: Sequence[Found]) -> Figure:
    """Draw the CDFs of the times of what was served, by policy; dotted: the baseline alone."""
    of = figure(10, 3.6)
    ttft, e2e = of.subplots(1, 2, sharey=True)
    for i, one in enumerate(found):
        for axes, column in ((ttft, one.run.ttft_ms), (e2e, one.run.e2e_ms)):
            _cdf(axes, one.run, column, {"label": shown(one.summary.policy), **look(i)})
    alone = found[0].baseline
    for axes, column in ((ttft, alone.run.ttft_ms), (e2e, alone.run.e2e_ms)):
        label = shown(f"{alone.fleet} alone ({alone.replicas})")
        dotted = {"label": label, "color": GREY, "linestyle": ":", "linewidth": 1.8}
        _cdf(axes, alone.run, column, dotted)
    plain(ttft, "ms to the first token", "share of the served", "Time to the first token")
    plain(e2e, "ms to the last token", "", "End to end")
    for axes in (ttft, e2e):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda ms, _: f"{ms:,.0f}"))
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.axhline(0.95, color=GREY, linewidth=0.7)
    legend_below(of, ttft)
    return of


def _cdf(axes: Axes, run: Replayed, column: Iterable[float], how: Mapping[str, Any]) -> None:
    pairs = zip(run.outcome, column, strict=True)
    ordered = known(value for value, outcome in ((v, o) for o, v in pairs) if outcome == SERVED)
    if not ordered:
        return
    shares = [step / CDF_STEPS for step in range(1, CDF_STEPS + 1)]
    at = [max(1e-3, quantile(ordered, share) or 0.0) for share in shares]
    axes.plot(at, shares, drawstyle="steps-post", **how)


def savings(found: Sequence[Found]) -> Figure:
    """Draw what each policy saves against its baseline over the simple share."""
    of = figure(10, 3.6)
    saved, cost = of.subplots(1, 2)
    for i, one in enumerate(found):
        at = [point.simple_share for point in one.curve]
        share = [_or_gap(point.saving) for point in one.curve]
        saved.plot(
            at, share, marker="o", markersize=3.5, label=shown(one.summary.policy), **look(i)
        )
        total = [_or_gap(point.usd_total) for point in one.curve]
        cost.plot(at, total, marker="o", markersize=3.5, **look(i))
    first = found[0]
    baseline = [_or_gap(point.usd_baseline) for point in first.curve]
    label = shown(f"{first.baseline.fleet} alone")
    at = [point.simple_share for point in first.curve]
    cost.plot(at, baseline, color=GREY, linestyle=":", linewidth=1.8, label=label)
    plain(saved, "share of simple requests (assumed)", "saved", "Saved against the baseline alone")
    plain(cost, "share of simple requests (assumed)", "USD of the whole run", "The whole bill")
    saved.yaxis.set_major_formatter(PercentFormatter(1))
    saved.axhline(0, color="black", linewidth=0.8)
    cost.set_ylim(bottom=0)
    for axes in (saved, cost):
        axes.xaxis.set_major_formatter(PercentFormatter(1))
    legend_below(of, saved, cost)
    return of


def pareto(found: Sequence[Found]) -> Figure:
    """Draw the whole bills of the policies (large dots) and of their rivals (in their colours)
    against the quality of the answers.
    """
    of = figure(10, 4)
    axes = of.subplots()
    for i, one in enumerate(found):
        colour = COLOURS[i % len(COLOURS)]
        how = {"color": colour, "marker": "o", "markersize": 11, "alpha": 0.85}
        here = one.summary.money.total, one.summary.answers.quality
        _point(axes, *here, one.summary.policy, how)
        for rival in one.rivals:
            how = {"color": colour, "marker": MARKERS[rival.name], "markersize": 8}
            here = rival.money.total, rival.answers.quality
            _point(axes, *here, f"rival: {rival.name}", {**how, "markerfacecolor": "none"})
    plain(axes, "USD of the whole run", "expected quality (the baseline is 1)")
    axes.margins(x=0.08, y=0.12)
    axes.set_xlim(left=0)
    legend(axes)
    return of


def _point(
    axes: Axes, usd: float | None, quality: float | None, name: str, how: Mapping[str, Any]
) -> None:
    """Draw a point; the legend names each once."""
    if usd is None or quality is None:
        return
    label = shown(name) if name not in axes.get_legend_handles_labels()[1] else None
    axes.plot([usd], [quality], linestyle="", label=label, clip_on=False, **how)


def budget_burn(burns: Sequence[Burn]) -> Figure:
    """Draw what the fullest budgets had spent by when, as shares of their limits."""
    of = figure(10, 3.6)
    axes = of.subplots()
    most = max((burn.line[-1][0] for burn in burns), default=0.0)
    scale, unit = (HOUR_S, "hours") if most > 2 * HOUR_S else (MINUTE_S, "minutes")
    for i, burn in enumerate(burns[:LINES]):
        at = [at_s / scale for at_s, _ in burn.line]
        share = [usd / burn.budget.usd for _, usd in burn.line]
        name = f"{burn.budget.id}, {burn.value}, {burn.period}: ${burn.budget.usd:,.10g}"
        axes.step(at, share, where="post", label=shown(name), **look(i))
    axes.axhline(1, color="black", linewidth=0.9)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    plain(axes, f"{unit} since the trace's start", "spent of the limit")
    axes.set_ylim(bottom=0)
    legend(axes)
    return of


# -- how it looks ----------------------------------------------------------------------------------


def legend_below(of: Figure, *axes: Axes) -> None:
    """Put one legend for all below the panels, each name once."""
    named: dict[str, Artist] = {}
    for panel in axes:
        for line, label in zip(*panel.get_legend_handles_labels(), strict=True):
            named.setdefault(label, line)
    if named:
        of.legend(
            handles=list(named.values()),
            labels=list(named),
            loc="outside lower center",
            ncols=5,
            frameon=False,
            fontsize=8.5,
        )


def _times(run: Replayed, look_s: float) -> tuple[list[float], str]:
    """Return when the looks at the fleets were, and the unit; the last one is at the end."""
    looks = max((len(fleet.usd) for fleet in run.fleets), default=0)
    at_s = [look * look_s for look in range(1, looks + 1)]
    if at_s and (looks < 2 or run.seconds > at_s[-2]):  # noqa: PLR2004
        at_s[-1] = min(at_s[-1], run.seconds)
    unit = "hours" if run.seconds > 3 * HOUR_S else "minutes"
    return [at / UNITS[unit] for at in at_s], unit


def _or_gap(value: float | None) -> float:
    return float("nan") if value is None else value
