"""The pictures of ``sluice fleet show``: curves over load, and where fleets break even."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from backends.break_even import Economy, crossings
from backends.fleet_model import FleetModel, Prediction
from backends.load import Load
from router.cli.fleet.lengths import Lengths

# Okabe and Ito's colours, told apart by everyone; beyond eight fleets the line style changes too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
STYLES = ("-", "--", "-.", ":")
STEPS = 160
NAMED = 30  # crossings that have room in the picture; the command's text lists all
DEAR = 30  # times the dearest busy fleet: the top of the picture


def curves(fleets: Sequence[FleetModel], tokens: Lengths, path: Path) -> None:
    """Draw TTFT, ITL, tokens/s and $/1M of one replica over its streams, up to its capacity."""
    figure = _figure(11, 8.5)
    panels = figure.subplots(2, 2)
    drawn: tuple[tuple[Axes, str, Callable[[FleetModel, int], float | None]], ...] = (
        (panels[0][0], f"TTFT p50, ms ({tokens[0]} tokens in)", lambda on, c: _ttft(on, c, tokens)),
        (panels[0][1], "ITL p50, ms", lambda on, c: _seen(on, c, tokens).itl_p50_ms),
        (panels[1][0], "output tokens/s, all streams", _tok_s),
        (panels[1][1], "$ per 1M output tokens, decode only", _per_mtok),
    )
    for axes, title, of in drawn:
        for i, on in enumerate(fleets):
            line = [(c, y) for c in _loads(on) if (y := of(on, c)) is not None]
            if line:
                xs, ys = zip(*line, strict=True)
                axes.plot(xs, ys, **_look(i), label=on.fleet.id)
                axes.plot(xs[-1:], ys[-1:], **_look(i), marker="o", markersize=4)
        _log_log(axes, "streams at once on one replica", title)
    lines, labels = panels[0][1].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle("Fleets by load: lines end (dot) at a replica's capacity", fontsize=12)
    _save(figure, path)


def break_even(economies: Sequence[Economy], tokens: Lengths, path: Path) -> None:
    """Draw USD per 1,000 requests over requests/hour, each fleet size until it is full."""
    figure = _figure(14, 7.5)
    axes, names = figure.subplots(1, 2, width_ratios=(2.4, 1))
    dearest = DEAR * 1000 * max((fleet.usd_busy for fleet in economies), default=1.0)
    for i, fleet in enumerate(economies):
        for replicas in range(1, fleet.most + 1):
            full = replicas * fleet.rph_full
            hourly = 1000 * replicas * fleet.usd_per_hour
            ends = [(hourly / dearest, dearest), (full, hourly / full)]  # straight in logarithms
            sizes = "1" if fleet.most == 1 else f"1 to {fleet.most}"
            label = f"{fleet.fleet} ({sizes} always on)" if replicas == 1 else None
            axes.plot(*zip(*ends, strict=True), **_look(i, thin=replicas > 1), label=label)
        axes.axhline(1000 * fleet.usd_busy, color=_look(i)["color"], linestyle=":", linewidth=1)
    _log_log(axes, "requests per hour", f"$ per 1,000 requests of {tokens[0]} + {tokens[1]} tokens")
    axes.set_title("Always on (lines; each size until it is full) or kept 100 % busy (dotted)")
    _number_crossings(axes, names, economies)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    _save(figure, path)


def _number_crossings(axes: Axes, names: Axes, economies: Sequence[Economy]) -> None:
    """Number where one always-on machine costs what another fleet's busy ones do, and name each."""
    found = sorted(
        (c for c in crossings(economies) if c.replicas == 1), key=lambda c: c.requests_per_hour
    )
    busy_usd = {e.fleet: 1000 * e.usd_busy for e in economies}
    lines = [
        "requests/hour from which one machine always on",
        "is cheaper than another fleet's busy ones:",
        "",
    ]
    for n, crossing in enumerate(found, 1):
        at, usd = crossing.requests_per_hour, busy_usd[crossing.busy]
        axes.plot([at], [usd], marker="o", markersize=4, color="black", zorder=5)
        axes.annotate(
            str(n), (at, usd), xytext=(3, 4), textcoords="offset points", fontsize=8, zorder=6
        )
        if n <= NAMED:
            lines.append(f"{n:>2} {at:>11,.0f}  {crossing.always_on} / {crossing.busy}")
    if len(found) > NAMED:
        lines.append(f"    and {len(found) - NAMED} more: `sluice fleet show` lists all")
    if not found:
        lines.append("none: no fleet undercuts another")
    names.axis("off")
    names.text(
        0,
        1,
        "\n".join(lines),
        va="top",
        fontsize=7.5,
        family="monospace",
        transform=names.transAxes,
    )


# -- what is drawn ---------------------------------------------------------------------------------


def _loads(on: FleetModel) -> list[int]:
    """Return whole streams from one to capacity, about evenly on a logarithmic axis."""
    top = max(on.capacity, 1.0)
    return sorted({math.floor(top ** (i / STEPS)) for i in range(STEPS)} | {math.floor(top)})


def _seen(on: FleetModel, streams: int, tokens: Lengths) -> Prediction:
    return on.predict(*tokens, 1, Load(in_flight=streams - 1))


def _ttft(on: FleetModel, streams: int, tokens: Lengths) -> float | None:
    return _seen(on, streams, tokens).ttft_p50_ms


def _tok_s(on: FleetModel, streams: int) -> float | None:
    profile = on.fleet.profile
    return None if profile is None else profile.speed(streams).tok_s


def _per_mtok(on: FleetModel, streams: int) -> float | None:
    tok_s = _tok_s(on, streams)
    if tok_s is None or on.usd_per_hour is None:
        return None
    return on.usd_per_hour / 3600 / tok_s * 1e6


# -- how it looks ----------------------------------------------------------------------------------


def _figure(width: float, height: float) -> Figure:
    mpl.rcParams["svg.fonttype"] = "none"  # texts stay texts
    return Figure(figsize=(width, height), layout="constrained")


def _look(i: int, *, thin: bool = False) -> dict[str, Any]:
    return {
        "color": COLOURS[i % len(COLOURS)],
        "linestyle": STYLES[i // len(COLOURS) % len(STYLES)],
        "linewidth": 0.8 if thin else 1.8,
    }


def _log_log(axes: Axes, x: str, y: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(_plain))
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(visible=True, which="major", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _plain(value: float, _at: object = None) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:.6f}".rstrip("0")


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
