"""What a fleet's replicas cost an hour: tranches of purchase options, filled in order. Pure."""

from dataclasses import dataclass

from backends.prices import Price

BOUGHT_AHEAD = frozenset({"reserved", "capacity_block"})  # paid for whether used or not


@dataclass(frozen=True, slots=True)
class Tranche:
    """So many replicas by one purchase option; None: all the rest. `price` None: unknown.

    `reservation`: the id of the capacity reservation that it is bought by. `from_` and `until`:
    when a capacity block begins and ends, ISO 8601 in UTC.
    """

    option: str
    replicas: int | None
    price: Price | None
    reservation: str | None = None
    from_: str | None = None
    until: str | None = None


@dataclass(frozen=True, slots=True)
class Tariff:
    """A fleet's tranches in order; the last one takes what is left, however its count reads."""

    tranches: tuple[Tranche, ...]

    def filled(self, replicas: int) -> list[tuple[Tranche, int]]:
        """Return which tranches so many replicas stand in, and how many in each."""
        left, filled = replicas, []
        for i, tranche in enumerate(self.tranches):
            last = i == len(self.tranches) - 1
            room = left if last or tranche.replicas is None else min(left, tranche.replicas)
            if room:
                filled.append((tranche, room))
            left -= room
        return filled

    def usd_per_hour(self, replicas: int) -> float | None:
        """Return USD an hour of one replica on average; None: a tranche's price is unknown."""
        total = 0.0
        for tranche, count in self.filled(max(replicas, 1)):
            if tranche.price is None:
                return None
            total += count * tranche.price.usd_per_hour
        return total / max(replicas, 1)

    def on_demand(self) -> float | None:
        """Return the on-demand price, which is what a savings plan takes off from."""
        prices = [t.price for t in self.tranches if t.option == "on_demand"]
        return prices[0].usd_per_hour if prices and prices[0] is not None else None

    def next_usd_per_hour(self) -> float | None:
        """Return USD an hour of a replica by which the fleet grows: the last tranche's."""
        price = self.tranches[-1].price
        return None if price is None else price.usd_per_hour

    def committed(self, replicas: int, least: int) -> int:
        """Return how many of the ready replicas are paid for whether used or not.

        Those that are always there, and those that were bought ahead.
        """
        ahead = sum(n for tranche, n in self.filled(replicas) if tranche.option in BOUGHT_AHEAD)
        return min(replicas, max(least, ahead))


def single(option: str, price: Price | None) -> Tariff:
    return Tariff((Tranche(option, None, price),))
