"""What looks odd in a policy that is right: the one table of warnings."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from policies.model import Rule
from yamlfile import Path, Problem

KINDS: Mapping[str, str] = MappingProxyType(
    {  # and what it says, in short; docs/policies.md has them with their conditions
        "unreachable": "no request ever reaches the rule",
        "no_rule": "some requests match no rule",
        "preempted": "a rule above takes requests that this one protects",
        "unanswered": "a question about rules, budgets or rate limits would take too much work",
        "unknown_model": "no request can ask for that model",
        "lonely_hedge": "the hedge has no second fleet",
        "mistyped": "a name holds a quote, bracket, comma or colon in full width",
        "unproved": "a floor asks for labels that nobody gave",
        "slo": "no fleet of `use` meets the objective, even idle",
        "quality_floor": "no fleet of `use` can be that good",
        "residency": "no fleet of `use` stands there",
        "needs": "no fleet of `use` has the ability",
        "context": "no fleet of `use` holds so long a prompt",
        "no_fleet": "each fleet of `use` breaks one limit or another",
        "untried": "a cascade never tries",
        "hedge_too_dear": "the hedge costs more than it may",
        "budget_too_small": "the budget pays for no request",
        "no_price": "a hard budget counts, and no fleet has a price",
        "never_spent": "another budget is always spent first",
        "never_reached": "another rate limit is always reached first",
        "no_canary": "the canary's file isn't beside the policy's",
        "tag_of_no_key": "a tag that is counted by, and that no key has",
        "tag_by_caller": "a tag that is counted by, and that callers may leave out",
    }
)


@dataclass(frozen=True, slots=True)
class Odd:
    """A warning: its kind, where in the document it stands, and what is said there."""

    kind: str
    path: Path
    message: str


@dataclass(frozen=True, slots=True)
class Warned(Problem):
    """A warning with its place; `kind` is one of KINDS."""

    kind: str = ""


def of_rule(kind: str, i: int, rule: Rule, message: str, *inside: str) -> Odd:
    return Odd(kind, ("rules", i, *inside), f"rule {rule.id}: {message}")
