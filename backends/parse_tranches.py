"""A fleet's purchase options in the catalogue: which keys go together. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from backends.prices import Price
from backends.tariff import BOUGHT_AHEAD, Tranche
from yamlfile import Fault, Path

BLOCK: Final = (
    "`purchase: [{option: capacity_block, reservation: cr-0123456789abcdef0, "
    "from: 2026-12-01T11:30:00Z, until: 2026-12-08T11:30:00Z}]`"
)


def tranche(part: Mapping[str, Any], price: Price | None) -> Tranche:
    return Tranche(
        part["option"],
        part.get("replicas"),
        price,
        part.get("reservation"),
        part.get("from"),
        part.get("until"),
    )


def wrong(row: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield where a fleet's tranches are wrong, and what is."""
    tranches = row.get("purchase")
    if not isinstance(tranches, list):
        if tranches == "capacity_block":
            yield from _lacking(row, ("purchase",), {})
        return
    if not tranches:
        yield ("purchase",), "needs a tranche"
    if any("replicas" not in part for part in tranches[:-1]):
        said = "every tranche but the last needs `replicas`: the rest goes to the last"
        yield ("purchase",), said
    if "usd_per_hour" in row:
        said = "tranches take their prices from the price book, not from `usd_per_hour`: "
        yield ("usd_per_hour",), said + _price_book(row, [part["option"] for part in tranches])
    for i, part in enumerate(tranches):
        yield from _wrong(("purchase", i), part)
        if part["option"] == "capacity_block":
            yield from _lacking(row, ("purchase", i, "option"), part)


def _lacking(row: Mapping[str, Any], at: Path, part: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what a Capacity Block lacks that a stage shall use: one that is called has it."""
    lacks = [f"`{key}`" for key in ("reservation", "from", "until") if key not in part]
    if not lacks or row.get("runs", {}).get("on") not in ("ecs", "eks"):
        return
    said = f"a Capacity Block needs {', '.join(lacks)}: write {BLOCK}"
    if not part and "usd_per_hour" in row:  # the list would be refused beside it
        said = f"{said}, and its price elsewhere: {_price_book(row, ['capacity_block'])}"
    yield at, said


def _price_book(row: Mapping[str, Any], options: Sequence[str]) -> str:
    """Return how to say the prices of these options where they are looked for."""
    keys = " and ".join(f"`{key}`" for key in ("usd_per_hour", "price_source") if key in row)
    rows = ", ".join(
        f"{{instance: {row['instance']}, region: {row['region']}, purchase: {option}, "
        f"usd_per_hour: {row['usd_per_hour']}, as_of: 2026-11-01, source: ours, mark: stated}}"
        for option in dict.fromkeys(options)
    )
    whole = f"`{{version: 1, currency: USD, prices: [{rows}]}}`"
    return f"leave out {keys}, and write prices.yaml beside fleets.yaml, as {whole}"


def _wrong(at: Path, part: Mapping[str, Any]) -> Iterator[Fault]:
    option = part["option"]
    if "reservation" in part and option not in BOUGHT_AHEAD:
        known = " and ".join(f"`{name}`" for name in sorted(BOUGHT_AHEAD))
        yield (*at, "reservation"), f"`reservation` goes with {known}, not with `{option}`"
    times = {key: part[key] for key in ("from", "until") if key in part}
    if option != "capacity_block":
        for key in times:
            yield (*at, key), f"`{key}` goes with `capacity_block`, not with `{option}`"
        return
    real = {key: found for key, text in times.items() if (found := _time(text)) is not None}
    for key in times.keys() - real.keys():
        yield (*at, key), f"`{times[key]}` is no time (as 2026-12-01T11:30:00Z)"
    if len(real) == len(("from", "until")) and real["until"] <= real["from"]:
        said = f"the block ends at {times['until']}, before it begins at {times['from']}"
        yield (*at, "until"), said


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
