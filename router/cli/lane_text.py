"""What `sluice deploy --plan` says of the fleets that a stage makes: as text, and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from backends.prices import Price
from backends.tariff import BOUGHT_AHEAD
from router.cli.table import WIDEST, grid
from router.deploy import currency
from router.deploy.lane_plan import LaneCost, PerMtok, hours_of
from router.deploy.plan import Plan
from router.deploy.stage import Stage

MACHINE = ("fleet", "on", "instance", "replicas")
MONEY = (
    *("idle, {} a month", "{}/h at min", "{}/h at max"),
    *("disks, {}/h at max", "a wake-up, {}"),
)
TOKENS = ("{}/1M in", "{}/1M out", "{}/1M in, growing", "{}/1M out, growing")
LEFT = {"fleet", "on", "instance"}


HOURS = 24  # of a day


def text(found: Plan) -> list[str]:
    """Return the section as lines and tables; none where the stage makes no fleet."""
    if not found.lanes:
        return []
    idle, stage = [each.idle_month for each in found.lanes], found.stage
    own = f"{currency.machines_headline(idle, stage)} a month"
    lines = [line for line in found.lines if line.per == "month"]
    both = f"{currency.machines_headline(idle, stage, lines)} a month with the stage"
    unknown = f"; {found.lanes_unknown} unknown and in no sum" if found.lanes_unknown else ""
    return [
        f"machines of the fleets that it makes, idle: {own}, {both}{unknown}",
        _at_max(found),
        *_by_currency(MACHINE, MONEY, [_row(each, stage) for each in found.lanes], stage),
        "disks at min are lines of the group lanes; a wake-up: one machine until it is let go",
        "",
        *_by_currency(("fleet",), TOKENS, [_token_row(each, stage) for each in found.lanes], stage),
        "tokens with every place taken, and growing: as full as `scale_out_at` says",
        *(line for each in found.lanes for line in _about(each, stage)),
        *_marks(found),
    ]


def _by_currency(
    words: Sequence[str],
    money: Sequence[str],
    rows: Sequence[Sequence[str]],
    stage: Stage,
) -> list[str]:
    """Return a table for each currency of the bill; in the rows each amount is in all of them."""
    found, heads, first = [], currency.heads(stage), len(words)
    for number, each in enumerate(heads):
        cells = [(*row[:first], *row[first + number :: len(heads)]) for row in rows]
        found.append(grid((*words, *(name.format(each) for name in money)), cells, LEFT, WIDEST))
    return found


def _at_max(found: Plan) -> str:
    """Return what an hour costs with every machine that the fleets may grow to."""
    hours = [usd for each in found.lanes for usd in (each.hour_at_max, each.disks_at_max)]
    usd = currency.machines_headline(hours, found.stage)
    return f"all of them at max, with their disks: {usd} an hour"


def _marks(found: Plan) -> list[str]:
    """Return each set of marks once, with whose it is."""
    whose: dict[tuple[str, ...], list[str]] = {}
    for each in found.lanes:
        whose.setdefault(each.marks, []).append(each.lane.fleet.id)
    return [f"marks of {', '.join(ids)}: {', '.join(marks)}" for marks, ids in whose.items()]


def called(found: Plan) -> str:
    """Return what of the machines is not in the plan."""
    others = [fleet.id for fleet in found.stage.catalogue.fleets if fleet.runs is None]
    if not found.lanes:
        return "the fleets' own machines are not in it"
    of_called = (
        f"those of {', '.join(others)}, which is called, in none" if len(others) == 1 else ""
    )
    if len(others) > 1:
        of_called = f"those of {', '.join(others)}, which are called, in none"
    said = "machines of the fleets that it makes are in their own table alone"
    return f"{said}; {of_called}" if of_called else said


def _row(each: LaneCost, stage: Stage) -> tuple[str, ...]:
    fleet, hours = each.lane.fleet, (each.hour_at_min, each.hour_at_max, each.disks_at_max)
    return (
        fleet.id,
        each.lane.on,
        fleet.instance if fleet.host_share == 1 else f"{fleet.host_share:g} of {fleet.instance}",
        f"{fleet.replicas.min} to {fleet.replicas.max}",
        *currency.machines([each.idle_month], stage),
        *(cell for usd in hours for cell in currency.machines([usd], stage, ",.4f")),
        *_wake_up(each, stage),
    )


def _wake_up(each: LaneCost, stage: Stage) -> tuple[str, ...]:
    if each.wake_s is None:
        return ("-",) * len(currency.heads(stage))
    return currency.machines([each.wake_usd], stage)


def _token_row(each: LaneCost, stage: Stage) -> tuple[str, ...]:
    tokens = (usd for pair in (each.at_capacity, each.at_scale_out) for usd in pair or (None, None))
    cells = (cell for usd in tokens for cell in currency.machines([usd], stage, ".4f"))
    return (each.lane.fleet.id, *cells)


def _about(each: LaneCost, stage: Stage) -> list[str]:
    lines = [f"{each.lane.fleet.id}:"]
    lines += [f"  price    {_tranche(each, i, stage)}" for i in range(len(each.tranches))]
    profile = each.profile
    if profile is None:
        lines.append(f"  profile  none: {_unmeasured(each)}")
    else:
        date = profile.date or "no date"
        lines.append(f"  profile  {profile.id}, {profile.mark}, {profile.source}, {date}")
    if each.lane.on == "eks" and each.lane.family != "cpu":
        lines.append(
            "  beside   Auto Mode's share of each machine that runs: unknown, in no figure"
        )
    if each.wake_s is not None:
        usd = currency.machines_headline([each.wake_usd], stage)
        lines.append(f"  wake-up  {usd} at the least: one machine for {each.wake_s:,} s")
    return lines


def _unmeasured(each: LaneCost) -> str:
    fleet = each.lane.fleet
    if fleet.host_share == 1:
        return "what a token costs is unknown (`sluice fleet measure`)"
    share = f"{fleet.host_share:g} of {fleet.instance}"
    said = f"what a token costs is unknown, because nobody measured {share} with a neighbour on it"
    fix = f"measure it while both run (`sluice fleet measure --fleet {fleet.id}`)"
    return f"{said}, and a whole machine's profile would be too fast; {fix}, then name the profile"


def _tranche(each: LaneCost, index: int, stage: Stage) -> str:
    tranche = each.tranches[index]
    count = "" if tranche.replicas is None else f"{tranche.replicas} x "
    said = f"{count}{tranche.option}"
    if tranche.option in BOUGHT_AHEAD and tranche.replicas is None:
        said += f", taken as {each.ahead(index)}, what `max` leaves"
    hours = hours_of(tranche)
    if hours is not None:
        days = f"{hours / HOURS:.3g} days" if hours != HOURS else "1 day"
        said += f" from {tranche.from_} until {tranche.until}, {days}: paid once, "
        said += "in $/h while it runs"
    if tranche.price is None:
        return f"{said}: unknown (no row of the price book)"
    price = tranche.price
    hour = f"${price.usd_per_hour:g}/h"
    if stage.in_china:
        hour = f"{_cny_per_hour(price, stage)} ({hour})"
    return f"{said}: {hour}, {price.mark}, {price.source}, {price.as_of or 'no date'}"


def _cny_per_hour(price: Price, stage: Stage) -> str:
    cny = currency.of_usd(price.usd_per_hour, stage)
    return "CNY unknown" if cny is None else f"CNY {cny:g}/h"


def as_json(found: Plan, notes: Sequence[str] = ()) -> dict[str, Any]:
    idle = [line for line in found.lines if line.per == "month"]
    unknown = found.lanes_unknown + sum(line.usd is None for line in idle)
    own = sum(currency.of_usd(each.idle_month, found.stage) or 0.0 for each in found.lanes)
    both = own + sum(currency.local(line) or 0.0 for line in idle)
    return {
        "usd_idle_month": round(found.lanes_idle_usd, 6),
        "amount_idle_month": round(own, 6),
        "unknown": found.lanes_unknown,
        "usd_idle_month_with_the_stage": round(found.idle_usd + found.lanes_idle_usd, 6),
        "amount_idle_month_with_the_stage": round(both, 6),
        "unknown_with_the_stage": unknown,
        "fleets": [_as_json(each, found.stage) for each in found.lanes],
        "notes": list(notes),
    }


def _as_json(each: LaneCost, stage: Stage) -> dict[str, Any]:
    def amount(usd: float | None) -> float | None:
        return currency.of_usd(usd, stage)

    fleet, profile = each.lane.fleet, each.profile
    hours = {
        "at_min": each.hour_at_min,
        "at_max": each.hour_at_max,
        "disks_at_min": each.disks_at_min,
        "disks_at_max": each.disks_at_max,
    }
    return {
        "fleet": fleet.id,
        "on": each.lane.on,
        "instance": fleet.instance,
        "host": fleet.host,
        "host_share": fleet.host_share,
        "replicas": {"min": fleet.replicas.min, "max": fleet.replicas.max},
        "usd_idle_month": each.idle_month,
        "amount_idle_month": amount(each.idle_month),
        "usd_per_hour": hours,
        "amount_per_hour": {name: amount(usd) for name, usd in hours.items()},
        "wake_up": None
        if each.wake_s is None
        else {"seconds": each.wake_s, "usd": each.wake_usd, "amount": amount(each.wake_usd)},
        "usd_per_mtok": {
            "at_capacity": _per_mtok(each.at_capacity, each.capacity),
            "at_scale_out": _per_mtok(each.at_scale_out, each.streams),
        },
        "tranches": [
            {
                "option": tranche.option,
                "replicas": tranche.replicas,
                "reservation": tranche.reservation,
                "from": tranche.from_,
                "until": tranche.until,
                "hours": hours_of(tranche),
                "price": None if tranche.price is None else asdict(tranche.price),
            }
            for tranche in each.tranches
        ],
        "profile": None
        if profile is None
        else {
            "id": profile.id,
            "mark": profile.mark,
            "source": profile.source,
            "date": profile.date,
        },
        "marks": list(each.marks),
    }


def _per_mtok(found: PerMtok | None, streams: float) -> dict[str, float] | None:
    return None if found is None else {"in": found[0], "out": found[1], "streams": streams}
