"""Pictures as SVG inside a page: texts stay texts, the same figures give the same bytes."""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from router.cli.fleet.pictures import COLOURS, STYLES

GREY, GRID = "#9a9a9a", "#dddddd"
_ID = re.compile(r'(\bid="|href="#|url\(#)')
_PROLOGUE = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)


@contextmanager
def styled(name: str) -> Iterator[None]:
    """Draw as this project does. `name` seeds the ids of what is drawn."""
    fonts: Any = {"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 9.5}
    with mpl.rc_context(fonts), warnings.catch_warnings():
        # The browser has the signs that matplotlib's font lacks: texts are drawn there.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        yield


def figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def svg(of: Figure, name: str, title: str) -> str:
    """Return the figure to stand in a page. Its ids are its own, its title is read aloud."""
    out = io.StringIO()
    of.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = _METADATA.sub("", _PROLOGUE.sub("", out.getvalue()), count=1)
    text = _ID.sub(lambda found: f"{found[0]}{name}-", text)
    opening = f'<svg role="img" aria-labelledby="{name}-title" '
    text = text.replace("<svg ", opening, 1)
    end = text.index(">") + 1
    return f'{text[:end]}\n <title id="{name}-title">{escaped(title)}</title>{text[end:]}'


def escaped(text: str) -> str:
    for sign, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(sign, written)
    return text


def shown(text: str) -> str:
    """Return a name as matplotlib shows it: its dollars begin no formula."""
    return text.replace("$", r"\$")


def look(i: int, *, thin: bool = False) -> dict[str, Any]:
    return {
        "color": COLOURS[i % len(COLOURS)],
        "linestyle": STYLES[i // len(COLOURS) % len(STYLES)],
        "linewidth": 1.0 if thin else 1.8,
    }


def plain(axes: Axes, x: str, y: str, title: str = "") -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title, loc="left", fontsize=10.5)
    axes.grid(visible=True, which="major", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def legend(axes: Axes, columns: int = 1) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            frameon=False, fontsize=8.5, ncols=columns, loc="upper left", bbox_to_anchor=(1.01, 1)
        )
