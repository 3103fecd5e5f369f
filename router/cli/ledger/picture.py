"""The chart of ``sluice ledger report``: spend and savings per day, or per hour."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from backends.cost import NANO
from router.finops.report import Slot

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#BBBBBB"  # Okabe and Ito's
LABELS = 12  # slots named below the axis, at most
NAMED = {"day": "%Y-%m-%d", "hour": "%d %b %H:%M"}
SECONDS = {"day": 86_400, "hour": 3_600}


def draw(slots: tuple[Slot, ...], unit: str, baseline: str, path: Path) -> None:
    """Draw what the bill of each `unit` (day, hour) was made of, and what was saved against the
    baseline. A slot without rows is a gap.
    """
    mpl.rcParams["svg.fonttype"] = "none"  # texts stay texts
    figure = Figure(figsize=(12, 6), layout="constrained")
    spend, saved = figure.subplots(2, 1, sharex=True)
    first = slots[0].start
    at = [round((slot.start - first).total_seconds() / SECONDS[unit]) for slot in slots]
    _spend(spend, at, slots, unit)
    _saved(saved, at, slots, f"Saved per {unit} against {baseline}")
    for axes in (spend, saved):
        axes.axhline(0, color="black", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_ylabel(f"USD per {unit}")
        axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.01, 1))
    shown = at[:: -(-len(at) // LABELS)]
    named = [f"{slot.start:{NAMED[unit]}}" for slot in slots[:: -(-len(at) // LABELS)]]
    saved.set_xticks(shown, named, rotation=30)
    saved.set_xlim(-1, at[-1] + 1)
    figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)


def _spend(axes: Axes, at: list[int], slots: tuple[Slot, ...], unit: str) -> None:
    """Stack the charges and the idle time; variance, of either sign, is the way to the bill, to
    which a fleet without one adds what it charged.
    """
    charged = [slot.totals.sums.nano / NANO for slot in slots]
    idle = [(slot.totals.idle or 0) / NANO for slot in slots]
    axes.bar(at, charged, color=BLUE, label="charged")
    axes.bar(at, idle, bottom=charged, color=GREY, label="idle")
    known = [(x, (slot.totals.bill + slot.totals.without_bill) / NANO)
             for x, slot in zip(at, slots, strict=True)
             if slot.totals.idle is not None]  # fmt: skip
    if known:
        xs, bills = zip(*known, strict=True)
        axes.plot(xs, bills, color="black", marker="_", markersize=14, linestyle="",
                  label="the bill (the rest is variance)")  # fmt: skip
    axes.set_title(f"Spend per {unit}")


def _saved(axes: Axes, at: list[int], slots: tuple[Slot, ...], title: str) -> None:
    gross = [_usd(slot.totals.sums.saved) for slot in slots]
    net = [_usd(slot.totals.saved_net) for slot in slots]
    axes.plot(at, gross, color=GREEN, marker="o", label="saved on charges")
    axes.plot(at, net, color=ORANGE, marker="s", label="net of idle and variance")
    axes.set_title(title)


def _usd(nano: int | None) -> float:
    """A gap where it is unknown."""
    return float("nan") if nano is None else nano / NANO
