"""What a plan says at its end of the prices and profiles that its machines' figures come from."""

from collections.abc import Iterator
from datetime import date

from backends import files
from backends.audit import MAX_PRICE_AGE_DAYS, audit
from router.cli.cited import legend
from router.deploy.lane_plan import LaneCost
from router.deploy.plan import Plan


def notes(found: Plan, today: date) -> list[str]:
    """Return which prices are old or undated and which profiles contradict themselves, a line each,
    and what the sources' short names stand for.
    """
    return [*doubts(found, today), *_sources(found)]


def doubts(found: Plan, today: date) -> list[str]:
    lines = []
    if old := [each.lane.fleet.id for each in found.lanes if _old(each, today)]:
        said = f"prices without a date, or older than {MAX_PRICE_AGE_DAYS} days: {', '.join(old)}"
        lines.append(f"{said}; check them before you rely on a sum (`sluice fleet prices`)")
    if wrong := list(_contradictory(found, today)):
        said = f"profiles whose own figures contradict each other: {', '.join(wrong)}"
        path = found.stage.fleets_file
        audited = f"`sluice fleet audit --fleets {path} --state {path.parent}` says where"
        lines.append(f"{said}; what a token costs by them is in doubt ({audited})")
    return lines


def _old(each: LaneCost, today: date) -> bool:
    ages = [one.price.age_days(today) for one in each.tranches if one.price is not None]
    return any(age is None or age > MAX_PRICE_AGE_DAYS for age in ages)


def _contradictory(found: Plan, today: date) -> Iterator[str]:
    used = dict.fromkeys(each.profile.id for each in found.lanes if each.profile is not None)
    if not used:
        return
    shelf = files.library(found.stage.fleets_file.parent)
    failed = {
        each.profile for each in audit(shelf, found.stage.catalogue.fleets, today) if not each.ok
    }
    yield from (name for name in used if name in failed)


def _sources(found: Plan) -> list[str]:
    profiles = [each.profile.source for each in found.lanes if each.profile is not None]
    prices = [
        tranche.price
        for each in found.lanes
        for tranche in each.tranches
        if tranche.price is not None
    ]
    shown = [*profiles, *(price.source for price in prices)]
    dated = any(price.as_of for price in prices)
    named = legend(shown, prices=dated)
    return named.split("\n") if named else []
