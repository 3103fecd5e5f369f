"""``sluice ledger report``: what a period cost, and what it saved against the baseline."""

from collections.abc import Callable
from datetime import timedelta, tzinfo
from pathlib import Path

import click
import orjson

from router.cli import options
from router.cli.errors import INVALID, REFUSED, Ends, told
from router.cli.ledger import options as ours
from router.cli.ledger.report_text import report_text
from router.cli.ledger.source import Rows, rows_of
from router.finops.dimensions import KNOWN, dimension
from router.finops.period import Period, day_start, hour_start
from router.finops.report import Slot, report, slots
from router.finops.report_json import report_json

PICTURES = (".svg", ".png")
Drawer = Callable[[tuple[Slot, ...], str, str, Path], None]
BY_HOUR = timedelta(days=2)  # a chart of no more than this has hours, a longer one days


@click.command("report")
@click.option("--by", required=True, metavar="D", help=f"One of {', '.join(KNOWN)}.")
@ours.over
@click.option(
    "--chart",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Draw spend and savings by day or hour (.svg, .png; needs matplotlib).",
)
@ours.rows
@options.state
@options.ledger
@options.as_json
def command(
    by: str,
    start: str | None,
    end: str | None,
    tz: str,
    chart: Path | None,
    rows: Path | None,
    state: Path,
    store: str,
    as_json: bool,
) -> None:
    """Add up a period. What is charged, stands idle and varies makes up the fleets' bill."""
    ours.rows_alone(rows, "store")
    over, zone = ours.chosen(start, end, tz)
    try:
        group = dimension(by)
    except ValueError as exc:
        raise Ends(f"`--by`: {exc}", INVALID) from None
    draw = None if chart is None else _drawer(ours.spared(chart, state, rows))
    with told(), rows_of(store, state, rows) as ledger:
        found = report(by, group, ledger.entries(*over.bounds), ledger.fleet_times(*over.bounds))
        baselines = _baselines(state, found.policies)
        if draw is not None and chart is not None:
            _drawn(draw, chart, ledger, over, zone, baselines)
    if as_json:
        click.echo(orjson.dumps(report_json(found, over, baselines)))
    else:
        click.echo(report_text(found, over, zone, baselines))


def _baselines(state: Path, policies: tuple[str, ...]) -> tuple[str, ...]:
    """Return the baselines that these policies state, as far as their versions are kept."""
    found: dict[str, None] = {}
    for policy in policies:
        if not policy.isalnum():  # it names a file
            continue
        try:
            kept = orjson.loads((state / "versions" / f"{policy}.json").read_bytes())
            found[str(kept["baseline"])] = None
        except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
            continue
    return tuple(sorted(found))


def _drawer(chart: Path) -> Drawer:
    if chart.suffix not in PICTURES:
        raise Ends(f"{chart}: a picture is .svg or .png", INVALID)
    ours.writable(chart)
    try:
        from router.cli.ledger.picture import draw  # noqa: PLC0415  (matplotlib is optional, slow)
    except ImportError:
        said = "charts need matplotlib: install `sluice[plot]`, or `pip install matplotlib`"
        raise Ends(said, REFUSED) from None
    return draw


def _drawn(
    draw: Drawer, chart: Path, ledger: Rows, over: Period, zone: tzinfo, baselines: tuple[str, ...]
) -> None:
    hourly = over.length is not None and over.length <= BY_HOUR
    start = hour_start if hourly else day_start
    rows = ledger.entries(*over.bounds), ledger.fleet_times(*over.bounds)
    found = slots(*rows, lambda at: start(at, zone))
    if not found:
        raise Ends(f"{chart}: nothing to draw: the period has no rows", INVALID)
    unit = "hour" if hourly else "day"
    draw(found, unit, " and ".join(baselines) or "the baseline", chart)
    click.echo(f"drawn: {chart}", err=True)
