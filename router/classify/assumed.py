"""What no data says: how good a small model is at a task, and how long it thinks.

P_SMALL: assumed, until calibrated on one's own labels (docs/calibrate.md). FALLS, GAIN_SAYS: chosen
so that the order of prompts by `p_small` is the best on outcomes of models of 7 to 70 billion
parameters on public benchmarks (docs/model-card.md); no model of 0.6 billion was run on them.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

FALLS: Final = (0.3, 0.45)  # complexity where p_small begins to fall faster, and where it ends
GAIN_SAYS: Final = 25.0  # log-odds of p_small per unit of expected gain

P_SMALL: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {  # at complexity 0, at 1
        "classification": (0.98, 0.60),
        "sentiment": (0.98, 0.60),
        "moderation": (0.96, 0.50),
        "translation": (0.97, 0.50),
        "extraction": (0.97, 0.45),
        "short_answer": (0.96, 0.35),
        "rewriting": (0.95, 0.40),
        "summarization": (0.95, 0.40),
        "structured_output": (0.95, 0.35),
        "creative": (0.90, 0.30),
        "multi_turn": (0.90, 0.20),
        "planning": (0.85, 0.15),
        "reasoning": (0.85, 0.10),
        "agentic": (0.80, 0.10),
        "code": (0.85, 0.12),
        "math": (0.85, 0.10),
        "other": (0.85, 0.15),
    }
)

COPIES: Final = frozenset(("translation", "rewriting"))  # give back about what they are given
THINKING_TOKENS: Final = (200, 2_000)  # before the answer, where thinking is on: at complexity 0, 1


def level(task: str, complexity: float) -> float:
    """Return p_small of a task at this complexity, before anything is learnt of the request."""
    easy, hard = P_SMALL[task]
    return easy + (hard - easy) * _hardness(complexity)


def _hardness(complexity: float) -> float:
    """Return how far p_small has fallen: with complexity, then to its end, and no further."""
    begins, ends = FALLS
    if complexity <= begins:
        return complexity
    return min(1.0, begins + (complexity - begins) * (1 - begins) / (ends - begins))
