"""A fleet's benchmark: measured points, where they come from, and the curves through them.

Points come from measurements (``backends/data/profiles`` and imports). Two readings of a table
exist: as it stands, and ``little_consistent`` for tables whose latency and throughput contradict
each other by Little's law (docs/decisions/0003): there the column is not a number of streams.
"""

from dataclasses import dataclass, field
from typing import Literal

from backends.points import Mark, Point
from backends.surface import Speed, Surface
from backends.surface_fit import surface

__all__ = ["CACHED_INPUT_SHARE", "Mark", "Profile"]

CACHED_INPUT_SHARE = 0.1  # a cached input token against an uncached one, where nobody measured it


@dataclass(frozen=True, slots=True)
class Profile:
    """Points in rising concurrency. `prefill_tok_s` and `ttft_ms` (of a prompt of `tokens_in`)
    stand beside the points where a source gives one figure for all.
    """

    id: str
    model: str
    instance: str
    mark: Mark
    source: str
    date: str | None
    points: tuple[Point, ...]
    prefill_tok_s: float | None = None
    ttft_ms: float | None = None
    tokens_in: float = 0
    reading: Literal["as_stated", "little_consistent"] = "as_stated"
    cached_share: float | None = None
    surface: Surface = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        drawn = surface(self.points, self.prefill_tok_s, self.ttft_ms, self.tokens_in)
        object.__setattr__(self, "surface", drawn)

    def capacity(self, concurrency_each: float) -> float:
        """Return the streams one replica carries at once; the rest waits."""
        levels = self.surface.levels
        return concurrency_each if len(levels) == 1 else min(concurrency_each, levels[-1][0])

    def speed(self, concurrency: float) -> Speed:
        """Return throughput and ITL at this concurrency of one replica."""
        return self.surface.at(concurrency)

    def prefill_ms(self, tokens_in: float) -> float | None:
        """Return the time of a prompt at the first point; None if the profile says nothing."""
        law = self.surface.law
        return None if law is None else law.ms(tokens_in)
