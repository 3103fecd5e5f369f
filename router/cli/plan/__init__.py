"""``sluice plan``: the cheapest fleets that hold an SLO, and what each limit costs."""

from pathlib import Path
from typing import Any

import click
import orjson
import yaml

from router.cli import options
from router.cli.calibrate.written import check_written, write
from router.cli.errors import FAILED, INVALID, REFUSED, Ends, told
from router.cli.ledger.options import over
from router.cli.plan import text
from router.cli.window import window
from router.plan.program import Solver
from router.plan.slo import BadSlo, Slo, parse_slo
from router.traces.generate import PREFIX


def _slo(_ctx: click.Context, _param: click.Parameter, given: tuple[str, ...]) -> Slo:
    try:
        return parse_slo(",".join(given))
    except BadSlo as exc:
        raise Ends(f"--slo: {exc}", INVALID) from None


def _solver() -> Solver:
    try:
        from router.plan.highs import Highs  # noqa: PLC0415  (highspy is optional, and slow)
    except ImportError:
        said = "planning needs HiGHS: install `sluice[plan]`, or `pip install highspy`"
        raise Ends(said, REFUSED) from None
    except Exception as exc:  # noqa: BLE001  (whatever a broken install raises, no plan is made)
        raise Ends(f"planning needs HiGHS, which doesn't load: {exc}", REFUSED) from None
    return Highs()


@click.command("plan")
@click.argument("trace")
@click.option(
    "--slo",
    required=True,
    multiple=True,
    metavar="LIMITS",
    callback=_slo,
    help="What 95 % of the requests keep to: ttft_p95=300ms, e2e_p95=60s, or both with a comma.",
)
@click.option(
    "--floor",
    type=options.Share(),
    help="The quality that every answer must have; without it, that of the policy's rules.",
)
@click.option("--only", multiple=True, metavar="FLEET", help="Plan with these fleets alone.")
@click.option(
    "--from-zero", is_flag=True, help="Plan as if no fleet had a `min`: nothing is there yet."
)
@click.option(
    "--busy-minutes",
    "busy",
    type=options.Number(0.5, 0.99),
    default=0.95,
    show_default=True,
    help="The quantile of an hour's minutes that counts as its traffic.",
)
@click.option(
    "--spot-interruptions",
    "interruptions",
    type=options.Number(0, 60),
    default=0.05,
    show_default=True,
    help="How often an hour a Spot machine is taken away.",
)
@click.option(
    "--simple-share",
    type=options.Share(),
    default=0.6,
    show_default=True,
    help="Of a trace without texts: the share of simple requests.",
)
@click.option(
    "--seed", type=options.SEED, default=0, show_default=True, help="Of everything drawn."
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the planned fleets."
)
@click.option(
    "--shadow-prices",
    "prices_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write USD per busy replica-second, for each fleet and hour (JSON).",
)
@over
@options.fleets
@options.policy
@options.state
@options.router_on
@options.as_json
def command(
    trace: str,
    start: str | None,
    end: str | None,
    tz: str,
    slo: Slo,
    out: Path | None,
    prices_path: Path | None,
    as_json: bool,
    **given: Any,  # noqa: ANN401  (the rest goes to `Asked`, one by one)
) -> None:
    """Plan the cheapest fleets for the traffic of TRACE (a file, or gen:...)."""
    from router.cli.plan.asked import Asked, Infeasible, answer  # noqa: PLC0415  (heavy)

    read = None if trace.startswith(PREFIX) else trace
    check_written([out, prices_path], [read, given["fleets"], given["policy"]])
    asked_for = window(start, end, tz)
    solver = _solver()
    with told():
        found = answer(Asked(trace=trace, window=asked_for, slo=slo, **given), solver)
    if isinstance(found, Infeasible):
        click.echo(orjson.dumps(found.as_json()) if as_json else text.infeasible(found.lacks))
        raise click.exceptions.Exit(FAILED)
    with told():
        if out is not None:
            written = yaml.safe_dump(found.fleets, sort_keys=False, allow_unicode=True)
            write(out, f"# {text.headline(found.report)}\n{written}".encode())
        if prices_path is not None:
            write(prices_path, orjson.dumps(found.report.prices))
    click.echo(orjson.dumps(found.as_json()) if as_json else text.plan(found.report))
    for warning in found.report.warnings:
        click.echo(f"warning: {warning}", err=True)
