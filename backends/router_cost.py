"""What the router itself costs a request, by where it runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import yamlfile
from backends import forms
from backends.points import Mark
from yamlfile import Invalid, suggest

GB_SECOND: Final = "GB-second"


@dataclass(frozen=True, slots=True)
class Line:
    """`quantity` units are used per request, or per second that a request is open."""

    what: str
    per: Literal["request", "second"]
    quantity: float
    unit: str
    usd_per_unit: float
    as_of: str
    source: str
    mark: Mark


@dataclass(frozen=True, slots=True)
class RouterCost:
    """`place`: where the router runs. Its lines stand in ``backends/data/router.yaml``."""

    place: str
    lines: tuple[Line, ...]
    usd_per_request: float
    usd_per_second: float

    def usd(self, e2e_ms: float | None) -> float:
        """Return the cost of a request that is open so long; unknown time: of its fixed part."""
        if e2e_ms is None:
            return self.usd_per_request
        return self.usd_per_request + self.usd_per_second * e2e_ms / 1000


LOCAL = RouterCost("local", (), 0.0, 0.0)


def read(text: str, name: str, place: str, memory_gb: float | None = None) -> RouterCost:
    """Return the costs of this place; raise yamlfile.Invalid for a wrong file or place.

    `memory_gb`: what it has of memory, where that is paid for by the second; None: the file's.
    """
    document = yamlfile.read(text, name, forms.ROUTER)
    places = {row["id"]: i for i, row in enumerate(document.value["places"])}
    if place not in places:
        said = f"unknown place `{place}` {suggest(place, places)}"
        raise Invalid([document.problem(("places",), said)])
    row = document.value["places"][places[place]]
    return of(row if memory_gb is None else _sized(row, memory_gb))


def places(text: str, name: str) -> list[str]:
    """Return the places that the file knows; raise yamlfile.Invalid."""
    return [row["id"] for row in yamlfile.read(text, name, forms.ROUTER).value["places"]]


def _sized(row: Mapping[str, Any], memory_gb: float) -> Mapping[str, Any]:
    lines = [
        {**line, "quantity": memory_gb, "mark": "stated"} if line["unit"] == GB_SECOND else line
        for line in row["lines"]
    ]
    return {**row, "lines": lines}


def of(row: Mapping[str, Any]) -> RouterCost:
    """Return the costs of a place as the file (or a stored version) has it."""
    lines = tuple(Line(**line) for line in row["lines"])
    cost = {"request": 0.0, "second": 0.0}
    for line in lines:
        cost[line.per] += line.quantity * line.usd_per_unit
    return RouterCost(row["id"], lines, cost["request"], cost["second"])
