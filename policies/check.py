"""What `sluice policy check` says of a text: its mistakes, or the policy and what looks odd."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import getitem

import yamlfile
from policies.evaluate import WISHES
from policies.model import Policy
from policies.names import Names
from policies.odd import Odd, Warned, of_rule
from policies.overlaps import overlap_oddities
from policies.parse import load
from policies.shadowed import order_oddities
from yamlfile import Document, Invalid, Problem, suggest

UNPROVED = (
    "without labels it refuses every model whose quality is p_small: "
    "`--calibration` takes what `sluice calibrate` wrote"
)

MISTYPED = frozenset("“”‘’＂＇［］｛｝【】「」，、：")
"""In full width these stand in a name without being seen; round brackets often belong there."""

More = Callable[[Policy], Iterable[Odd]]
"""What else is odd about a policy that is right: what takes more than its names to know."""


@dataclass(frozen=True, slots=True)
class Report:
    """A policy and its warnings, or the problems for which it is refused."""

    policy: Policy | None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Warned, ...] = ()


def check(
    text: str, name: str, names: Names, *, labelled: bool = True, more: More = lambda _: ()
) -> Report:
    """Return all that can be said of a policy's text. It never raises for what is written.

    `labelled`: the router will have a calibration with labels, which `confidence` asks for.
    """
    try:
        document, policy = load(text, name, names)
    except Invalid as exc:
        return Report(None, problems=exc.problems)
    odd = [
        *order_oddities(policy, _says_relax(document)),
        *overlap_oddities(policy),
        *_unasked(policy, names),
        *_alone(policy, names),
        *_mistyped(document),
        *(() if labelled else _unproved(document)),
        *more(policy),
    ]
    return Report(policy, warnings=_warned(document, odd))


def asks_for_labels(policy: Policy) -> bool:
    """Tell whether some rule's floor has a confidence."""
    return any(rule.settings.confidence is not None for rule in policy.rules)


def _warned(document: Document, odd: Iterable[Odd]) -> tuple[Warned, ...]:
    """Return the warnings with their places, each one once, in the order of the lines."""
    ordered = sorted(dict.fromkeys(odd), key=lambda each: document.line(*each.path))
    return tuple(
        Warned(f"{document.name}:{document.line(*each.path)}", each.message, each.kind)
        for each in ordered
    )


def _says_relax(document: Document) -> frozenset[int]:
    rules = document.value["rules"]
    return frozenset(i for i, rule in enumerate(rules) if rule.get("relax") == [])


def _unproved(document: Document) -> Iterator[Odd]:
    for path in document.lines:
        if path[-2:] == ("quality_floor", "confidence"):
            yield Odd("unproved", path, f"{yamlfile.dotted(path)}: {UNPROVED}")


def _unasked(policy: Policy, names: Names) -> Iterator[Odd]:
    """Yield what no request can ask for: the API knows no such model and answers 404."""
    pins = {f"{model}@{fleet}" for fleet, model in names.model_of.items()}
    known = {"auto", *WISHES, *names.models, *pins}
    for i, rule in enumerate(policy.rules):
        for condition in rule.when:
            wanted: object = condition.wanted if condition.name == "requested_model" else []
            assert isinstance(wanted, list)
            for asked in wanted:
                if asked not in known and pins:
                    said = f"no request can ask for `{asked}` {suggest(asked, known)}"
                    where = ("when", "requested_model")
                    yield of_rule("unknown_model", i, rule, f"requested_model: {said}", *where)


def _mistyped(document: Document) -> Iterator[Odd]:
    """Yield the names that hold what YAML would have read, had it been typed in ASCII."""
    for path in document.lines:
        value = reduce(getitem, path, document.value) if {"when", "match"} & {*path} else None
        sign = next((one for one in value if one in MISTYPED), "") if isinstance(value, str) else ""
        if sign:
            said = f"{yamlfile.full_width(sign)}, unless it belongs to the name"
            yield Odd("mistyped", path, f"{yamlfile.dotted(path)}: {said}")


def _alone(policy: Policy, names: Names) -> Iterator[Odd]:
    """Yield the hedges that have nobody to start beside the first; more fleets may come to be."""
    for i, rule in enumerate(policy.rules):
        if rule.hedge is None:
            continue
        used = frozenset[str]().union(*rule.use)
        fleets = [name for name, lane in names.lane_of.items() if used & {name, lane}]
        if len(fleets) == 1:
            said = f"hedge: it uses the fleet `{fleets[0]}` alone, so none is sent"
            yield of_rule("lonely_hedge", i, rule, said, "hedge")
