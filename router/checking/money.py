"""Budgets and hedges that pay for nothing, at the rate cards of the fleets. Pure.

What a budget must have left before anything is sent is the request's worst case. The least that
this can be is the charge of one token in and one out on the cheapest fleet.
"""

from collections.abc import Iterator, Mapping

from backends import cost
from backends.cost import RateCard
from policies.model import SHADOW, Budget, nano_of
from policies.odd import Odd, of_rule
from router.world import World


def money_oddities(world: World) -> Iterator[Odd]:
    cards = {on.fleet.id: on.card for on in world.fleets if on.card is not None}
    for i, budget in enumerate(world.policy.budgets):
        if budget.hard_nano is not None and budget.match.tenant != SHADOW:
            yield from _budget(world, cards, i, budget, budget.hard_nano)
    for i, rule in enumerate(world.policy.rules):
        if rule.hedge is None:
            continue
        used = frozenset[str]().union(*rule.use)
        fleets = [on.fleet for on in world.fleets if used & {on.fleet.id, on.fleet.lane}]
        found = _cheapest({fleet.id: cards[fleet.id] for fleet in fleets if fleet.id in cards})
        if found is not None and found[1] > nano_of(rule.hedge.spend_up_to_usd):
            said = f"`spend_up_to_usd` ({rule.hedge.spend_up_to_usd:g}) pays for no second attempt"
            message = f"hedge: {said}: {_told(*found)}"
            yield of_rule("hedge_too_dear", i, rule, message, "hedge", "spend_up_to_usd")


def _budget(
    world: World, cards: Mapping[str, RateCard], i: int, budget: Budget, hard_nano: int
) -> Iterator[Odd]:
    path, prefix = ("budgets", i, "usd"), f"budget {budget.id}: "
    least = _cheapest(cards)
    if least is None:
        said = "no fleet has a price, and a budget that refuses can't count what has none"
        yield Odd("no_price", path, f"{prefix}{said}: give the fleets a price, or write `alert`")
        return
    if least[1] > hard_nano:
        said = f"{hard_nano / cost.NANO:.9f} USD pay for no request: {_told(*least)}"
        yield Odd("budget_too_small", path, prefix + said)
        return
    limit = min(rule.settings.max_output_tokens for rule in world.policy.rules)
    rooms = {on.fleet.id: min(limit, on.fleet.context_tokens) for on in world.fleets}
    worst = min((card.charge_nano(1, 0, rooms[fleet]), fleet) for fleet, card in cards.items())
    if worst[0] > hard_nano:
        said = f"{hard_nano / cost.NANO:.9f} USD pay for no request without `max_tokens`"
        most = f"{rooms[worst[1]]} tokens of output on `{worst[1]}` are set aside as"
        yield Odd("budget_too_small", path, f"{prefix}{said}: {most} {worst[0] / cost.NANO:.9f}")


def _cheapest(cards: Mapping[str, RateCard]) -> tuple[str, int] | None:
    """Return the fleet that charges least for one token in and one out, and how much."""
    found = min(((card.charge_nano(1, 0, 1), name) for name, card in cards.items()), default=None)
    return None if found is None else (found[1], found[0])


def _told(fleet: str, nano: int) -> str:
    return f"one token in and one out take {nano / cost.NANO:.9f} on `{fleet}`, the cheapest"
