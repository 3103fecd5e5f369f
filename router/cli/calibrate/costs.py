"""What keeping requests on the small model saves, at the rate cards of one's fleets."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from backends.fleet_model import FleetModel
from backends.quality import rests_on_p_small
from router.calibrate.fit import Label
from router.calibrate.report import Floor
from router.cli.errors import INVALID, Ends
from router.world import World

TOKENS_OUT = 200  # of an answer: a label doesn't tell; `sluice fleet show` takes as many


@dataclass(frozen=True, slots=True)
class Saving:
    """`relative`: the cost of each threshold over that of sending everything to `strong`."""

    small: str
    strong: str
    relative: tuple[float, ...]

    @property
    def is_none(self) -> bool:
        """Return whether keeping requests small costs more, at every threshold."""
        return min(self.relative) > 1


def saving(
    world: World, labels: Sequence[Label], p_small: Sequence[float], rows: Sequence[Floor]
) -> Saving:
    """Return the relative cost at each row of `floors`; raise Ends where prices are unknown."""
    baseline = world.baseline
    small = [on for on in world.fleets if on.card is not None and _is_small(on, baseline)]
    if not small or baseline.card is None:
        lacking = "a fleet whose quality is p_small" if not small else "the policy's baseline"
        raise Ends(f"the rate card of {lacking} is not known: see `sluice fleet audit`", INVALID)
    cheapest = min(small, key=lambda on: _nano(on, labels[0]))
    order = sorted(range(len(labels)), key=lambda i: -p_small[i])
    kept = [0, *accumulate(_nano(cheapest, labels[i]) for i in order)]
    sent = [0, *accumulate(_nano(baseline, labels[i]) for i in order)]
    relative = []
    for row in rows:
        count = round(row.small * len(labels))
        relative.append((kept[count] + sent[-1] - sent[count]) / sent[-1])
    return Saving(cheapest.fleet.id, baseline.fleet.id, tuple(relative))


def _is_small(on: FleetModel, baseline: FleetModel) -> bool:
    in_lane = on.fleet.lane == baseline.fleet.lane
    tables = on.fleet.model.quality, baseline.fleet.model.quality
    return rests_on_p_small(*tables, "other", in_baseline_lane=in_lane)


def _nano(on: FleetModel, label: Label) -> int:
    assert on.card is not None
    return on.card.charge_nano(label.tokens_in, 0, TOKENS_OUT)
