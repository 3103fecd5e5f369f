"""The picture of ``sluice calibrate``: is p_small right, what is saved, and whom does it hurt."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from router.cli.calibrate.found import Found

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#BBBBBB"  # Okabe and Ito's
CELLS = (
    ("small_good", "stays small, acceptable", GREEN),
    ("small_bad", "stays small, not acceptable", ORANGE),
    ("strong_good", "sent on, small would have done", GREY),
    ("strong_bad", "sent on, rightly", BLUE),
)


def draw(found: Found, path: Path) -> None:
    """Draw the reliability diagram, saving over threshold, and the confusion by language."""
    mpl.rcParams["svg.fonttype"] = "none"  # texts stay texts
    figure = Figure(figsize=(15, 5), layout="constrained")
    reliability, saving, confusion = figure.subplots(1, 3)
    _reliability(reliability, found)
    _saving(saving, found)
    _confusion(confusion, found)
    for axes in (reliability, saving, confusion):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{len(found.fitted.labels)} labels, each foretold without itself", fontsize=12)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)


def _reliability(axes: Axes, found: Found) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="as often as foretold")
    bins = found.bins
    xs, ys = [row.foretold for row in bins], [row.found for row in bins]
    axes.plot(xs, ys, color=BLUE, marker="o", label="tenths of the labels")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="p_small foretold", ylabel="share acceptable")
    axes.set_title("Reliability")
    axes.legend(frameon=False, fontsize=8)


def _saving(axes: Axes, found: Found) -> None:
    rows = found.rows
    xs = [row.threshold for row in rows]
    axes.plot(xs, [row.small for row in rows], color=BLUE, label="share kept small")
    low = [row.acceptable_low for row in rows]
    axes.plot(xs, low, color=GREEN, label="acceptable of these, at least (95 %)")
    if found.saved is not None:
        label = f"cost over all on {found.saved.strong}"
        axes.plot(xs, found.saved.relative, color=ORANGE, label=label)
    if found.chosen is None:
        axes.set_title(f"No threshold keeps {found.floor:.0%} acceptable")
    else:
        axes.axvline(found.threshold, color="black", linestyle=":")
        axes.set_title(f"Saving by threshold: quality_floor {found.threshold:.4f}")
    top = 1.0 if found.saved is None else max(1.0, *found.saved.relative)  # small can be dearer
    axes.set(ylim=(0, 1.02 * top), xlabel="stays small from this p_small on", ylabel="share")
    axes.legend(frameon=False, fontsize=8)


def _confusion(axes: Axes, found: Found) -> None:
    languages = list(found.confused)
    counts = [
        sum(getattr(found.confused[name], cell) for cell, _, _ in CELLS) for name in languages
    ]
    ends = [0.0] * len(languages)
    for cell, label, colour in CELLS:
        shares = [
            getattr(found.confused[name], cell) / count
            for name, count in zip(languages, counts, strict=True)
        ]
        axes.barh(range(len(languages)), shares, left=ends, color=colour, label=label)
        ends = [end + share for end, share in zip(ends, shares, strict=True)]
    named = [f"{name} ({count})" for name, count in zip(languages, counts, strict=True)]
    axes.set_yticks(range(len(languages)), named)
    axes.set(xlim=(0, 1), xlabel="share of the labels")
    axes.set_title(f"By language, at p_small {found.threshold:.3f}")
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)
