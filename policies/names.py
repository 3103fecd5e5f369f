"""What a policy may name: the lanes, fleets, models and regions of a catalogue."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Names:
    """The catalogue's vocabulary. `model_of` says which model a fleet serves (fleet -> model),
    `lane_of` which lane it is in.

    `judged`: the models whose quality is p_small where this fleet is the baseline.
    """

    lanes: frozenset[str]
    fleets: frozenset[str]
    models: frozenset[str]
    regions: frozenset[str]
    model_of: Mapping[str, str] = field(default_factory=dict)
    lane_of: Mapping[str, str] = field(default_factory=dict)
    judged: Callable[[str], frozenset[str]] = field(default=lambda _: frozenset(), compare=False)
