"""What a policy may name: the lanes, fleets, models and regions of a catalogue."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Names:
    """The catalogue's vocabulary. `model_of` says which model a fleet serves (fleet -> model)."""

    lanes: frozenset[str]
    fleets: frozenset[str]
    models: frozenset[str]
    regions: frozenset[str]
    model_of: Mapping[str, str] = field(default_factory=dict)
