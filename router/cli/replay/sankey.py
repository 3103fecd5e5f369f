"""Which requests went where: bands from tasks over rules to fleets, as wide as they are many."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path

from router.cli.fleet.pictures import COLOURS
from router.cli.replay.drawing import GREY, figure, shown
from router.replay.summary import Flow

MOST_NODES = 10  # of one column; the smallest become one
OTHERS = "others"
GAP = 0.025  # between two nodes, of the whole height
WIDTH = 0.02
Way = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Node:
    """One name of a column: where its bar stands, from 0 (top) to 1."""

    column: int
    name: str
    top: float
    height: float
    requests: int


def sankey(flows: Sequence[Flow], order: Sequence[str]) -> Figure:
    """Draw task -> rule -> fleet; `order` of the fleets gives them their colours."""
    ways = merged(flows)
    nodes = placed(ways)
    of = figure(10, max(3.2, 0.42 * max(_rows(nodes), default=0) + 1.2))
    axes = of.subplots()
    axes.set_axis_off()
    axes.set_xlim(-0.32, 2.36)
    axes.set_ylim(1.02, -0.07)
    fleets = {name: i for i, name in enumerate(order)}
    _bands(axes, ways, nodes, fleets)
    for node in nodes.values():
        _bar(axes, node, fleets)
    for column, head in enumerate(("task (tier)", "rule", "fleet")):
        align = ("right", "center", "left")[column]
        axes.text(column, -0.04, head, ha=align, va="bottom", fontsize=10, fontweight="bold")
    return of


def merged(flows: Sequence[Flow]) -> Mapping[Way, int]:
    """Return requests by way, the smallest names of each column taken together."""
    ways: Counter[Way] = Counter()
    for flow in flows:
        ways[f"{flow.task} ({flow.tier})", flow.rule, flow.fleet] += flow.requests
    for column in range(3):
        sums: Counter[str] = Counter()
        for way, requests in ways.items():
            sums[way[column]] += requests
        ordered = sorted(sums, key=lambda name: (-sums[name], name))
        kept = set(ordered if len(ordered) <= MOST_NODES else ordered[: MOST_NODES - 1])
        again: Counter[Way] = Counter()
        for way, requests in ways.items():
            again[_renamed(way, column, kept)] += requests
        ways = again
    return ways


def _renamed(way: Way, column: int, kept: set[str]) -> Way:
    first, second, third = (
        name if place != column or name in kept else OTHERS for place, name in enumerate(way)
    )
    return first, second, third


def placed(ways: Mapping[Way, int]) -> dict[tuple[int, str], Node]:
    """Return where every name stands: in each column the most requests on top."""
    total = sum(ways.values())
    found: dict[tuple[int, str], Node] = {}
    for column in range(3):
        sums: Counter[str] = Counter()
        for way, requests in ways.items():
            sums[way[column]] += requests
        top, room = 0.0, 1 - GAP * (len(sums) - 1)
        for name in sorted(sums, key=lambda name: (-sums[name], name)):
            height = room * sums[name] / total
            found[column, name] = Node(column, name, top, height, sums[name])
            top += height + GAP
    return found


def _rows(nodes: Mapping[tuple[int, str], Node]) -> list[int]:
    return [sum(node.column == column for node in nodes.values()) for column in range(3)]


def _bands(
    axes: Axes,
    ways: Mapping[Way, int],
    nodes: Mapping[tuple[int, str], Node],
    fleets: Mapping[str, int],
) -> None:
    """Draw a band for each two neighbours of a way, in the colour of the fleet that it ends at."""
    order = {key: place for place, key in enumerate(nodes)}
    used: Counter[tuple[int, str, int]] = Counter()
    for side in (0, 1):
        pairs = sorted(
            ways.items(),
            key=lambda each: (order[side, each[0][side]], order[side + 1, each[0][side + 1]],
                              order[2, each[0][2]], order[0, each[0][0]]),
        )  # fmt: skip
        starts: dict[Way, float] = {}
        for way, requests in pairs:
            starts[way] = _taken(nodes[side, way[side]], used, side, requests)
        pairs.sort(
            key=lambda each: (order[side + 1, each[0][side + 1]], order[side, each[0][side]],
                              order[2, each[0][2]], order[0, each[0][0]])
        )  # fmt: skip
        for way, requests in pairs:
            left, right = nodes[side, way[side]], nodes[side + 1, way[side + 1]]
            end = _taken(right, used, side, requests)
            tall = left.height * requests / left.requests, right.height * requests / right.requests
            _band(axes, side, (starts[way], end), tall, _colour(way[2], fleets))


def _taken(node: Node, used: Counter[tuple[int, str, int]], side: int, requests: int) -> float:
    """Return where on the node's bar so many requests begin, and count them as placed."""
    key = node.column, node.name, side
    begins = node.top + node.height * used[key] / node.requests
    used[key] += requests
    return begins


def _band(
    axes: Axes, side: int, tops: tuple[float, float], tall: tuple[float, float], colour: str
) -> None:
    x0, x1 = side + WIDTH, side + 1 - WIDTH
    middle = (x0 + x1) / 2
    (y0, y1), (h0, h1) = tops, tall
    points = [(x0, y0), (middle, y0), (middle, y1), (x1, y1), (x1, y1 + h1),
              (middle, y1 + h1), (middle, y0 + h0), (x0, y0 + h0), (x0, y0)]  # fmt: skip
    curve = [Path.CURVE4] * 3
    codes = [Path.MOVETO, *curve, Path.LINETO, *curve, Path.CLOSEPOLY]
    axes.add_patch(PathPatch(Path(points, codes), facecolor=colour, alpha=0.42, linewidth=0))


def _bar(axes: Axes, node: Node, fleets: Mapping[str, int]) -> None:
    colour = _colour(node.name, fleets) if node.column == 2 else "#444444"  # noqa: PLR2004
    at = node.column - WIDTH
    axes.add_patch(Rectangle((at, node.top), 2 * WIDTH, node.height, facecolor=colour, linewidth=0))
    said = shown(f"{node.name}  {node.requests:,}")
    y = node.top + node.height / 2
    x = at - 0.02 if node.column == 0 else node.column + WIDTH + 0.02
    axes.text(x, y, said, ha="right" if node.column == 0 else "left", va="center", fontsize=8.5)


def _colour(fleet: str, fleets: Mapping[str, int]) -> str:
    return COLOURS[fleets[fleet] % len(COLOURS)] if fleet in fleets else GREY
