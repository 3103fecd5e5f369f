"""A price file as a refresh from AWS's list keeps it: rows that were read take the place of old
ones, everything else in it stays. Pure.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Final

import yaml

from backends import parse_prices
from backends.catalogue import Catalogue
from backends.price_list import SOURCE, Listed
from backends.prices import PriceBook

Row = dict[str, Any]
HEAD: Final = (
    "# Prices that go before the packaged ones. `sluice fleet prices refresh` keeps this file.\n"
)
LOCAL: Final = "local"  # a region that is none of AWS's


def empty() -> PriceBook:
    """Return a book without a price, to begin with."""
    return PriceBook("", {}, {"version": 1, "currency": "USD", "prices": []})


def used(catalogue: Catalogue) -> list[tuple[str, str]]:
    """Return the instance types of the fleets, each with its region, that AWS has a price of."""
    pairs = dict.fromkeys((fleet.instance, fleet.region) for fleet in catalogue.fleets)
    return [pair for pair in pairs if pair[1] != LOCAL]


def with_rates(own: PriceBook, book: PriceBook) -> PriceBook:
    """Return the own book with the exchange rates of both, of each currency the newer one: AWS's
    list of China is in CNY, and its prices are read by a rate that stands beside them.
    """
    rates: dict[str, Row] = {}
    for row in (*_rates(book), *_rates(own)):
        known = rates.get(row["currency"])
        if known is None or row["as_of"] >= known["as_of"]:
            rates[row["currency"]] = row
    return replace(own, compiled={**own.compiled, "exchange": list(rates.values())})


def _rates(book: PriceBook) -> list[Row]:
    rows = book.compiled.get("exchange", [])
    assert isinstance(rows, list)
    return rows


def refreshed(own: PriceBook, found: Sequence[Listed], today: date, name: str) -> str:
    """Return the file's text with what was found. Raises yamlfile.Invalid: it would not read."""
    value: dict[str, Any] = dict(own.compiled)
    kept = {_key(row): row for row in value["prices"]}
    kept.update({_key(row): row for row in (_row(price, today) for price in found)})
    value["prices"] = list(kept.values())
    text = HEAD + yaml.safe_dump(value, sort_keys=False, default_flow_style=None, width=200)
    parse_prices.read(text, name)
    return text


def _row(price: Listed, today: date) -> Row:
    paid: Row = {"usd_per_hour": price.per_hour}
    if price.currency != "USD":
        paid = {"per_hour": price.per_hour, "currency": price.currency}
    return {
        "instance": price.instance,
        "region": price.region,
        "purchase": price.purchase,
        **paid,
        "as_of": today.isoformat(),
        "source": SOURCE,
        "mark": "stated",
    }


def _key(row: Row) -> tuple[str, str, str]:
    return row["instance"], row["region"], row["purchase"]
