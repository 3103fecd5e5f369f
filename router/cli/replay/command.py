"""``sluice replay``: what policies would have cost and done over a trace."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import orjson

from backends import files
from router.cli import options
from router.cli.calibrate.written import check_written, write
from router.cli.errors import INVALID, REFUSED, Ends, told
from router.cli.ledger.options import over
from router.cli.replay.progress import Progress
from router.cli.replay.tables import tables
from router.cli.replay.warned import warnings_of
from router.cli.window import window
from router.compare.shown import visible
from router.replay.bench import Asked, Found, bench, delta_json, found_json
from router.replay.curve import Traces
from router.replay.outcome import Settings
from router.replay.run import replay
from router.sources import policy as policy_of
from router.traces.arrivals import MOST_REQUESTS
from router.traces.generate import PREFIX
from router.traces.mix import Mix
from router.traces.opening import open_trace
from router.traces.trace import Trace
from router.traces.window import Window
from router.world import World, world

DEFAULTS = Settings()
Page = Callable[..., str]


@click.command("replay")
@click.argument("trace", metavar="TRACE")
@over
@options.fleets
@click.option(
    "--policy",
    "policies",
    type=options.POLICY,
    multiple=True,
    help="Policy (YAML), or the folder of a store, to replay; repeat for several. Without it the "
    "packaged default.",
)
@click.option("--against", type=options.POLICY, help="Policy that the others are compared with.")
@click.option("--seed", type=options.SEED, default=0, show_default=True, help="Of all chance.")
@click.option(
    "--simple-share",
    type=options.Share(),
    default=Mix().simple,
    show_default=True,
    help="How many requests of a trace without texts are taken for simple.",
)
@click.option(
    "--curve/--no-curve",
    default=True,
    show_default=True,
    help="Replay traces without texts at every simple share from 0 to 1.",
)
@click.option(
    "--rivals/--no-rivals",
    "with_rivals",
    default=True,
    show_default=True,
    help="Replay the rules of thumb that a policy has to beat.",
)
@click.option(
    "--budgets/--no-budgets",
    default=True,
    show_default=True,
    help="Whether the policies' budgets bind.",
)
@click.option(
    "--queue",
    type=click.IntRange(0, MOST_REQUESTS),
    default=DEFAULTS.queue,
    show_default=True,
    help="How many requests may wait in the router's line.",
)
@click.option(
    "--queue-s",
    type=options.Number(0, 86_400),
    default=DEFAULTS.queue_s,
    show_default=True,
    help="How many seconds one may wait there for a place.",
)
@click.option(
    "--spot-interruptions",
    type=options.Number(0, 60),
    default=DEFAULTS.spot_interruptions_per_hour,
    show_default=True,
    help="Of one Spot replica in an hour.",
)
@click.option(
    "--look",
    "look_s",
    type=options.Number(1, 3600),
    default=DEFAULTS.look_s,
    show_default=True,
    help="Seconds between two looks of the scaling; the charts have these steps.",
)
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a report with charts into this file (needs matplotlib).",
)
@options.router_on
@options.state
@options.as_json
def command(
    trace: str,
    start: str | None,
    end: str | None,
    tz: str,
    fleets: Path | None,
    policies: tuple[Path, ...],
    against: Path | None,
    seed: int,
    simple_share: float,
    curve: bool,
    with_rivals: bool,
    budgets: bool,
    queue: int,
    queue_s: float,
    spot_interruptions: float,
    look_s: float,
    html: Path | None,
    router_on: str,
    state: Path,
    as_json: bool,
) -> None:
    """Replay TRACE: a file (Azure's CSV, Mooncake's JSON lines, receipts; plain or gzip) or
    gen:KIND?... Every request is decided by the router's own code over simulated fleets.
    """
    settings = Settings(
        seed=seed,
        queue=queue,
        queue_s=queue_s,
        spot_interruptions_per_hour=spot_interruptions,
        look_s=look_s,
        budgets=budgets,
    )
    _check(trace, fleets, policies, against, html)
    asked_for = window(start, end, tz)
    page = None if html is None else _page()
    with told():
        worlds = _worlds(fleets, state, router_on, policies or (None,))
        old = None if against is None else _worlds(fleets, state, router_on, (against,))
        read = partial(_read, trace, asked_for, seed)
        opened = read(simple_share)
    open_at = read if opened.mixed else None  # None: the trace says itself what is simple
    _check_share(opened, open_at)
    progress = Progress()
    run = partial(replay, settings=settings)
    asked = Asked(with_rivals, open_at if curve else None, seed, look_s)
    alone = Asked(rivals=False, look_s=look_s)
    with told():  # the trace is read again for the curve
        found = bench(worlds, opened, run, asked, progress.tell)
        other = bench(old, opened, run, alone, progress.tell)[0] if old else None
    progress.done()
    warnings = warnings_of(opened, found, curve_left_out=open_at is not None and not curve)
    if page is not None and html is not None:
        drawn = page(opened, found, other, settings, warnings)
        with told():
            write(html, visible(drawn).encode())
        click.echo(f"written: {html}", err=True)
    if as_json:
        click.echo(orjson.dumps(replay_json(found, other, settings, warnings)))
        return
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(tables(opened, found, other))


def replay_json(
    found: tuple[Found, ...], against: Found | None, settings: Settings, warnings: list[str]
) -> dict[str, Any]:
    """Return the first policy's figures, and those of each where there are several."""
    rows = [
        {**found_json(one), "delta": None if against is None else delta_json(one, against)}
        for one in found
    ]
    several = {"policies": rows} if len(rows) > 1 else {}
    other = {} if against is None else {"against": found_json(against)}
    return {**rows[0], "settings": _settings(settings), "warnings": warnings, **several, **other}


def _settings(settings: Settings) -> dict[str, Any]:
    return {
        "seed": settings.seed,
        "queue": settings.queue,
        "queue_s": settings.queue_s,
        "spot_interruptions_per_hour": settings.spot_interruptions_per_hour,
        "look_s": settings.look_s,
        "budgets": settings.budgets,
    }


# -- what is given ---------------------------------------------------------------------------------


def _check(
    trace: str,
    fleets: Path | None,
    policies: tuple[Path, ...],
    against: Path | None,
    html: Path | None,
) -> None:
    for place, path in enumerate(policies):
        if any(path.samefile(other) for other in policies[:place]):
            raise Ends(f"{path}: this policy is given twice", INVALID)
        if against is not None and path.samefile(against):
            raise Ends(f"{path}: `--against` is the same policy: give another one", INVALID)
    read = [None if trace.startswith(PREFIX) else trace, fleets, *policies, against]
    check_written([html], read)


def _worlds(
    fleets: Path | None, state: Path, router_on: str, policies: tuple[Path | None, ...]
) -> tuple[World, ...]:
    catalogue = files.catalogue(fleets, state, router_on)
    return tuple(world(policy_of(path, catalogue), catalogue) for path in policies)


def _read(trace: str, asked_for: Window, seed: int, simple_share: float) -> Trace:
    return open_trace(trace, Mix(simple=simple_share), seed, asked_for)


def _check_share(opened: Trace, open_at: Traces | None) -> None:
    given = click.get_current_context().get_parameter_source("simple_share")
    if open_at is None and given is click.core.ParameterSource.COMMANDLINE:
        said = f"{opened.name}: this trace says what is simple: it goes without `--simple-share`"
        raise Ends(said, INVALID)


def _page() -> Page:
    try:
        from router.cli.replay.page import page  # noqa: PLC0415  (matplotlib is optional, and slow)
    except ImportError:
        said = "the report needs matplotlib: install `sluice[plot]`, or `pip install matplotlib`"
        raise Ends(said, REFUSED) from None
    return page
