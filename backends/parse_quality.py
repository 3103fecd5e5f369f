"""A row of a quality file -> its table, or the first mistake with its file:line."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from backends.quality import Curve, QualityTable
from yamlfile import Document, Invalid


def table(document: Document, i: int, row: Mapping[str, Any]) -> QualityTable:
    for key in ("scores", "curves"):
        if (row["by"] == key) != (key in row):
            said = f"quality table {row['id']}: `{key}` go with `by: {key}`, and only with it"
            raise Invalid([document.problem(("tables", i), said)])
    curves = {}
    for j, curve in enumerate(row.get("curves", ())):
        points = tuple((float(at), float(p)) for at, p in curve["points"])
        at = ("tables", i, "curves", j)
        for said in _wrong_curve(points):
            raise Invalid([document.problem(at, f"curve of task `{curve['task']}`: {said}")])
        if curve["task"] in curves:
            raise Invalid([document.problem(at, f"task `{curve['task']}` stands here twice")])
        curves[curve["task"]] = Curve(
            points, curve["mark"], curve.get("source", row["source"]), curve.get("labels", 0)
        )
    return QualityTable(row["id"], row["by"], row.get("scores", {}), row["source"], curves)


def _wrong_curve(points: Sequence[tuple[float, float]]) -> Iterator[str]:
    if any(later[0] <= sooner[0] for sooner, later in pairwise(points)):
        yield "complexity must rise from point to point"
    if any(later[1] > sooner[1] for sooner, later in pairwise(points)):
        yield "p must not rise with complexity"
