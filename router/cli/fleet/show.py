"""``sluice fleet show``: what fleets cost and how fast they are, as tables and pictures."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import orjson

from backends import cost, files
from backends.break_even import Crossing, Economy, crossings, economy
from backends.catalogue import Catalogue
from backends.fleet_model import FleetModel, prepare
from backends.load import Load
from router.cli import options
from router.cli.cited import legend
from router.cli.errors import INVALID, REFUSED, Ends, told
from router.cli.fleet.lengths import LENGTHS, Lengths
from router.cli.table import grid
from yamlfile import suggest

PICTURES = (".svg", ".png")


@click.command("show")
@click.argument("names", nargs=-1, metavar="[FLEET]...")
@click.option(
    "--tokens",
    type=LENGTHS,
    default="200+200",
    show_default=True,
    metavar="IN+OUT",
    help="Lengths of the requests that times and costs are shown for.",
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw TTFT, ITL, tokens/s and $/1M over concurrency (.svg or .png).",
)
@click.option(
    "--break-even",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw $ per 1,000 requests over requests/hour, with the crossings (.svg or .png).",
)
@options.fleets
@options.state
@options.router_on
@options.as_json
def command(
    names: tuple[str, ...],
    tokens: Lengths,
    plot: Path | None,
    break_even: Path | None,
    fleets: Path | None,
    state: Path,
    router_on: str,
    as_json: bool,
) -> None:
    """Show FLEETs (without any: all): price, capacity, curves, and where they break even."""
    with told():
        catalogue = files.catalogue(fleets, state, router_on)
    chosen = _chosen(catalogue, names)
    economies = [e for e in (economy(on, *tokens) for on in chosen) if e is not None]
    crossed = list(crossings(economies))
    if as_json:
        shown = [_json(on, tokens) for on in chosen]
        found = {
            "fleets": shown,
            "tokens": {"in": tokens[0], "out": tokens[1]},
            "break_even": [asdict(crossing) for crossing in crossed],
        }
        click.echo(orjson.dumps(found))
    else:
        _print(catalogue, chosen, tokens, economies, crossed, whole=bool(names))
    for path in (plot, break_even):
        if path is not None and path.suffix not in PICTURES:
            raise Ends(f"{path}: a picture is .svg or .png", INVALID)
    if plot is not None or break_even is not None:
        with told():
            _draw(chosen, tokens, economies, plot, break_even)


def _chosen(catalogue: Catalogue, names: Sequence[str]) -> list[FleetModel]:
    known = {fleet.id: fleet for fleet in catalogue.fleets}
    for name in names:
        if name not in known:
            raise Ends(f"unknown fleet `{name}` {suggest(name, known)}", INVALID)
    return [prepare(known[name]) for name in names or known]


def _draw(
    chosen: Sequence[FleetModel],
    tokens: Lengths,
    economies: Sequence[Economy],
    plot: Path | None,
    break_even: Path | None,
) -> None:
    try:
        from router.cli.fleet import pictures  # noqa: PLC0415  (matplotlib is optional, and slow)
    except ImportError:
        said = "plots need matplotlib: install `sluice[plot]`, or `pip install matplotlib`"
        raise Ends(said, REFUSED) from None
    if plot is not None:
        pictures.curves(chosen, tokens, plot)
        click.echo(f"drawn: {plot}", err=True)
    if break_even is not None:
        pictures.break_even(economies, tokens, break_even)
        click.echo(f"drawn: {break_even}", err=True)


# -- tables ----------------------------------------------------------------------------------------


def _print(
    catalogue: Catalogue,
    chosen: Sequence[FleetModel],
    tokens: Lengths,
    economies: Sequence[Economy],
    crossed: Sequence[Crossing],
    *,
    whole: bool,
) -> None:
    head = (
        "fleet",
        "instance",
        "region",
        "$/h",
        "as of",
        "streams",
        "tok/s",
        "$/1M in",
        "$/1M out",
    )
    click.echo(grid(head, [_row(on) for on in chosen], left={"fleet", "instance", "region"}))
    click.echo("tok/s and $/1M at capacity, of one replica\n")
    if whole:
        for on in chosen:
            click.echo(_about(on))
            click.echo(_curve(on, tokens) + "\n")
    router = catalogue.router
    click.echo(
        f"the router ({router.place}): ${router.usd_per_request * 1e6:.2f} per 1M requests "
        f"+ ${router.usd_per_second * 3600:.4f} per hour that one is open"
    )
    click.echo(_crossings(economies, crossed, tokens))
    shown = [s.source for on in chosen for s in (on.fleet.price, on.fleet.profile) if s is not None]
    if named := legend(shown, prices=True):
        click.echo(f"\n{named}")


def _row(on: FleetModel) -> tuple[str, ...]:
    fleet, profile = on.fleet, on.fleet.profile
    card = on.card
    return (
        fleet.id,
        fleet.instance,
        fleet.region,
        "unknown" if on.usd_per_hour is None else f"{on.usd_per_hour:.5g}",
        "" if fleet.price is None else fleet.price.as_of or "no date",
        f"{on.capacity:,.0f}",
        "unknown" if profile is None else f"{profile.speed(on.capacity).tok_s:,.0f}",
        "unknown" if card is None else f"{card.nano_per_mtok_in / cost.NANO:.4f}",
        "unknown" if card is None else f"{card.nano_per_mtok_out / cost.NANO:.4f}",
    )


def _about(on: FleetModel) -> str:
    fleet, profile = on.fleet, on.fleet.profile
    lines = [f"{fleet.id}: {fleet.model.id} on {fleet.instance} with {fleet.engine}"]
    if fleet.price is not None:
        price = fleet.price
        lines.append(f"  price    ${price.usd_per_hour:g}/h, {price.mark}, {price.source}")
    if profile is not None:
        date = f", {profile.date}" if profile.date else ""
        lines.append(f"  profile  {profile.id}, {profile.mark}, {profile.source}{date}")
    if fleet.wake_seconds is not None and on.usd_per_hour is not None:
        run = fleet.min_run_seconds or 0
        usd = cost.wake_usd_per_request(on.usd_per_hour, fleet.wake_seconds, run, None)
        lines.append(f"  waking   {fleet.wake_seconds} s + at least {run} s: ${usd:.2f}")
    lines.append(f"  marks    {', '.join(on.marks)}")
    return "\n".join(lines)


def levels(on: FleetModel) -> list[int]:
    """Return the loads that are worth showing: one stream, what was measured, and capacity."""
    profile = on.fleet.profile
    measured = [level for level, _ in profile.surface.levels] if profile else []
    wanted = {1, round(on.capacity), *(round(level) for level in measured if level <= on.capacity)}
    return sorted(max(1, level) for level in wanted)


def _curve(on: FleetModel, tokens: Lengths) -> str:
    head = (
        "streams",
        "tok/s",
        "ITL ms",
        "TTFT p50",
        "TTFT p95",
        "e2e p95",
        "$/1M out",
        "$/request",
    )
    rows = []
    for point in _points(on, tokens):
        cells = (
            f"{point['streams']:,}",
            _number(point["tok_s"], ",.1f"),
            _number(point["itl_ms"], ",.1f"),
            _number(point["ttft_ms"]["p50"], ",.0f"),
            _number(point["ttft_ms"]["p95"], ",.0f"),
            _number(point["e2e_ms"]["p95"], ",.0f"),
            _number(point["usd_per_mtok_out"], ".4f"),
            _number(point["usd_average"], ".8f"),
        )
        rows.append(cells)
    return f"  requests of {tokens[0]} + {tokens[1]} tokens, one replica:\n" + grid(head, rows)


def _points(on: FleetModel, tokens: Lengths) -> list[dict[str, Any]]:
    profile = on.fleet.profile
    found = []
    for streams in levels(on):
        seen = on.predict(*tokens, 1, Load(in_flight=streams - 1))
        tok_s = None if profile is None else profile.speed(min(streams, on.capacity)).tok_s
        per_mtok = on.usd_per_mtok(streams)
        found.append(
            {
                "streams": streams,
                "tok_s": tok_s,
                "itl_ms": seen.itl_p50_ms,
                "ttft_ms": {"p50": seen.ttft_p50_ms, "p95": seen.ttft_p95_ms},
                "e2e_ms": {"p50": seen.e2e_p50_ms, "p95": seen.e2e_p95_ms},
                "usd_per_mtok_out": None if per_mtok is None else per_mtok[1],
                "usd_average": seen.usd_average,
            }
        )
    return found


def _json(on: FleetModel, tokens: Lengths) -> dict[str, Any]:
    fleet, profile = on.fleet, on.fleet.profile
    card = on.card
    return {
        "fleet": fleet.id,
        "model": fleet.model.id,
        "lane": fleet.lane,
        "instance": fleet.instance,
        "region": fleet.region,
        "usd_per_hour": on.usd_per_hour,
        "price": None if fleet.price is None else asdict(fleet.price),
        "profile": None if profile is None else profile.id,
        "capacity": on.capacity,
        "usd_per_mtok_in": None if card is None else card.nano_per_mtok_in / cost.NANO,
        "usd_per_mtok_out": None if card is None else card.nano_per_mtok_out / cost.NANO,
        "marks": list(on.marks),
        "curve": _points(on, tokens),
    }


def _crossings(economies: Sequence[Economy], crossed: Sequence[Crossing], tokens: Lengths) -> str:
    if len(economies) < 2:  # noqa: PLR2004  (two to compare)
        return ""
    lines = [f"\nbreak-even for requests of {tokens[0]} + {tokens[1]} tokens:"]
    lines += [
        f"  {c.busy} kept 100 % busy against one {c.always_on} always on: "
        f"{c.requests_per_hour:,.0f} requests/h"
        for c in crossed
        if c.replicas == 1
    ]
    never = [e.fleet for e in economies if all(c.always_on != e.fleet for c in crossed)]
    if never:
        lines.append(f"  never cheaper than another that is kept busy: {', '.join(never)}")
    return "\n".join(lines)


def _number(value: float | None, form: str) -> str:
    return "unknown" if value is None else format(value, form)
