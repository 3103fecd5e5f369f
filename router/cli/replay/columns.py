"""Cells of a replay's tables: a column of money has one number of decimals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from router.finops.money import decimals_of
from router.replay.summary import NANO

LEAST_DECIMALS: Final = 4


@dataclass(frozen=True, slots=True)
class Usd:
    """An amount of which the column says how many decimals it has."""

    value: float | None


Cell = str | Usd


def written(rows: Sequence[Sequence[Cell]]) -> list[tuple[str, ...]]:
    """Return the rows as texts: a column of money has one number of decimals, in which its smallest
    amount still shows.
    """
    return list(zip(*map(_column, zip(*rows, strict=True)), strict=True))


def _column(cells: Sequence[Cell]) -> list[str]:
    known = [cell.value for cell in cells if isinstance(cell, Usd) and cell.value is not None]
    digits = max(LEAST_DECIMALS, decimals_of(round(value * NANO) for value in known))
    return [cell if isinstance(cell, str) else _usd(cell.value, digits) for cell in cells]


def _usd(value: float | None, digits: int) -> str:
    return "unknown" if value is None else f"{value:,.{digits}f}"
