"""Which rules of a policy its cases reach. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from policies.cases import CaseResult
from policies.model import Policy

ALL = 100.0


@dataclass(frozen=True, slots=True)
class Coverage:
    """`unreached`: the rules that no case reaches, by their place in the policy."""

    rules: int
    unreached: tuple[int, ...]

    @property
    def percent(self) -> float:
        """Return the share of rules that some case reaches, rounded down to a tenth."""
        reached = self.rules - len(self.unreached)
        return reached * 1000 // self.rules / 10


def coverage_of(policy: Policy, results: Sequence[CaseResult]) -> Coverage:
    """Return what the cases reach; one that fails reaches the rule that decided all the same."""
    reached = {result.rule for result in results}
    ids = [rule.id for rule in policy.rules]
    return Coverage(len(ids), tuple(i for i, name in enumerate(ids) if name not in reached))
