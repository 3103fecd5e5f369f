"""What a change of a policy means, in sentences: one for each change of the compiled form.

The compiled forms are walked, so that every key is told, also one that nobody here has heard of.
No sentence is said if and only if the two are equal.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from router.compare import rule_words
from router.compare.pairs import Entry, Pair, moves, paired
from router.compare.phrases import changed, sentence_of, shown
from router.compare.walk import ABSENT, leaves, listed_by_id

Compiled = Mapping[str, Any]
ONE_OF: Mapping[str, str] = MappingProxyType(
    {"rules": "rule", "budgets": "budget", "rate_limits": "rate limit"}
)


@dataclass(frozen=True, slots=True)
class Said:
    """One change: of what (`policy`, `defaults`, `rule simple`), and what became of it."""

    of: str
    text: str

    def __str__(self) -> str:
        return f"{self.of}: {self.text}"


def words(old: Compiled, new: Compiled) -> tuple[Said, ...]:
    """Return what changed in meaning, in the order of the form."""
    found: list[Said] = []
    for key in [*old, *(key for key in new if key not in old)]:
        found += _part(key, old, new)
    return tuple(found)


def _part(key: str, old: Compiled, new: Compiled) -> Iterator[Said]:
    before, after = old.get(key, ABSENT), new.get(key, ABSENT)
    entries = [[] if side is ABSENT else side for side in (before, after)]
    if key == "rules":
        yield from _rules(before, after, old["defaults"], new["defaults"])
    elif key == "defaults":
        yield from _defaults(old, new)
    elif all(map(listed_by_id, entries)):
        yield from _entries(ONE_OF.get(key, key), *entries)
    elif isinstance(before, Mapping) and isinstance(after, Mapping):
        yield from (Said(key, changed(x.path, x.old, x.new)) for x in leaves(before, after))
    else:
        yield from (Said("policy", changed((key,), x.old, x.new)) for x in leaves(before, after))


# -- defaults: told once, with those that follow ---------------------------------------------------


def _defaults(old: Compiled, new: Compiled) -> Iterator[Said]:
    common = paired(old["rules"], new["rules"]).common
    for leaf in leaves(old["defaults"], new["defaults"]):
        follow = [to["id"] for was, to in common if leaf in rule_words.settings(was, to)]
        text = changed(leaf.path, leaf.old, leaf.new)
        yield Said("defaults", f"{text} ({_following(follow, [to['id'] for _, to in common])})")


def _following(follow: Sequence[str], everybody: Sequence[str]) -> str:
    if not everybody:
        return "no rule stayed"
    if not follow:
        return "no rule that stayed follows it"
    if len(follow) == len(everybody):
        return "every rule that stayed follows it"
    own = [name for name in everybody if name not in follow]
    return f"followed by {sentence_of(follow)}; not by {sentence_of(own)}"


# -- lists by id -----------------------------------------------------------------------------------


def _rules(
    old: Sequence[Entry], new: Sequence[Entry], base: Compiled, defaults: Compiled
) -> Iterator[Said]:
    by_default = frozenset(map(repr, leaves(base, defaults)))
    pairs = paired(old, new)
    was_of = {to["id"]: was for was, to in pairs.common}
    for place, rule in enumerate(new):
        of = f"rule {rule['id']}"
        if rule["id"] not in was_of:
            yield Said(of, rule_words.added(rule, place, new, defaults))
            continue
        was = was_of[rule["id"]]
        yield from _renamed(of, was, rule)
        for text in rule_words.changes(was, rule, by_default):
            yield Said(of, text)
    for rule in pairs.removed:
        yield Said(f"rule {rule['id']}", rule_words.removed(rule, base))
    for move in moves(pairs.common, old):
        yield Said(f"rule {move.pair[1]['id']}", rule_words.moved(move))


def _renamed(of: str, was: Entry, entry: Entry) -> Iterator[Said]:
    if was["id"] != entry["id"]:
        yield Said(of, f"renamed, was `{was['id']}`; nothing else in it changed")


def _entries(kind: str, old: Sequence[Entry], new: Sequence[Entry]) -> Iterator[Said]:
    pairs = paired(old, new)
    for entry in pairs.added:
        yield Said(f"{kind} {entry['id']}", f"added: {_whole(entry)}")
    for was, entry in pairs.common:
        of = f"{kind} {entry['id']}"
        yield from _renamed(of, was, entry)
        for leaf in _but_id(was, entry):
            yield Said(of, leaf)
    for entry in pairs.removed:
        yield Said(f"{kind} {entry['id']}", f"removed, was: {_whole(entry)}")
    for move in moves(pairs.common, old):
        yield Said(f"{kind} {move.pair[1]['id']}", _passed(move.passed, move.let_pass))


def _passed(passed: Sequence[Pair], let_pass: Sequence[Pair]) -> str:
    said = [("before", passed), ("after", let_pass)]
    parts = [f"{w} {sentence_of([to['id'] for _, to in those])}" for w, those in said if those]
    return f"moved: stands {' and '.join(parts)} now"


def _but_id(was: Entry, entry: Entry) -> Iterator[str]:
    for leaf in leaves(was, entry):
        if leaf.path != ("id",):
            yield changed(leaf.path, leaf.old, leaf.new)


def _whole(entry: Entry) -> str:
    said = {key: value for key, value in entry.items() if key != "id" and value not in (None, [])}
    return "; ".join(f"{key} {shown((key,), value)}" for key, value in said.items())
