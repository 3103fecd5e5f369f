"""What a classifier says of a request."""

from dataclasses import dataclass
from typing import Literal

Tier = Literal["simple", "heavy"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """``task`` is one of policies.TASKS, ``complexity`` and ``p_small`` are in [0, 1].

    Not ``sure``: simple more likely than not, but not safely so, and therefore `heavy`.
    ``p_small`` is the probability that the small model's answer is acceptable; ``tokens_out`` the
    expected output, which nine of ten stay below ``tokens_out_p90``. ``reasons`` are the signals
    that spoke with the log-odds of `heavy` that each added, in the order in which they were read.
    """

    task: str
    complexity: float
    tier: Tier
    p_small: float
    language: str
    tokens_out: int
    tokens_out_p90: int
    sure: bool = True
    reasons: tuple[tuple[str, float], ...] = ()
