"""``sluice fleet prices``: show the price book, or read it anew from AWS."""

import contextlib
import os
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click
import orjson

from backends import files, parse_prices, price_rows
from backends.audit import MAX_PRICE_AGE_DAYS
from backends.price_list import Listed, PricesNotRead, fetch, listed
from backends.prices import PriceBook
from router.cli import options
from router.cli.cited import legend
from router.cli.errors import FAILED, Ends, told
from router.cli.table import grid
from yamlfile import Invalid

Row = dict[str, Any]


@click.group("prices", invoke_without_command=True)
@options.state
@options.as_json
@click.pass_context
def command(context: click.Context, state: Path, as_json: bool) -> None:
    """Show the price book, or refresh it from AWS."""
    if context.invoked_subcommand is None:
        context.invoke(show, state=state, as_json=as_json)


@command.command("show")
@click.option("--region", "regions", multiple=True, help="Of this region only; repeat.")
@click.option("--instance", "instances", multiple=True, help="Of this instance type only; repeat.")
@options.state
@options.as_json
def show(
    state: Path,
    as_json: bool,
    regions: tuple[str, ...] = (),
    instances: tuple[str, ...] = (),
) -> None:
    """Show every price with its age and who says so."""
    with told():
        book = files.library(state).prices
        own = _own(state)
    today = _today()
    rows: list[Row] = [
        {
            "instance": instance,
            "region": region,
            "purchase": purchase,
            "usd_per_hour": price.usd_per_hour,
            "age_days": price.age_days(today),
            "as_of": price.as_of,
            "mark": price.mark,
            "source": price.source,
            "own": (instance, region, purchase) in own.rows,
        }
        for (instance, region, purchase), price in book.rows.items()
        if (not regions or region in regions) and (not instances or instance in instances)
    ]
    if as_json:
        pools = [{"id": p.id, "usd_per_hour": p.usd_per_hour} for p in book.pools]
        click.echo(orjson.dumps({"version": book.version, "prices": rows, "pools": pools}))
        return
    head = ("instance", "region", "purchase", "$/h", "days old", "mark", "source")
    cells = [
        (
            row["instance"],
            row["region"],
            row["purchase"],
            f"{row['usd_per_hour']:.5g}",
            f"{row['age_days']:,}",
            row["mark"],
            row["source"] + (" (yours)" if row["own"] else ""),
        )
        for row in rows
    ]
    left = {"instance", "region", "purchase", "mark", "source"}
    click.echo(grid(head, cells, left=left) if cells else "no price matches")
    if named := legend((row["source"] for row in rows), prices=True):
        click.echo(f"{named}\n")
    for pool in book.pools:
        where = ", ".join(pool.regions) or "all regions"
        click.echo(f"savings plan {pool.id}: ${pool.usd_per_hour:g}/h over "
                   f"{', '.join(pool.families)} in {where}")  # fmt: skip
    old = [row for row in rows if (row["age_days"] or 0) > MAX_PRICE_AGE_DAYS]
    if old:
        click.echo(
            f"{len(old)} of {len(rows)} are older than {MAX_PRICE_AGE_DAYS} days: "
            "`sluice fleet prices refresh`, or write them into "
            f"{files.own_prices(state)}"
        )


@command.command("refresh")
@click.option("--region", "regions", multiple=True, help="In this region; repeat.")
@click.option("--instance", "instances", multiple=True, help="Of this instance type; repeat.")
@options.fleets
@options.state
@options.as_json
def refresh(
    regions: tuple[str, ...],
    instances: tuple[str, ...],
    fleets: Path | None,
    state: Path,
    as_json: bool,
) -> None:
    """Read on-demand and one-year reserved prices from the AWS Price List; without --instance and
    --region those of the fleets. What can't be read stays as it is.
    """
    with told():
        shelf = files.library(state)
        catalogue = files.catalogue(fleets, state)
        own = _own(state)
    used = dict.fromkeys((fleet.instance, fleet.region) for fleet in catalogue.fleets)
    wanted = [
        (instance, region)
        for instance in instances or dict.fromkeys(instance for instance, _ in used)
        for region in regions or dict.fromkeys(region for _, region in used)
        if region != price_rows.LOCAL and (instances or regions or (instance, region) in used)
    ]
    if not wanted:
        raise Ends("nothing to read: no fleet is in an AWS region (give --instance and --region)")
    found: list[Listed] = []
    problems: list[str] = []
    for n, (instance, region) in enumerate(wanted, 1):
        click.echo(f"{n}/{len(wanted)} {instance} in {region}", err=True)
        try:
            rows, said = listed(fetch(instance, region), instance, region)
        except PricesNotRead as exc:
            raise Ends(_kept(str(exc), shelf.prices), FAILED) from None
        found += rows
        problems += said
    _report(found, problems, shelf.prices, own, state, as_json=as_json)


def _report(
    found: Sequence[Listed],
    problems: Sequence[str],
    book: PriceBook,
    own: PriceBook,
    state: Path,
    *,
    as_json: bool,
) -> None:
    """Write what was found, and tell every change."""
    changes = []
    for price in found:
        old = book.find(price.instance, price.region, price.purchase)
        known = None if old is None else (old.per_hour or old.usd_per_hour)
        changes.append((price, known))
    path = files.own_prices(state)
    if found:
        with told():
            try:
                _write(path, own, found)
            except Invalid as exc:
                raise Ends(f"not written, the prices stay as they are: {exc}", FAILED) from None
    if as_json:
        rows = [
            {"instance": p.instance, "region": p.region, "purchase": p.purchase,
             "per_hour": p.per_hour, "currency": p.currency, "before": known}
            for p, known in changes
        ]  # fmt: skip
        written = str(path) if found else None
        click.echo(orjson.dumps({"prices": rows, "problems": list(problems), "written": written}))
    else:
        for price, known in changes:
            where = f"{price.instance} in {price.region}, {price.purchase}"
            now = f"{price.per_hour:g} {price.currency}/h"
            click.echo(f"{where}: {_change(price.per_hour, known)}{now}")
        if found:
            click.echo(f"written: {path}")
    for problem in problems:
        click.echo(f"warning: {problem}", err=True)
    if not found:
        raise SystemExit(FAILED)


def _change(now: float, before: float | None) -> str:
    if before is None:
        return "new, "
    return "unchanged, " if now == before else f"{before:g} -> {now / before - 1:+.1%}, "


def _own(state: Path) -> PriceBook:
    path = files.own_prices(state)
    if not path.exists():
        return price_rows.empty()
    source = files.on_disk(path)
    return parse_prices.read(source.text, source.name)


def _write(path: Path, own: PriceBook, found: Sequence[Listed]) -> None:
    """Replace the file whole, if it reads back: rates and pools in it stay."""
    text = price_rows.refreshed(own, found, _today(), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, "utf-8")
        part.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()


def _kept(why: str, book: PriceBook) -> str:
    """Say what failed, and how old what stays in use is."""
    ages = [price.age_days(_today()) for price in book.rows.values()]
    known = [age for age in ages if age is not None]
    if not known:
        return why
    return f"{why}; the prices stay as they are, {min(known)} to {max(known)} days old"


def _today() -> date:
    return datetime.now(UTC).date()
