"""Draw which of c8g, inf2, trn2 and p5 win at which traffic and simple share: docs/plan-map.svg.

    .venv/bin/python tools/plan/winners.py docs/plan-map.svg

From the packaged catalogue's figures, with `min` 0 and as many machines as it takes.
"""

import sys
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from backends import files
from router.plan.highs import Highs
from router.plan.offers import market
from router.plan.program import Limits
from router.plan.slo import parse_slo
from router.plan.winners import best, template
from router.world import fleet_models

FLEETS = {"local-qwen3-tiny": "c8g", "inf2-scout": "inf2", "trn2-scout": "trn2", "p5-scout": "p5"}
SMALL = frozenset({"local-qwen3-tiny"})
LENGTHS = (200, 200)
SIMPLE = "ttft_p95=5s"  # as the default policy has it for simple requests
SLOS = ("ttft_p95=5s", "ttft_p95=250ms", "ttft_p95=200ms")
PER_HOUR = [10 ** (1 + i / 8) for i in range(41)]
SHARES = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99, 1.0]
MOST = 64
COLOURS = {  # Okabe and Ito's
    "c8g": "#009E73",
    "inf2": "#56B4E9",
    "trn2": "#E69F00",
    "p5": "#D55E00",
    "c8g + inf2": "#1b6d54",
    "c8g + trn2": "#8C6D31",
    "c8g + p5": "#CC79A7",
    "trn2 + inf2": "#0072B2",
    "p5 + inf2": "#F0E442",
    "c8g + trn2 + inf2": "#444444",
    "none": "#eeeeee",
}
MIXED = "#999999"


def cells(slo: str) -> list[list[str]]:
    """Return who wins: a row for each share, a name for each traffic."""
    catalogue = files.catalogue(None)
    models = {on.fleet.id: on for on in fleet_models(catalogue)}
    units = [u for u in market(catalogue, from_zero=True).units if u.id in FLEETS]
    of = template(
        [replace(unit, most=MOST, wake_s=0.0) for unit in units],
        models,
        SMALL,
        LENGTHS,
        (parse_slo(SIMPLE), parse_slo(slo)),
    )
    solver, limits = Highs(), Limits()
    return [
        [
            " + ".join(FLEETS[unit] for unit in best(of, rph, share, solver, limits).winners)
            or "none"
            for rph in PER_HOUR
        ]
        for share in SHARES
    ]


def draw(path: Path) -> None:
    mpl.rcParams["svg.fonttype"] = "none"  # texts stay texts
    mpl.rcParams["svg.hashsalt"] = "sluice"  # the same bytes each time
    figure = Figure(figsize=(13, 5.6), layout="constrained")
    panels = figure.subplots(1, len(SLOS), sharey=True)
    seen: dict[str, None] = {}
    for axes, slo in zip(panels, SLOS, strict=True):
        rows = cells(slo)
        seen.update(dict.fromkeys(name for row in rows for name in row))
        _panel(axes, slo, rows)
    panels[0].set_ylabel("share of simple requests")
    handles = [Patch(color=COLOURS.get(name, MIXED), label=name) for name in seen]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    figure.suptitle(
        "The cheapest machines by traffic and simple share: 200 + 200 tokens, on demand; "
        "simple ones within 5 s\n"
        "c8g: Qwen3-0.6B (S1, stated), for simple requests; inf2, trn2, p5: Llama 4 Scout "
        "(S2, read by Little's law: estimated)",
        fontsize=10,
    )
    figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)


def _panel(axes: Axes, slo: str, rows: list[list[str]]) -> None:
    for y, row in enumerate(rows):
        at = 0
        for name, cells_ in groupby(row):
            width, colour = len(list(cells_)), COLOURS.get(name, MIXED)
            axes.add_patch(mpl.patches.Rectangle((at, y), width, 1, color=colour, linewidth=0))
            at += width
    for name, (x, y) in _middles(rows).items():
        axes.text(x, y, name, ha="center", va="center", fontsize=10, color="black")
    axes.set_xlim(0, len(PER_HOUR))
    axes.set_ylim(0, len(SHARES))
    ticks = range(0, len(PER_HOUR), 8)
    axes.set_xticks([i + 0.5 for i in ticks], [f"{PER_HOUR[i]:,.0f}" for i in ticks], fontsize=8)
    axes.set_yticks([i + 0.5 for i in range(len(SHARES))], [f"{share:.0%}" for share in SHARES])
    axes.set_xlabel("requests per hour (logarithmic)")
    axes.set_title(slo.replace("ttft_p95=", "others: TTFT p95 within "), fontsize=10)


def _middles(rows: list[list[str]]) -> dict[str, tuple[float, float]]:
    """Return where each region's name has the most room: the middle of its longest row."""
    found: dict[str, tuple[int, float, float]] = {}
    for y, row in enumerate(rows):
        start = 0
        for x in range(1, len(row) + 1):
            if x == len(row) or row[x] != row[start]:
                length = x - start
                if length > len(row[start]) and length >= found.get(row[start], (0, 0, 0))[0]:
                    found[row[start]] = (length, (start + x) / 2, y + 0.5)
                start = x
    return {name: (x, y) for name, (_, x, y) in found.items()}


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
