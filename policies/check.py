"""What `sluice policy check` says of a text: its mistakes, or the policy and what looks odd."""

from collections.abc import Iterator
from dataclasses import dataclass

import yamlfile
from policies.model import Policy
from policies.names import Names
from policies.parse import load
from yamlfile import Document, Fault, Invalid, Problem

UNPROVED = (
    "without labels it refuses every model whose quality is p_small: "
    "`--calibration` takes what `sluice calibrate` wrote"
)


@dataclass(frozen=True, slots=True)
class Report:
    """A policy and its warnings, or the problems for which it is refused."""

    policy: Policy | None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


def check(text: str, name: str, names: Names, *, labelled: bool = True) -> Report:
    """Return all that can be said of a policy's text. It never raises for what is written.

    `labelled`: the router will have a calibration with labels, which `confidence` asks for.
    """
    try:
        document, policy = load(text, name, names)
    except Invalid as exc:
        return Report(None, problems=exc.problems)
    odd = [*_odd(policy), *_alone(policy, names), *(() if labelled else _unproved(document))]
    return Report(policy, warnings=document.invalid(odd).problems)


def asks_for_labels(policy: Policy) -> bool:
    """Tell whether some rule's floor has a confidence."""
    return any(rule.settings.confidence is not None for rule in policy.rules)


def _unproved(document: Document) -> Iterator[Fault]:
    for path in document.lines:
        if path[-2:] == ("quality_floor", "confidence"):
            yield path, f"{yamlfile.dotted(path)}: {UNPROVED}"


def _alone(policy: Policy, names: Names) -> Iterator[Fault]:
    """Yield the hedges that have nobody to start beside the first; more fleets may come to be."""
    for i, rule in enumerate(policy.rules):
        if rule.hedge is None:
            continue
        used = frozenset[str]().union(*rule.use)
        fleets = [name for name, lane in names.lane_of.items() if used & {name, lane}]
        if len(fleets) == 1:
            said = f"rule {rule.id}: hedge: it uses the fleet `{fleets[0]}` alone, so none is sent"
            yield ("rules", i, "hedge"), said


def _odd(policy: Policy) -> Iterator[Fault]:
    last = policy.rules[-1]
    if last.when:
        said = f"rule {last.id}: nothing follows that matches the rest, which is refused"
        yield ("rules", len(policy.rules) - 1), said
