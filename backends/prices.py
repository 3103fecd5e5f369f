"""The price book: what one machine costs an hour, by instance type, region and purchase option."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from backends.points import Mark


@dataclass(frozen=True, slots=True)
class Price:
    """USD an hour for one machine, with the day it was true and who says so.

    A price in another currency keeps it (`currency`, `per_hour`), and the day of the rate it was
    converted with.
    """

    usd_per_hour: float
    as_of: str
    source: str
    mark: Mark
    currency: str = "USD"
    per_hour: float | None = None
    rate_as_of: str | None = None

    def age_days(self, today: date) -> int | None:
        """Return how old the older of price and exchange rate is; None: it has no date."""
        dates = [day for day in (self.as_of, self.rate_as_of) if day]
        return (today - date.fromisoformat(min(dates))).days if self.as_of else None


@dataclass(frozen=True, slots=True)
class Pool:
    """A savings plan: a commitment of USD an hour, paid always, for machines of some families.

    What it covers is priced by their `savings_plan` rows.
    """

    id: str
    usd_per_hour: float
    families: tuple[str, ...]
    regions: tuple[str, ...]  # none: all

    def covers(self, instance: str, region: str) -> bool:
        return family(instance) in self.families and (not self.regions or region in self.regions)


@dataclass(frozen=True, slots=True)
class PriceBook:
    version: str
    rows: Mapping[tuple[str, str, str], Price]  # instance, region, purchase
    compiled: Mapping[str, object]
    pools: tuple[Pool, ...] = ()

    def find(self, instance: str, region: str, purchase: str) -> Price | None:
        return self.rows.get((instance, region, purchase))


def family(instance: str) -> str:
    """Return ``c8g`` of ``c8g.xlarge`` and of ``ml.c8g.xlarge``."""
    return instance.removeprefix("ml.").partition(".")[0]


def partition(region: str) -> str:
    """Return the AWS partition of a region: its own prices, currency and endpoints."""
    return "aws-cn" if region.startswith("cn-") else "aws"
