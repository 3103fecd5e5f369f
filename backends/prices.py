"""The price book: what one machine costs an hour, by instance type, region and purchase option."""

from collections.abc import Mapping
from dataclasses import dataclass

from backends.profiles import Mark


@dataclass(frozen=True, slots=True)
class Price:
    """USD an hour for one machine, with the day it was true and who says so."""

    usd_per_hour: float
    as_of: str
    source: str
    mark: Mark


@dataclass(frozen=True, slots=True)
class PriceBook:
    version: str
    rows: Mapping[tuple[str, str, str], Price]  # instance, region, purchase
    compiled: Mapping[str, object]

    def find(self, instance: str, region: str, purchase: str) -> Price | None:
        return self.rows.get((instance, region, purchase))
