"""What a reader of a plan has to know before its figures. Pure."""

import math
from collections.abc import Iterator

from router.plan.solve import Plan
from router.plan.verify import WANTED, ByClass, Played

TOLD = 3
MOST_LATE = 1 - WANTED


def warnings_of(plan: Plan, played: Played) -> tuple[str, ...]:
    """Return sentences, the gravest first."""
    return (*_not_held(played), *_few(played), *_no_timetable(plan, played))


def _not_held(played: Played) -> Iterator[str]:
    if played.held:
        return
    worst = [f"`{name}` {_share(played.by_class[name])}" for name in played.missed[:TOLD]]
    of = f"; missed by {len(played.missed):,} classes: {', '.join(worst)}" if worst else ""
    yield (
        f"the plan doesn't hold: {played.attained:.2%} of the replay's requests are within the "
        f"SLO, and no tighter plan was found that holds it{of}"
    )


def _share(each: ByClass) -> str:
    return f"{each.attained:.2%} of {each.requests:,}"


def _few(played: Played) -> Iterator[str]:
    """Tell the classes in which more than 5 % are late, as one of few may be."""
    few = [
        each
        for each in played.by_class.values()
        if each.held and not each.late and each.requests - each.within > MOST_LATE * each.requests
    ]
    if few:
        requests, late = sum(e.requests for e in few), sum(e.requests - e.within for e in few)
        least = math.ceil(1 / MOST_LATE)
        yield (
            f"classes of fewer than {least} requests may have one late, as 5 % would be less than "
            f"one: {late:,} of {requests:,} requests in {len(few):,} such classes are"
        )


def _no_timetable(plan: Plan, played: Played) -> Iterator[str]:
    """Tell where the plan counts machines by the hour, which a catalogue can't say."""
    ranges = [
        f"{purchase.unit} {min(purchase.machines)} to {max(purchase.machines)}"
        for purchase in plan.purchases
        if min(purchase.machines) != max(purchase.machines)
    ]
    if ranges:
        bill = "unknown" if played.usd_per_week is None else f"${played.usd_per_week:,.2f}"
        yield (
            f"the hours' counts are no timetable ({', '.join(ranges)}): between `min` and `max` "
            f"fleets scale by themselves, in the replay for {bill} a week instead of "
            f"${plan.usd_per_week:,.2f}"
        )
