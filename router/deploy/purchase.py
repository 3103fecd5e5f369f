"""By which groups of machines a host's replicas are bought. Pure.

Reservations, on demand and Spot go together in one, in this order; a Capacity Block is a group of
its own, which is there between two moments. While it is, it has its replicas in place of others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from backends.catalogue import Fleet
from backends.tariff import Tranche
from router.deploy.lane import Unmade

# AWS ends a block's machines 30 minutes before the block ends: EC2 Auto Scaling User Guide, Use
# Capacity Blocks for machine learning workloads (read 2026-11-21). Ten minutes for the streams.
LET_GO: Final = timedelta(minutes=40)
BY_THE_HOUR: Final = frozenset({"on_demand", "savings_plan", "reserved"})  # the bill differs alone


@dataclass(frozen=True, slots=True)
class Standing:
    """Machines that come and go with the load, `most` at a time.

    `paid_by_the_hour`: so many before the first on Spot; None: all. `reservations`: their ids,
    which are filled first.
    """

    most: int
    paid_by_the_hour: int | None
    reservations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """A Capacity Block's machines. `let_go`: when they must be, a while before its end."""

    machines: int
    reservation: str
    begins: datetime
    let_go: datetime


@dataclass(frozen=True, slots=True)
class Bought:
    standing: Standing | None
    block: Block | None


def bought(sharing: Sequence[Fleet]) -> Bought:
    """Return how the machines that these fleets share are bought. Raises Unmade."""
    tranches = sharing[0].tariff.tranches
    most = max(fleet.replicas.max for fleet in sharing)
    blocks = [each for each in tranches if each.option == "capacity_block"]
    others = [each for each in tranches if each.option != "capacity_block"]
    if len(blocks) > 1:
        raise Unmade(("purchase",), "one Capacity Block at a time: the next one is the next row")
    block = _block(blocks[0], most) if blocks else None
    return Bought(_standing(others, most) if others else None, block)


def _standing(tranches: Sequence[Tranche], most: int) -> Standing:
    options = [each.option for each in tranches]
    if "spot" in options and options.index("spot") != len(options) - 1:
        said = "Spot comes last: a group buys so many machines by the hour, and all others on Spot"
        raise Unmade(("purchase",), said)
    before = [each for each in tranches if each.option in BY_THE_HOUR]
    by_the_hour = sum(each.replicas or 0 for each in before) if "spot" in options else None
    ids = tuple(each.reservation for each in before if each.reservation is not None)
    return Standing(most, by_the_hour, ids)


def _block(tranche: Tranche, most: int) -> Block:
    if tranche.reservation is None or tranche.from_ is None or tranche.until is None:
        said = "a Capacity Block needs `reservation`, `from` and `until`"
        raise Unmade(("purchase",), said)
    begins, ends = moment(tranche.from_), moment(tranche.until)
    if ends - LET_GO <= begins:
        said = "a Capacity Block is let go 40 minutes before `until`: `from` must be before that"
        raise Unmade(("purchase",), said)
    machines = most if tranche.replicas is None else min(tranche.replicas, most)
    return Block(machines, tranche.reservation, begins, ends - LET_GO)


def moment(said: str) -> datetime:
    """Return what `from` and `until` of a tranche say."""
    form = "%Y-%m-%dT%H:%M:%SZ" if said.count(":") == 2 else "%Y-%m-%dT%H:%MZ"  # noqa: PLR2004 (with seconds)
    return datetime.strptime(said, form).replace(tzinfo=UTC)
