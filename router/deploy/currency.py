"""A stage's prices and sums in the currency of its bill: USD, or in China CNY beside USD. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from backends import aws_cn_prices
from backends.aws_cn_prices import ChinaPrices, Cut, Rate
from backends.aws_prices import AwsPrice
from router.deploy.plan import Plan
from router.deploy.shape import Line
from router.deploy.stage import Stage

UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Transfer:
    """What answers out cost per million requests, in CNY: by BGP, or from `least` to `most` by
    Static BGP.
    """

    bgp: float
    least: float
    most: float
    cut: Cut


def prices_of(
    stage: Stage, commercial: Mapping[str, AwsPrice], china: ChinaPrices
) -> Mapping[str, AwsPrice]:
    """Return what the stage pays by: a region of China has its own prices, or none."""
    if not stage.in_china:
        return commercial
    return aws_cn_prices.of_region(china, stage.region, commercial, rate(stage))


def rate(stage: Stage) -> Rate | None:
    """Return what turns the bill's currency into USD; None: it is USD, or no rate is known."""
    return aws_cn_prices.rate(stage.catalogue.price_book) if stage.in_china else None


def budget(stage: Stage, usd: int) -> tuple[int, str]:
    """Return what AWS Budgets watches, in the currency of the bill: in China at the dated rate."""
    at = rate(stage)
    return (usd, "USD") if at is None else (round(usd / at.usd), at.currency)


def transfer(found: Plan, china: ChinaPrices) -> Transfer | None:
    """Return the ways out of China that a stage can choose from; None: it has none, or unknown."""
    out = [local(line) for line in found.lines if line.key == "transfer-out"]
    if not found.stage.in_china or not out or out[0] is None:
        return None
    bgp, cut = out[0], china.static_bgp
    return Transfer(bgp, bgp * (1 - cut.most), bgp * (1 - cut.least), cut)


def local(line: Line) -> float | None:
    """Return the line in the currency of its price; None: unknown."""
    price = line.price
    each = price.usd if price.per_unit is None else price.per_unit
    return None if line.quantity is None or each is None else line.quantity * each


def of_usd(usd: float | None, stage: Stage) -> float | None:
    """Return USD in the currency of the bill; None: unknown, as without a rate."""
    if usd is None or not stage.in_china or usd == 0:
        return usd
    at = rate(stage)
    return None if at is None else usd / at.usd


# ---- as a person reads it ------------------------------------------------------------------------


def heads(stage: Stage) -> tuple[str, ...]:
    """Return the columns of money, the bill's own first."""
    return ("CNY", "$") if stage.in_china else ("$",)


def unit(line: Line) -> str:
    """Return the price of one unit in its own currency."""
    each = line.price.usd if line.price.currency == "USD" else line.price.per_unit
    return UNKNOWN if each is None else f"{each:.10f}".rstrip("0").rstrip(".")


def amounts(lines: Sequence[Line], stage: Stage, form: str = ",.4f") -> tuple[str, ...]:
    """Return what the lines cost, by column; what is unknown of them is said."""
    usd = _sum([line.usd for line in lines], form)
    return (_sum([local(line) for line in lines], form), usd) if stage.in_china else (usd,)


def headline(lines: Sequence[Line], stage: Stage) -> str:
    return _headline(amounts(lines, stage, ",.2f"))


def machines(usd: Sequence[float | None], stage: Stage, form: str = ",.2f") -> tuple[str, ...]:
    """Return what USD of machines come to, by column; what is unknown of them is said."""
    if not stage.in_china:
        return (_sum(usd, form),)
    return _sum([of_usd(each, stage) for each in usd], form), _sum(usd, form)


def machines_headline(usd: Sequence[float | None], stage: Stage, lines: Sequence[Line] = ()) -> str:
    """Return what USD of machines come to, and these lines with them."""
    sums = [_sum([*usd, *(line.usd for line in lines)], ",.2f")]
    if stage.in_china:
        own = [*(of_usd(each, stage) for each in usd), *(local(line) for line in lines)]
        sums.insert(0, _sum(own, ",.2f"))
    return _headline(sums)


def _headline(sums: Sequence[str]) -> str:
    first, *more = (each if each == UNKNOWN else f"${each}" for each in sums)
    if not more:
        return first
    first = first.replace("$", "CNY ")
    return first if first == more[0] else f"{first} ({more[0]})"


def notes(found: Plan, china: ChinaPrices) -> list[str]:
    """Return what is said below the plan of a stage in China."""
    stage, at = found.stage, rate(found.stage)
    if not stage.in_china:
        return []
    lines = [f"list prices of {stage.region} alone: what they lack is unknown, of no other region"]
    if at is not None:
        lines.append(f"CNY at {at.usd:g} USD, the rate of {at.as_of} ({at.source})")
    ways = transfer(found, china)
    if ways is not None:
        by_bgp = f"answers out: CNY {ways.bgp:,.2f} per 1,000,000 requests by BGP"
        cut = f"{ways.cut.least:.0%} to {ways.cut.most:.0%} less by {ways.cut.source}"
        static = f"CNY {ways.least:,.2f} to {ways.most:,.2f} by Static BGP ({cut})"
        lines.append(f"{by_bgp}, which is counted; {static}, where what answers can have it")
    return lines


def _sum(found: Sequence[float | None], form: str) -> str:
    known = [amount for amount in found if amount is not None]
    if len(known) == len(found):
        return format(sum(known), form)
    return f"{format(sum(known), form)} + {UNKNOWN}" if known else UNKNOWN
