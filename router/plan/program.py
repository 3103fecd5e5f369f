"""A mixed-integer program as a value, and the port that solves it. Pure.

minimize cost x, with lower <= x <= upper, low <= A x <= high, and some x whole.
"""

import math
from dataclasses import dataclass, field
from typing import Literal, Protocol

Status = Literal["optimal", "infeasible", "stopped"]
INF = math.inf


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop, by what gives the same answer everywhere: no seconds. `gap` is relative."""

    gap: float = 1e-4
    nodes: int = 20_000


@dataclass(frozen=True, slots=True)
class Solution:
    """`stopped`: the best found within the limits, `gap` from the best possible. `duals`: of each
    row, what the optimum grows by for each unit that its bounds are raised by (programs without
    whole numbers only).
    """

    status: Status
    cost: float = 0.0
    values: tuple[float, ...] = ()
    duals: tuple[float, ...] = ()
    gap: float = 0.0


@dataclass(slots=True)
class Program:
    """Columns and rows, each named by its place."""

    cost: list[float] = field(default_factory=list)
    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)
    rows: list[dict[int, float]] = field(default_factory=list)

    def column(
        self, cost: float, lower: float = 0.0, upper: float = INF, *, whole: bool = False
    ) -> int:
        self.cost.append(cost)
        self.lower.append(lower)
        self.upper.append(upper)
        self.whole.append(whole)
        return len(self.cost) - 1

    def row(self, terms: dict[int, float], low: float = -INF, high: float = INF) -> int:
        self.rows.append(terms)
        self.low.append(low)
        self.high.append(high)
        return len(self.rows) - 1


class Solver(Protocol):
    """Whatever solves a program: the same program, the same solution."""

    def solve(self, program: Program, limits: Limits) -> Solution: ...
