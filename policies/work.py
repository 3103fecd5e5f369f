"""How much work one check may take, in steps: the same policy gets the same answers anywhere."""

from dataclasses import dataclass
from typing import Final

# Looks at a pair of boxes, 1 us each. Rules that cross one another in two conditions each, every
# third one protected, take 40,000 (of 100 rules) to 800,000 (of 1,000); the shipped policies 20.
MOST_STEPS: Final = 2_000_000
MOST_STEPS_OF_ONE: Final = 5_000  # of one question, beyond a look at every rule above
MOST_TRIED: Final = 8_000_000  # conditions held against samples, 0.2 us each
MOST_PAIRS: Final = 1_000_000  # of budgets, and of rate limits, 3 us each


@dataclass(slots=True)
class Work:
    """What may still be done, for all questions about the rules' order together."""

    steps: int = MOST_STEPS
    tried: int = MOST_TRIED

    @property
    def done(self) -> bool:
        return self.steps <= 0
