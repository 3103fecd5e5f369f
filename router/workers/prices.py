"""Each day: read the prices of the fleets' instances from the AWS Price List, for all routers.

What can't be read stays as it is, with its date: the metric PricesAgeDays tells the age of the
oldest price that a fleet has.
"""

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

from backends import files, parse_prices
from backends.catalogue import Catalogue
from backends.price_list import Listed, PricesNotRead, fetch, listed
from backends.price_rows import empty, refreshed, used, with_rates
from backends.prices import PriceBook
from router import price_item
from router.ledger.dynamo_table import Table
from router.price_item import PriceItem
from router.workers.kit import Answer, Event, Kit, opened
from router.workers.opening import ledger_of
from yamlfile import Invalid, Problem

NAME: Final = "the item CONFIG/prices"
MOST_BYTES: Final = 350_000  # DynamoDB takes items of 400 KB

Fetch = Callable[[str, str], list[str]]


@dataclass(frozen=True, slots=True)
class Refreshed:
    """`oldest_days`: of the fleets' prices; None: none has a date. `problems`: what wasn't read."""

    prices: int
    written: bool
    oldest_days: int | None
    problems: tuple[str, ...]


class Prices:
    """`fetch` reads an instance's products in a region; `now` is the wall clock."""

    def __init__(
        self, table: Table, catalogue: Catalogue, fetch: Fetch, now: Callable[[], float]
    ) -> None:
        self._table, self._catalogue = table, catalogue
        self._fetch, self._now = fetch, now

    def refresh(self) -> Refreshed:
        """Read and write once. Raises Overtaken, LedgerUnavailable."""
        before = price_item.read(self._table)
        own, problems = empty(), list[str]()
        if before is not None:
            try:
                own = parse_prices.read(before.text, NAME)
            except Invalid as exc:  # it is written anew, from what the list says
                problems.append(str(exc))
        own = with_rates(own, self._catalogue.price_book)
        found = self._found(problems)
        today, written = _day(self._now()), False
        if found:
            try:
                own, text = _with(own, found, today)
            except Invalid as exc:
                problems.append(f"not written: {exc}")
            else:
                item = PriceItem(text, own.version, int(self._now()))
                price_item.write(self._table, item, before)
                written = True
        book = parse_prices.overlaid(self._catalogue.price_book, own)
        oldest = oldest_days(self._catalogue, book, today)
        return Refreshed(len(found), written, oldest, tuple(problems))

    def _found(self, problems: list[str]) -> list[Listed]:
        found: list[Listed] = []
        for instance, region in used(self._catalogue):
            try:
                rows, said = listed(self._fetch(instance, region), instance, region)
            except PricesNotRead as exc:
                problems.append(f"{instance} in {region}: {exc}")
                continue
            found += rows
            problems += said
        return found


def oldest_days(catalogue: Catalogue, book: PriceBook, today: date) -> int | None:
    """Return the age of the oldest price that a fleet has in the book; None: none has a date."""
    pairs = set(used(catalogue))
    ages = [
        price.age_days(today)
        for (instance, region, _), price in book.rows.items()
        if (instance, region) in pairs
    ]
    return max((age for age in ages if age is not None), default=None)


def _with(own: PriceBook, found: Sequence[Listed], today: date) -> tuple[PriceBook, str]:
    text = refreshed(own, found, today, NAME)
    if len(text.encode()) > MOST_BYTES:
        raise Invalid([Problem(NAME, f"more than {MOST_BYTES} bytes")])
    return parse_prices.read(text, NAME), text


def _day(now_s: float) -> date:
    return datetime.fromtimestamp(now_s, UTC).date()


@functools.cache
def _open() -> tuple[Kit, Prices]:
    kit = opened("prices")
    fleets = kit.settings.fleets  # its own prices and rates lie beside it
    catalogue = files.catalogue(fleets, state=fleets.parent)
    return kit, Prices(ledger_of(kit.settings).table, catalogue, fetch, time.time)


def handler(_event: Event, _context: Any) -> Answer:  # noqa: ANN401 (Lambda's context)
    kit, prices = _open()
    with kit.told():
        done = prices.refresh()
        for problem in done.problems:
            kit.log.warning("a price stays as it is: %s", problem)
        if done.oldest_days is not None:
            kit.count("PricesAgeDays", done.oldest_days)
    return {"prices": done.prices, "written": done.written, "problems": len(done.problems)}
