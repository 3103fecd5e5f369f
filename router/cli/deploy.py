"""``sluice deploy --plan``: what a stage would cost, before anything exists."""

from pathlib import Path
from typing import Any

import click
import orjson

from backends import aws_prices, files
from router.cli import options
from router.cli.errors import INVALID, Ends, told
from router.cli.table import grid
from router.deploy.plan import Plan, plan
from router.deploy.read import stages
from router.deploy.shape import SECONDS, BreakEven, Line, Shape
from router.deploy.stage import Stage

TOKENS = click.IntRange(0, 1_000_000)
HEAD = ("group", "what", "quantity", "unit", "$/unit", "$", "price of", "source")
LEFT = {"group", "what", "unit", "price of", "source"}
LAMBDA_SECONDS = 900


@click.command("deploy")
@click.option("--plan", "wanted", is_flag=True, help="Print what it costs; nothing is created.")
@click.option("--stage", "only", metavar="NAME", help="One stage of the file; without it all.")
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    default="deploy.yaml",
    show_default=True,
    help="The stages (docs/deploy.md).",
)
@click.option(
    "--seconds",
    type=options.Number(0, LAMBDA_SECONDS, min_open=True),
    default=SECONDS,
    show_default=True,
    help="How long a request is open.",
)
@click.option(
    "--tokens-in", type=TOKENS, default=700, show_default=True, help="Tokens of a request."
)
@click.option(
    "--tokens-out", type=TOKENS, default=250, show_default=True, help="Tokens of an answer."
)
@click.option(
    "--cold",
    type=options.Share(),
    default=0.005,
    show_default=True,
    help="Share of requests that start a new environment of Lambda.",
)
@options.as_json
def command(
    *,
    wanted: bool,
    only: str | None,
    config: Path,
    seconds: float,
    tokens_in: int,
    tokens_out: int,
    cold: float,
    as_json: bool,
) -> None:
    """Check deploy.yaml and print what its stages would cost. `make deploy STAGE=NAME` deploys."""
    if not wanted:
        said = "say `--plan`: this command creates nothing, `make deploy STAGE=NAME` does"
        raise Ends(said, INVALID)
    shape = Shape(seconds, tokens_in, tokens_out, cold)
    if not config.exists():
        said = f"{config}: no such file (`cp -r infra/examples ours` begins one; `--config FILE`)"
        raise Ends(said, INVALID)
    with told():
        found = stages(config, only)
        source = files.packaged("backends", "data", "aws.yaml")
        prices = aws_prices.read(source.text, source.name)
    plans = [plan(stage, prices, shape) for stage in found.values()]
    for stage in found.values():
        for warning in stage.warnings:
            click.echo(f"warning: {warning}", err=True)
    if as_json:
        click.echo(orjson.dumps({"stages": [_as_json(each) for each in plans]}))
    else:
        click.echo("\n\n\n".join(text(each) for each in plans))


def text(found: Plan) -> str:
    """Return a stage's plan as a person reads it."""
    return "\n".join(
        [
            _headline(found.stage),
            "",
            _summary(found),
            "",
            f"idle, a month: ${found.idle_usd:,.2f}",
            _table(found, [line for line in found.lines if line.per == "month"]),
            "",
            f"per 1,000,000 requests: ${found.million_usd:,.2f}",
            _shape(found.shape),
            _table(found, [line for line in found.lines if line.per == "million"]),
            "",
            _break_even(found.break_even),
            *_notes(found),
        ]
    )


def _headline(stage: Stage) -> str:
    on = stage.compute
    runs = f"Lambda, {on.memory_mb} MB" if on.on == "lambda" else f"Fargate, {on.tasks[0]} tasks"
    fleets = ", ".join(fleet.id for fleet in stage.catalogue.fleets)
    where = f"{stage.region}, account {stage.account}"
    return f"stage {stage.name} ({stage.size}): {where}; router on {runs}; fleets: {fleets}"


def _summary(found: Plan) -> str:
    rows = [
        (group, f"{idle:,.2f}", f"{million:,.2f}")
        for group, (idle, million) in found.groups.items()
    ]
    rows.append(("together", f"{found.idle_usd:,.2f}", f"{found.million_usd:,.2f}"))
    return grid(("group", "idle, $ a month", "$ per 1,000,000 requests"), rows, {"group"})


def _shape(shape: Shape) -> str:
    cold = f"{shape.cold:.1%} of them start an environment"
    tokens = f"{shape.tokens_in} tokens in, {shape.tokens_out} out"
    return f"each open for {shape.seconds:g} s, {tokens}; {cold} (--seconds, --tokens-in, ...)"


def _table(found: Plan, lines: list[Line]) -> str:
    rows: list[tuple[str, ...]] = []
    for group in dict.fromkeys(line.group for line in lines):
        its = [line for line in lines if line.group == group]
        rows += [_row(line, found.stage.region) for line in its]
        known = sum(line.usd or 0.0 for line in its)
        rows.append(("", f"{group} together", "", "", "", _usd(known), "", ""))
    return grid(HEAD, rows, LEFT)


def _row(line: Line, region: str) -> tuple[str, ...]:
    price = line.price
    whose = price.as_of if price.region == region else f"{price.as_of}, {price.region}'s"
    mark = "" if line.mark == "stated" else f" [{line.mark}]"
    return (
        line.group,
        line.what + mark,
        "unknown" if line.quantity is None else _number(line.quantity),
        price.unit,
        f"{price.usd:.10f}".rstrip("0").rstrip("."),
        _usd(line.usd),
        whose,
        price.source + ("" if price.mark == "stated" else f" [{price.mark}]"),
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.4g}"  # noqa: PLR2004


def _usd(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.4f}"


def _break_even(found: BreakEven) -> str:
    lambda_, fargate = found.lambda_usd_per_request, found.fargate_usd_per_hour
    if found.requests_per_hour is None:
        return "Fargate is never cheaper than Lambda for such requests"
    said = f"from {found.requests_per_hour:,.0f} such requests an hour on Fargate is cheaper"
    return f"{said}: ${fargate:.4f} an hour, against ${lambda_ * 1000:.4f} per 1,000 on Lambda"


def _notes(found: Plan) -> list[str]:
    lines = ["list prices without the free tier; the fleets' own machines are not in it"]
    if found.unknown:
        lines.append(f"{found.unknown} line(s) unknown and in no sum")
    if any(line.price.region != found.stage.region for line in found.lines):
        lines.append(f"no prices of {found.stage.region} are known: they are us-east-1's")
    if any("assumed" in (line.mark, line.price.mark) for line in found.lines):
        lines.append("[assumed], [estimated]: the quantity, not measured on AWS")
    return lines


def _as_json(found: Plan) -> dict[str, Any]:
    stage, shape, even = found.stage, found.shape, found.break_even
    return {
        "stage": stage.name,
        "size": stage.size,
        "region": stage.region,
        "usd_idle_month": round(found.idle_usd, 6),
        "usd_per_million": round(found.million_usd, 6),
        "unknown": found.unknown,
        "groups": {
            group: {"usd_idle_month": idle, "usd_per_million": million}
            for group, (idle, million) in found.groups.items()
        },
        "shape": {
            "seconds": shape.seconds,
            "tokens_in": shape.tokens_in,
            "tokens_out": shape.tokens_out,
            "cold": shape.cold,
        },
        "break_even": {
            "requests_per_hour": even.requests_per_hour,
            "fargate_usd_per_hour": even.fargate_usd_per_hour,
            "lambda_usd_per_request": even.lambda_usd_per_request,
            "fargate_usd_per_request": even.fargate_usd_per_request,
        },
        "lines": [
            {
                "group": line.group,
                "what": line.what,
                "per": line.per,
                "quantity": line.quantity,
                "mark": line.mark,
                "usd": line.usd,
                "price": {
                    "id": line.price.id,
                    "usd": line.price.usd,
                    "unit": line.price.unit,
                    "region": line.price.region,
                    "as_of": line.price.as_of,
                    "source": line.price.source,
                    "mark": line.price.mark,
                },
            }
            for line in found.lines
        ],
        "warnings": [str(warning) for warning in stage.warnings],
    }
