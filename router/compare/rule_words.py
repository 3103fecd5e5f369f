"""One rule against what it was, in words."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from router.compare.meeting import can_both_match
from router.compare.pairs import Entry, Move, Pair
from router.compare.phrases import changed, conditions, sentence_of, shown, used
from router.compare.walk import Leaf, leaves

TOLD = {"id", "when", "use", "settings"}  # each in a phrase of its own; any other key by its name


def settings(was: Entry, rule: Entry) -> list[Leaf]:
    """Return the settings in which the two differ, with the defaults merged in."""
    return list(leaves(was["settings"], rule["settings"]))


def changes(was: Entry, rule: Entry, by_default: Collection[str]) -> Iterator[str]:
    """Yield what changed inside; `by_default`: the differences that the defaults tell."""
    for name in _names(was["when"], rule["when"]):
        yield _condition(name, was["when"], rule["when"])
    for leaf in settings(was, rule):
        if repr(leaf) not in by_default:
            yield changed(leaf.path, leaf.old, leaf.new)
    for leaf in leaves(_rest(was), _rest(rule)):
        yield changed(leaf.path, leaf.old, leaf.new)


def added(rule: Entry, place: int, rules: Sequence[Entry], defaults: Mapping[str, Any]) -> str:
    """Return what a new rule is, and from which below it may take requests."""
    taken = [b["id"] for b in rules[place + 1 :] if can_both_match(rule["when"], b["when"])]
    before = f"; it comes before {sentence_of(taken)}, which can match the same" if taken else ""
    return f"added in place {place + 1} of {len(rules)}: {_whole(rule, defaults)}{before}"


def removed(rule: Entry, defaults: Mapping[str, Any]) -> str:
    """Return what a rule was."""
    return f"removed, was: {_whole(rule, defaults)}"


def moved(move: Move) -> str:
    """Return where a rule went, and with which others its place matters."""
    parts = []
    for where, those in (("above", move.passed), ("below", move.let_pass)):
        if those:
            parts.append(f"{where} {sentence_of([to['id'] for _, to in those])}")
    matter = [p[1]["id"] for p in (*move.passed, *move.let_pass) if _can_meet(move.pair, p)]
    said = f"moved {' and '.join(parts)}"
    if not matter:
        return f"{said}, which changes nothing: no request can match both"
    return f"{said}; a request can match both it and {sentence_of(matter)}: the first decides"


def _can_meet(a: Pair, b: Pair) -> bool:
    """Tell whether a request can match both, as they were or as they are."""
    return any(can_both_match(a[side]["when"], b[side]["when"]) for side in (0, 1))


def _names(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    both = [*old, *(name for name in new if name not in old)]
    return [name for name in both if (name in old, name in new, old.get(name)) != (
        True, True, new.get(name)
    )]  # fmt: skip


def _condition(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    if name not in old:
        return f"now only {conditions({name: new[name]})}"
    if name not in new:
        return f"no longer only {conditions({name: old[name]})}"
    return "; ".join(changed(x.path, x.old, x.new) for x in leaves(old[name], new[name], (name,)))


def _rest(rule: Entry) -> dict[str, Any]:
    return {key: value for key, value in rule.items() if key not in TOLD - {"use"}}


def _whole(rule: Entry, defaults: Mapping[str, Any]) -> str:
    own = [f"{'.'.join(x.path)} {shown(x.path, x.new)}" for x in leaves(defaults, rule["settings"])]
    rest = {key: value for key, value in rule.items() if key not in TOLD and value is not None}
    parts = [f"{key} {shown((key,), value)}" for key, value in rest.items()]
    use = f"{'try' if 'accept_if' in rule else 'use'} {used(rule['use'])}"
    return "; ".join([conditions(rule["when"]), use, *own, *parts])
