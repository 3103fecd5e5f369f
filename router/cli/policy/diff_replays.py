"""The replays that a diff rests on: both policies over the same requests, with the same seeds."""

from dataclasses import dataclass
from typing import Final

import click

from router.cli.errors import INVALID, Ends
from router.compare.comparison import Comparison, Side, compare, over_seeds
from router.replay.outcome import Settings
from router.replay.run import replay
from router.traces.mix import Mix
from router.traces.opening import open_trace
from router.traces.trace import Trace
from router.traces.window import WHOLE, Window
from router.world import World

SEEDS: Final = 5  # how often a mix is drawn
REQUESTS: Final = 60_000  # how many are replayed at most, where nobody asks for more: seconds


@dataclass(frozen=True, slots=True)
class Asked:
    """`seeds` None: as many as REQUESTS allow. Raises yamlfile.Invalid where a trace is wrong."""

    trace: str
    seed: int
    seeds: int | None
    simple_share: float
    window: Window = WHOLE

    def open(self, seed: int) -> Trace:
        return open_trace(self.trace, Mix(simple=self.simple_share), seed, self.window)


def compared(old: World, new: World, asked: Asked) -> Comparison:
    """Return what changes, under each of the seeds."""
    trace = asked.open(asked.seed)
    _check_drawn(trace)
    first = _compared(old, new, trace, asked.seed)
    seeds = range(asked.seed + 1, asked.seed + _seeds(trace, asked.seeds))
    return over_seeds(first, [_compared(old, new, asked.open(seed), seed) for seed in seeds])


def _compared(old: World, new: World, trace: Trace, seed: int) -> Comparison:
    settings = Settings(seed=seed)
    was = replay(old, trace, settings)
    now = was if _equal(old, new) else replay(new, trace, settings)
    sides = Side(old.policy, was), Side(new.policy, now)
    return compare(trace, *sides, seed=seed, look_s=settings.look_s)


def _equal(old: World, new: World) -> bool:
    """Tell whether the same would happen in both."""
    return old.policy.compiled == new.policy.compiled and old.catalogue is new.catalogue


def _seeds(trace: Trace, asked: int | None) -> int:
    if not trace.mixed:
        return 1
    return asked or max(1, min(SEEDS, REQUESTS // (2 * max(1, len(trace)))))


def _check_drawn(trace: Trace) -> None:
    """Refuse the options of a mix for a trace that says itself who asked what."""
    context = click.get_current_context()
    for name, flag in (("simple_share", "--simple-share"), ("seeds", "--seeds")):
        given = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if given and not trace.mixed:
            said = f"{trace.name}: this trace says itself who asked what: it goes without `{flag}`"
            raise Ends(said, INVALID)
