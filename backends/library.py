"""What catalogues refer to by name: profiles, quality tables, prices."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backends.prices import PriceBook
from backends.profiles import Profile
from backends.quality import QualityTable


@dataclass(frozen=True, slots=True)
class Library:
    """What a catalogue may refer to: profiles and quality tables by id, and the price book."""

    profiles: Mapping[str, Profile]
    profile_rows: Mapping[str, Mapping[str, Any]]
    quality: Mapping[str, QualityTable]
    quality_rows: Mapping[str, Mapping[str, Any]]
    prices: PriceBook
