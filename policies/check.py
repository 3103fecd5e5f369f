"""What `sluice policy check` says of a text: its mistakes, or the policy and what looks odd."""

from collections.abc import Iterator
from dataclasses import dataclass

from policies.model import Policy
from policies.names import Names
from policies.parse import load
from yamlfile import Fault, Invalid, Problem


@dataclass(frozen=True, slots=True)
class Report:
    """A policy and its warnings, or the problems for which it is refused."""

    policy: Policy | None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


def check(text: str, name: str, names: Names) -> Report:
    """Return all that can be said of a policy's text. It never raises for what is written."""
    try:
        document, policy = load(text, name, names)
    except Invalid as exc:
        return Report(None, problems=exc.problems)
    return Report(policy, warnings=document.invalid(_odd(policy)).problems)


def _odd(policy: Policy) -> Iterator[Fault]:
    last = policy.rules[-1]
    if last.when:
        said = f"rule {last.id}: nothing follows that matches the rest, which is refused"
        yield ("rules", len(policy.rules) - 1), said
