"""``sluice deploy``: what a stage would cost, before anything exists (``--plan``), and what runs on
its cluster of EKS (``--manifests``).
"""

from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click
import orjson

from backends import aws_cn_prices, aws_prices, files
from backends.aws_cn_prices import ChinaPrices
from router.cli import lane_notes, lane_text, manifests, options, quota_text
from router.cli.errors import INVALID, Ends, told
from router.cli.table import WIDEST, grid, wrapped
from router.deploy import currency
from router.deploy.plan import Plan, plan
from router.deploy.read import stages
from router.deploy.shape import SECONDS, BreakEven, Line, Shape
from router.deploy.stage import Stage

TOKENS = click.IntRange(0, 1_000_000)
LEFT = {"what", "unit"}
LAMBDA_SECONDS = 900


@click.command("deploy")
@click.option("--plan", "wanted", is_flag=True, help="Print what it costs; nothing is created.")
@click.option(
    "--manifests",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Write the manifests of its fleets on EKS there; needs --stage where there are several.",
)
@click.option(
    "--outputs",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With --manifests: what `aws cloudformation describe-stacks` printed of the stack Eks.",
)
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
    folder: Path | None,
    outputs: Path | None,
    only: str | None,
    config: Path,
    seconds: float,
    tokens_in: int,
    tokens_out: int,
    cold: float,
    as_json: bool,
) -> None:
    """Check deploy.yaml and print what its stages would cost, or write what runs on its cluster.
    `make deploy STAGE=NAME` deploys.
    """
    if wanted == (folder is not None):
        said = "say `--plan` or `--manifests DIR`: this command creates nothing on AWS, "
        raise Ends(f"{said}`make deploy STAGE=NAME` does", INVALID)
    if outputs is not None and folder is None:
        raise Ends("--outputs goes with --manifests", INVALID)
    shape = Shape(seconds, tokens_in, tokens_out, cold)
    if not config.exists():
        said = f"{config}: no such file (`cp -r infra/examples ours` begins one; `--config FILE`)"
        raise Ends(said, INVALID)
    with told():
        found = stages(config, only, now=datetime.now(UTC))
        source = files.packaged("backends", "data", "aws.yaml")
        prices = aws_prices.read(source.text, source.name)
        source = files.packaged("backends", "data", "aws-cn.yaml")
        china = aws_cn_prices.read(source.text, source.name, prices)
    if folder is not None:
        manifests.write(found.values(), folder, outputs, as_json=as_json)
        return
    plans = [
        plan(stage, currency.prices_of(stage, prices, china), shape) for stage in found.values()
    ]
    for stage in found.values():
        for warning in stage.warnings:
            click.echo(f"warning: {warning}", err=True)
    today = datetime.now(UTC).date()
    if as_json:
        click.echo(orjson.dumps({"stages": [_as_json(each, china, today) for each in plans]}))
    else:
        click.echo("\n\n\n".join(text(each, china, today) for each in plans))


def text(found: Plan, china: ChinaPrices, today: date) -> str:
    """Return a stage's plan as a person reads it."""
    idle = [line for line in found.lines if line.per == "month"]
    million = [line for line in found.lines if line.per == "million"]
    parts = [
        _headline(found.stage),
        "",
        _summary(found),
        "",
        f"idle, a month: {currency.headline(idle, found.stage)}",
        _table(found, idle),
        "",
        *lane_text.text(found),
        *([""] if found.lanes else []),
        *quota_text.text(found.stage),
        f"per 1,000,000 requests: {currency.headline(million, found.stage)}",
        _shape(found.shape),
        _table(found, million),
        "",
        _break_even(found.break_even),
        *_notes(found),
        *currency.notes(found, china),
        *lane_notes.notes(found, today),
    ]
    return "\n".join(part if "\n" in part else wrapped(part) for part in parts)  # tables fit


def _headline(stage: Stage) -> str:
    on = stage.compute
    runs = f"Lambda, {on.memory_mb} MB" if on.on == "lambda" else f"Fargate, {on.tasks[0]} tasks"
    fleets = ", ".join(fleet.id for fleet in stage.catalogue.fleets)
    where = f"{stage.region}, account {stage.account}"
    return f"stage {stage.name} ({stage.size}): {where}; router on {runs}; fleets: {fleets}"


def _summary(found: Plan) -> str:
    def row(name: str, lines: list[Line]) -> tuple[str, ...]:
        parts = ([line for line in lines if line.per == per] for per in ("month", "million"))
        return (
            name,
            *(cell for part in parts for cell in currency.amounts(part, found.stage, ",.2f")),
        )

    of = {group: [line for line in found.lines if line.group == group] for group in found.groups}
    rows = [row(group, lines) for group, lines in of.items()]
    rows.append(row("together", list(found.lines)))
    money = currency.heads(found.stage)
    idle = (f"idle, {each} a month" for each in money)
    head = ("group", *idle, *(f"{each} per 1,000,000 requests" for each in money))
    return grid(head, rows, {"group"}, WIDEST)


def _shape(shape: Shape) -> str:
    cold = f"{shape.cold:.1%} of them start an environment"
    tokens = f"{shape.tokens_in} tokens in, {shape.tokens_out} out"
    return f"each open for {shape.seconds:g} s, {tokens}; {cold} (--seconds, --tokens-in, ...)"


def _table(found: Plan, lines: list[Line]) -> str:
    rows: list[tuple[str, ...]] = []
    prices = list(dict.fromkeys(_price(line, found.stage) for line in lines))
    for group in dict.fromkeys(line.group for line in lines):
        its = [line for line in lines if line.group == group]
        rows.append((group, "", "", "", *currency.amounts(its, found.stage), ""))
        rows += [_row(line, found.stage, prices) for line in its]
    money = currency.heads(found.stage)
    head = ("what", "quantity", "unit", f"{money[0]}/unit", *money, "price")
    told = [wrapped(f"  [{number}] {price}") for number, price in enumerate(prices, 1)]
    return "\n".join([grid(head, rows, LEFT, WIDEST), *(["prices:"] if told else []), *told])


def _price(line: Line, stage: Stage) -> str:
    """Return of when and where the price of a unit is, and who says so."""
    price = line.price
    whose = price.as_of if price.region == stage.region else f"{price.as_of}, {price.region}'s"
    mark = "" if price.mark == "stated" else f" [{price.mark}]"
    return f"{whose or 'unknown'}: {price.source}{mark}"


def _row(line: Line, stage: Stage, prices: list[str]) -> tuple[str, ...]:
    mark = "" if line.mark == "stated" else f" [{line.mark}]"
    return (
        f"  {line.what}{mark}",
        "unknown" if line.quantity is None else _number(line.quantity),
        line.price.unit,
        currency.unit(line),
        *currency.amounts([line], stage),
        f"[{prices.index(_price(line, stage)) + 1}]",
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.4g}"  # noqa: PLR2004


def _break_even(found: BreakEven | None) -> str:
    if found is None:
        return "from how many requests on Fargate is cheaper is unknown: a price of it is"
    lambda_, fargate = found.lambda_usd_per_request, found.fargate_usd_per_hour
    if found.requests_per_hour is None:
        return "Fargate is never cheaper than Lambda for such requests"
    said = f"from {found.requests_per_hour:,.0f} such requests an hour on Fargate is cheaper"
    return f"{said}: ${fargate:.4f} an hour, against ${lambda_ * 1000:.4f} per 1,000 on Lambda"


def _notes(found: Plan) -> list[str]:
    lines = [f"list prices without the free tier; {lane_text.called(found)}"]
    if found.stage.deferrable is not None:
        said = "lines of batches are in no figure: each some $0.00002 beside its request"
        lines.append(f"{said} (docs/batches.md)")
    if found.unknown:
        lines.append(f"{found.unknown} line(s) unknown and in no sum")
    if any(line.price.region != found.stage.region for line in found.lines):
        lines.append(f"no prices of {found.stage.region} are known: they are us-east-1's")
    if any("assumed" in (line.mark, line.price.mark) for line in found.lines):
        lines.append("[assumed], [estimated]: the quantity, not measured on AWS")
    return lines


def _as_json(found: Plan, china: ChinaPrices, today: date) -> dict[str, Any]:
    stage, shape, even = found.stage, found.shape, found.break_even
    at, ways = currency.rate(stage), currency.transfer(found, china)
    return {
        "stage": stage.name,
        "size": stage.size,
        "region": stage.region,
        "usd_idle_month": round(found.idle_usd, 6),
        "usd_per_million": round(found.million_usd, 6),
        "unknown": found.unknown,
        "currency": currency.heads(stage)[0].replace("$", "USD"),
        "exchange": at and asdict(at),
        "transfer": ways and asdict(ways),
        "groups": {
            group: {
                "usd_idle_month": idle,
                "usd_per_million": million,
                "unknown": sum(line.usd is None for line in found.lines if line.group == group),
            }
            for group, (idle, million) in found.groups.items()
        },
        "shape": {
            "seconds": shape.seconds,
            "tokens_in": shape.tokens_in,
            "tokens_out": shape.tokens_out,
            "cold": shape.cold,
        },
        "break_even": even
        and {
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
                "amount": currency.local(line),
                "price": {
                    "id": line.price.id,
                    "usd": line.price.usd,
                    "currency": line.price.currency,
                    "per_unit": line.price.per_unit,
                    "unit": line.price.unit,
                    "region": line.price.region,
                    "as_of": line.price.as_of,
                    "source": line.price.source,
                    "mark": line.price.mark,
                },
            }
            for line in found.lines
        ],
        "lanes": lane_text.as_json(found, lane_notes.doubts(found, today)),
        "quotas": quota_text.as_json(stage),
        "warnings": [str(warning) for warning in stage.warnings],
    }
