"""The chart of ``sluice ledger report``: spend and savings per day."""

from datetime import date
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from backends.cost import NANO
from router.finops.report import Day

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#BBBBBB"  # Okabe and Ito's
LABELS = 12  # days named below the axis, at most


def draw(days: tuple[Day, ...], baseline: str, path: Path) -> None:
    """Draw what each day's bill was made of, and what was saved against the baseline."""
    mpl.rcParams["svg.fonttype"] = "none"  # texts stay texts
    figure = Figure(figsize=(12, 6), layout="constrained")
    spend, saved = figure.subplots(2, 1, sharex=True)
    at = [day.day.toordinal() for day in days]
    _spend(spend, at, days)
    _saved(saved, at, days, baseline)
    for axes in (spend, saved):
        axes.axhline(0, color="black", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_ylabel("USD a day")
        axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.01, 1))
    shown = range(at[0], at[-1] + 1, -(-(at[-1] - at[0] + 1) // LABELS))
    saved.set_xticks(list(shown), [date.fromordinal(day).isoformat() for day in shown], rotation=30)
    saved.set_xlim(at[0] - 1, at[-1] + 1)
    figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)


def _spend(axes: Axes, at: list[int], days: tuple[Day, ...]) -> None:
    """Stack the charges and the idle time; variance, of either sign, is the way to the bill."""
    charged = [day.totals.sums.nano / NANO for day in days]
    idle = [(day.totals.idle or 0) / NANO for day in days]
    axes.bar(at, charged, color=BLUE, label="charged")
    axes.bar(at, idle, bottom=charged, color=GREY, label="idle")
    known = [(x, day.totals.bill / NANO) for x, day in zip(at, days, strict=True)
             if day.totals.idle is not None]  # fmt: skip
    if known:
        xs, bills = zip(*known, strict=True)
        axes.plot(xs, bills, color="black", marker="_", markersize=14, linestyle="",
                  label="the fleets' bill (the rest is variance)")  # fmt: skip
    axes.set_title("Spend per day")


def _saved(axes: Axes, at: list[int], days: tuple[Day, ...], baseline: str) -> None:
    gross = [_usd(day.totals.sums.saved) for day in days]
    net = [_usd(day.totals.saved_net) for day in days]
    axes.plot(at, gross, color=GREEN, marker="o", label="saved on charges")
    axes.plot(at, net, color=ORANGE, marker="s", label="net of idle and variance")
    axes.set_title(f"Saved per day against {baseline}")


def _usd(nano: int | None) -> float:
    """A gap where it is unknown."""
    return float("nan") if nano is None else nano / NANO
