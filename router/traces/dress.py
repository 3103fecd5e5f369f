"""Gives requests without texts what a router would have judged of them, by a mix.

Each request takes the same number of draws, whatever they say: with the same seed, request i is
simple exactly if its own draw is below the simple share, so curves over the share are smooth.
"""

from __future__ import annotations  # `array[int]` is no value before Python 3.12

import math
from array import array
from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate
from random import Random
from typing import Final

from policies.model import Facts
from router.classify.assumed import level
from router.classify.trained import DECIMALS
from router.traces.arrivals import Arrivals
from router.traces.mix import COMPLEXITY, Mix, Shares
from router.traces.trace import Trace

TIERS: Final = ("simple", "heavy")
LEVELS: Final = 1000  # steps of complexity between a tier's least and most


def dressed(arrivals: Arrivals, mix: Mix, seed: int) -> Trace:
    """Return the trace of these arrivals under this mix."""
    draw = Random(f"{seed}:mix").random  # noqa: S311  (traffic, no secrets)
    tiers = [_Tier(mix, tier) for tier in TIERS]
    teams, languages, classes = map(_Choice, (mix.teams, mix.languages, mix.classes))
    simple = mix.simple
    complexity, p_small = array("d"), array("d")
    acceptable, kind = array("b"), array("l")
    kinds: dict[tuple[int, ...], int] = {}
    for _ in range(len(arrivals.at_s)):
        at = 0 if draw() < simple else 1
        tier = tiers[at]
        task = tier.tasks.pick(draw())
        place = int(draw() * LEVELS)
        complexity.append(tier.complexity[place])
        good = tier.p_small[task][place]
        p_small.append(good)
        acceptable.append(draw() < good)
        drawn = at, task, teams.pick(draw()), languages.pick(draw()), classes.pick(draw())
        kind.append(kinds.setdefault(drawn, len(kinds)))
    names = [tier.tasks.names for tier in tiers]
    return Trace(
        name=arrivals.name,
        start_s=arrivals.start_s,
        at_s=arrivals.at_s,
        tokens_in=arrivals.tokens_in,
        tokens_out=arrivals.tokens_out,
        expected=expected(arrivals.tokens_out, mix.length_error, seed),
        complexity=complexity,
        p_small=p_small,
        acceptable=acceptable,
        kind=kind,
        kinds=tuple(
            _facts(
                teams.names[team],
                TIERS[at],
                names[at][task],
                languages.names[language],
                classes.names[service],
            )
            for at, task, team, language, service in kinds
        ),
        assumptions=arrivals.assumptions + mix.assumptions(seed),
        warnings=arrivals.warnings,
        mixed=True,
    )


def expected(tokens_out: Sequence[int], error: float, seed: int) -> array[int]:
    """Return what a router would have expected: ln(real / expected) spreads by `error`.

    It is the best guess of one that knows the mean and the spread of ln(tokens), so it is drawn
    towards the mean where it knows little, and never more wrong than the mean itself.
    """
    if not error or not tokens_out:
        return array("l", (max(1, real) for real in tokens_out))
    logs = array("d", (math.log(max(1, real)) for real in tokens_out))
    mean = math.fsum(logs) / len(logs)
    variance = math.fsum((one - mean) ** 2 for one in logs) / len(logs)
    known = max(0.0, 1 - error * error / variance) if variance else 0.0
    noise = math.sqrt(known * (1 - known) * variance)
    gauss = Random(f"{seed}:lengths").gauss  # noqa: S311  (traffic, no secrets)
    exp = math.exp
    return array(
        "l", (max(1, round(exp(mean + known * (one - mean) + gauss(0, noise)))) for one in logs)
    )


class _Choice:
    """Names by their shares: a draw from 0 to 1 falls on one of them."""

    def __init__(self, shares: Shares) -> None:
        self.names = tuple(shares)
        total = sum(shares.values())
        self._ends = [end / total for end in accumulate(shares.values())][:-1]

    def pick(self, drawn: float) -> int:
        return bisect(self._ends, drawn)


class _Tier:
    """What requests of a tier are like; complexity and p_small (by task) at each of the LEVELS."""

    def __init__(self, mix: Mix, tier: str) -> None:
        self.tasks = _Choice(mix.tasks[tier])
        self.complexity = [_quantile(COMPLEXITY[tier], step / LEVELS) for step in range(LEVELS)]
        self.p_small = [
            [round(level(task, one), DECIMALS) for one in self.complexity]
            for task in self.tasks.names
        ]


def _quantile(points: Sequence[float], share: float) -> float:
    place = share * (len(points) - 1)
    before = int(place)
    low, high = points[before], points[min(before + 1, len(points) - 1)]
    return round(low + (high - low) * (place - before), DECIMALS)


def _facts(who: str, tier: str, task: str, language: str, service_class: str) -> Facts:
    tenant, _, team = who.partition("/")
    return Facts(
        at="",
        tenant=tenant,
        team=team or None,
        key=f"key-{team or tenant}",
        tags={},
        task=task,
        tier=tier,
        complexity=0.0,
        p_small=0.0,
        language=language,
        tokens_in=0,
        tokens_out=0,
        service_class=service_class,
    )
