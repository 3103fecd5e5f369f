"""Who asks what, for traces without texts: an assumption, stated and seeded.

Nobody publishes what the requests of a public trace were. Tasks, complexity and its levels are
what the shipped classifier says of the 506 requests in tests/data/requests.jsonl (it learnt from
them, so it is surer of them than of others: docs/model-card.md); p_small is the level that the
classifier assumes; who asks, languages and service classes are made up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

Shares = Mapping[str, float]
"""Weights: what share of the requests has which value. They need not sum to 1."""

TASKS: Final[Mapping[str, Shares]] = MappingProxyType(
    {  # by tier; counted
        "simple": MappingProxyType(
            {
                "short_answer": 113,
                "classification": 24,
                "rewriting": 20,
                "translation": 14,
                "extraction": 13,
                "summarization": 13,
                "structured_output": 11,
                "sentiment": 10,
                "code": 9,
                "moderation": 6,
                "multi_turn": 5,
                "math": 3,
                "creative": 3,
                "agentic": 1,
            }
        ),
        "heavy": MappingProxyType(
            {
                "reasoning": 53,
                "math": 45,
                "code": 44,
                "creative": 29,
                "short_answer": 28,
                "planning": 25,
                "multi_turn": 17,
                "agentic": 12,
                "extraction": 2,
                "structured_output": 2,
                "rewriting": 2,
                "translation": 1,
                "classification": 1,
            }
        ),
    }
)
COMPLEXITY: Final[Mapping[str, tuple[float, ...]]] = MappingProxyType(
    {  # by tier: its deciles, from the least to the most
        "simple": (0.02, 0.07, 0.09, 0.11, 0.13, 0.14, 0.17, 0.2, 0.24, 0.28, 0.4),
        "heavy": (0.19, 0.47, 0.54, 0.62, 0.68, 0.74, 0.8, 0.84, 0.88, 0.92, 0.98),
    }
)
LANGUAGES: Final[Shares] = MappingProxyType({"en": 0.5, "zh-Hans": 0.45, "zh-Hant": 0.05})
CLASSES: Final[Shares] = MappingProxyType({"standard": 0.6, "interactive": 0.3, "deferrable": 0.1})
TEAMS: Final[Shares] = MappingProxyType(
    {"shop/search": 0.4, "shop/crm": 0.25, "lab/ads": 0.2, "lab/research": 0.15}
)
TASKS_ASSUMED: Final = (
    "tasks and complexity by tier are what the shipped classifier says of Sluice's test requests; "
    "p_small is its assumed level for them, not calibrated"
)
LENGTH_ERROR: Final = 0.585  # judge.json: 9 of 10 stay below e^0.75 times what is expected


@dataclass(frozen=True, slots=True)
class Mix:
    """`simple`: the share that the router takes for simple. `teams`: of each "tenant/team".

    `length_error`: how wrong the router's expectation of output tokens is, as the standard
    deviation of ln(real / expected); 0: it knows.
    """

    simple: float = 0.6
    tasks: Mapping[str, Shares] = field(default_factory=lambda: TASKS)
    languages: Shares = field(default_factory=lambda: LANGUAGES)
    classes: Shares = field(default_factory=lambda: CLASSES)
    teams: Shares = field(default_factory=lambda: TEAMS)
    length_error: float = LENGTH_ERROR

    def __post_init__(self) -> None:
        if not 0 <= self.simple <= 1:
            raise ValueError(f"the simple share must be from 0 to 1, not {self.simple:g}")
        if not 0 <= self.length_error <= 5:  # noqa: PLR2004  (a factor of 150: a typing mistake)
            raise ValueError(f"`length_error` must be from 0 to 5, not {self.length_error:g}")
        for shares in (*self.tasks.values(), self.languages, self.classes, self.teams):
            if min(shares.values(), default=0) < 0 or sum(shares.values()) <= 0:
                raise ValueError("shares must not be negative, and one of them must be above 0")

    def assumptions(self, seed: int) -> tuple[str, ...]:
        """Return what is made up, as sentences."""
        asked = f"{self.simple:.0%} of the requests are taken for simple by the router"
        made_up = f"{_told(self.teams)} of the requests come from these tenants and teams"
        spoken = f"languages {_told(self.languages)}; service classes {_told(self.classes)}"
        return (
            f"{asked}, drawn at random (seed {seed}) whatever their lengths: it has no texts",
            TASKS_ASSUMED,
            "whether the small model's answer would do is drawn with the probability p_small",
            self._expected(),
            f"made up: {made_up}; {spoken}",
        )

    def _expected(self) -> str:
        if not self.length_error:
            return "the router expects the real output tokens (`length_error` 0)"
        return (
            "the router expects output tokens as one that knows this trace's mean and spread of "
            f"ln(tokens) and errs by {self.length_error:g} in ln(real / expected), as its "
            "classifier says of itself; where the trace spreads less, it expects the mean"
        )


def _told(shares: Shares) -> str:
    total = sum(shares.values())
    return ", ".join(f"{name} {share / total:.0%}" for name, share in shares.items())
