"""Text of a price file -> a price book, or every mistake with its file:line."""

from collections.abc import Iterator, Mapping
from typing import Any

import yamlfile
from backends import forms
from backends.content_hash import content_hash
from backends.prices import Pool, Price, PriceBook
from yamlfile import Document, Invalid, Path

Key = tuple[str, str, str]


def read(text: str, name: str) -> PriceBook:
    document = yamlfile.read(text, name, forms.PRICES)
    problems = [document.problem(path, said) for path, said in _problems(document)]
    if problems:
        raise Invalid(problems)
    value = document.value
    rates = {row["currency"]: row for row in value.get("exchange", ())}
    return PriceBook(
        content_hash(value),
        {_key(row): _price(row, rates) for row in value["prices"]},
        value,
        tuple(_pool(row) for row in value.get("pools", ())),
    )


def overlaid(packaged: PriceBook, own: PriceBook) -> PriceBook:
    """Return the packaged book with the user's rows, rates and pools in place of its own."""
    merged: dict[str, Any] = {"version": 1, "currency": "USD"}
    for part, key in (("exchange", "currency"), ("prices", None), ("pools", "id")):
        rows: dict[object, Mapping[str, Any]] = {}
        for book in (packaged, own):
            for row in _rows(book, part):
                rows[_key(row) if key is None else row[key]] = row
        if rows:
            merged[part] = list(rows.values())
    rates = {row["currency"]: row for row in merged.get("exchange", ())}
    return PriceBook(
        content_hash(merged),
        {_key(row): _price(row, rates) for row in merged["prices"]},
        merged,
        tuple({pool.id: pool for pool in (*packaged.pools, *own.pools)}.values()),
    )


def _rows(book: PriceBook, part: str) -> list[Mapping[str, Any]]:
    rows = book.compiled.get(part, [])
    assert isinstance(rows, list)
    return rows


def _problems(document: Document) -> Iterator[tuple[Path, str]]:
    value = document.value
    usd = {row["currency"]: row["usd"] for row in value.get("exchange", ())}
    rates = [row["currency"] for row in value.get("exchange", ())]
    for i, currency in enumerate(rates):
        if currency in rates[:i]:
            yield ("exchange", i), f"the rate of {currency} stands here twice"
        if currency == "USD":
            yield ("exchange", i), "USD needs no rate: it is what the others are turned into"
    seen: set[Key] = set()
    for i, row in enumerate(value["prices"]):
        at, key = ("prices", i), _key(row)
        if key in seen:
            yield at, f"price of {' / '.join(key)} stands here twice"
        seen.add(key)
        if ("usd_per_hour" in row) == ("per_hour" in row):
            yield at, "needs either `usd_per_hour`, or `per_hour` and `currency`"
        elif ("per_hour" in row) != ("currency" in row):
            yield at, "`per_hour` and `currency` go together"
        elif "currency" in row and row["currency"] not in rates:
            known = f" (known: {', '.join(rates)})" if rates else ""
            yield (*at, "currency"), f"no `exchange` rate of `{row['currency']}`{known}"
        elif "currency" in row and row["per_hour"] * usd[row["currency"]] > forms.USD_MOST:
            said = (
                f"{row['per_hour']:g} {row['currency']} are more than ${forms.USD_MOST:,} an hour"
            )
            yield (*at, "per_hour"), said
    yield from _wrong_pools(value)


def _wrong_pools(value: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    names = [row["id"] for row in value.get("pools", ())]
    for i, row in enumerate(value.get("pools", ())):
        if row["id"] in names[:i]:
            yield ("pools", i, "id"), f"pool `{row['id']}` stands here twice"
        pool = _pool(row)
        priced = [price for price in value["prices"] if price["purchase"] == "savings_plan"]
        if not any(pool.covers(price["instance"], price["region"]) for price in priced):
            said = f"pool {row['id']}: no `savings_plan` price of its families and regions"
            yield ("pools", i), f"{said}: what it covers can't be priced"


def _pool(row: Mapping[str, Any]) -> Pool:
    regions = tuple(row.get("regions", ()))
    return Pool(row["id"], row["usd_per_hour"], tuple(row["families"]), regions)


def _key(row: Mapping[str, Any]) -> Key:
    return row["instance"], row["region"], row["purchase"]


def _price(row: Mapping[str, Any], rates: Mapping[str, Mapping[str, Any]]) -> Price:
    if "usd_per_hour" in row:
        return Price(row["usd_per_hour"], row["as_of"], row["source"], row["mark"])
    rate = rates[row["currency"]]
    return Price(
        row["per_hour"] * rate["usd"],
        row["as_of"],
        f"{row['source']}; {row['currency']} at {rate['usd']:g} ({rate['source']})",
        row["mark"],
        row["currency"],
        row["per_hour"],
        rate["as_of"],
    )
