"""What can be bought: machines with the fleets on them, and their prices by purchase option. Pure.

Fleets of one `host` come together: a machine carries a replica of each, and costs the sum of
their shares.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from backends.catalogue import Catalogue, Fleet
from backends.prices import Pool
from backends.tariff import BOUGHT_AHEAD

FIXED: Final = BOUGHT_AHEAD | {"savings_plan"}  # paid over the whole time, used or not
BOOK: Final = ("reserved", "capacity_block", "savings_plan", "on_demand", "spot")
SPOT: Final = "spot"
MOST: Final = 64  # machines of a kind that a plan counts to


@dataclass(frozen=True, slots=True)
class Offer:
    """USD an hour of one machine; `most` None: as many as the fleet may have."""

    option: str
    usd_per_hour: float
    most: int | None = None

    @property
    def fixed(self) -> bool:
        return self.option in FIXED


@dataclass(frozen=True, slots=True)
class Unit:
    """Machines of one kind: the fleets on each, and what they may be bought by, fixed first.

    `start_hours`: hours that are paid for a start before and beyond the hour it is for.
    `plan_usd`: per machine in a savings plan that exists; None: none covers it.
    """

    id: str
    fleets: tuple[str, ...]
    offers: tuple[Offer, ...]
    least: int
    most: int
    wake_s: float = 0.0
    min_run_s: float = 0.0
    plan_usd: float | None = None
    pools: tuple[str, ...] = ()

    @property
    def start_hours(self) -> float:
        return (self.wake_s + max(0.0, self.min_run_s - 3600.0)) / 3600.0

    def spot_worth(self, interruptions_per_hour: float) -> float:
        """Return what a Spot machine counts for, as it is away while another starts."""
        return max(0.0, 1.0 - interruptions_per_hour * self.wake_s / 3600.0)


@dataclass(frozen=True, slots=True)
class Market:
    """`left_out`: fleets that can't be planned, each with the reason."""

    units: tuple[Unit, ...]
    left_out: tuple[tuple[str, str], ...]
    pools: tuple[Pool, ...] = ()


def market(catalogue: Catalogue, *, from_zero: bool = False) -> Market:
    """Return what the catalogue's fleets can be bought by, on the prices of its book."""
    groups: dict[str, list[Fleet]] = {}
    left_out = []
    for fleet in catalogue.fleets:
        reason = _unfit(fleet, _offers(fleet, catalogue))
        if reason is not None:
            left_out.append((fleet.id, reason))
        else:
            groups.setdefault(fleet.host or f"fleet {fleet.id}", []).append(fleet)
    units = tuple(_unit(fleets, catalogue) for fleets in groups.values())
    if from_zero:
        units = tuple(replace(unit, least=0) for unit in units)
    return Market(units, tuple(left_out), catalogue.price_book.pools)


def _unfit(fleet: Fleet, offers: Iterable[Offer]) -> str | None:
    if fleet.profile is None:
        return "it has no profile, so its times are unknown"
    if fleet.profile.surface.law is None:
        return f"profile {fleet.profile.id} says nothing of TTFT"
    if not any(offers):
        return "its price is unknown"
    return None


def _offers(fleet: Fleet, catalogue: Catalogue) -> list[Offer]:
    """Return the fleet's own tranches, then what the price book has beside them."""
    found: dict[str, Offer] = {}
    for tranche in fleet.tariff.tranches:
        price = tranche.price
        if price is not None and tranche.option not in found:
            limit = tranche.replicas if tranche.option in BOUGHT_AHEAD else None
            found[tranche.option] = Offer(tranche.option, price.usd_per_hour, limit)
    own = next(row for row in _rows(catalogue) if row["id"] == fleet.id)
    for option in () if "usd_per_hour" in own else BOOK:  # an own price is the only one there is
        row = catalogue.price_book.find(fleet.instance, fleet.region, option)
        if row is not None and option not in found:
            found[option] = Offer(option, row.usd_per_hour)
    return sorted(found.values(), key=lambda offer: (not offer.fixed, BOOK.index(offer.option)))


def _rows(catalogue: Catalogue) -> Sequence[Mapping[str, Any]]:
    return cast("Sequence[Mapping[str, Any]]", catalogue.compiled["fleets"])


def _unit(fleets: list[Fleet], catalogue: Catalogue) -> Unit:
    first = fleets[0]
    share = sum(fleet.host_share for fleet in fleets)
    offers = tuple(
        replace(offer, usd_per_hour=offer.usd_per_hour * share)
        for offer in _offers(first, catalogue)
    )
    plan = catalogue.price_book.find(first.instance, first.region, "savings_plan")
    pools = catalogue.price_book.pools
    return Unit(
        first.id if len(fleets) == 1 else str(first.host),
        tuple(fleet.id for fleet in fleets),
        offers,
        max(fleet.replicas.min for fleet in fleets),
        min(MOST, *(fleet.replicas.max for fleet in fleets)),
        float(max(fleet.wake_seconds or 0 for fleet in fleets)),
        float(max(fleet.min_run_seconds or 0 for fleet in fleets)),
        None if plan is None else plan.usd_per_hour * share,
        tuple(pool.id for pool in pools if pool.covers(first.instance, first.region)),
    )
