"""Which entry of a new list is which of the old one, and which changed places."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Entry = Mapping[str, Any]
Pair = tuple[Entry, Entry]  # the old one, the new one


@dataclass(frozen=True, slots=True)
class Pairs:
    """`common`: in both lists, in the new one's order, a renamed one among them."""

    common: tuple[Pair, ...]
    added: tuple[Entry, ...]
    removed: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Move:
    """An entry that changed places: those that it `passed` stand below it now, those that it
    `let_pass` above it. Two that changed their order stand in one move only.
    """

    pair: Pair
    passed: tuple[Pair, ...]
    let_pass: tuple[Pair, ...]


def paired(old: Sequence[Entry], new: Sequence[Entry]) -> Pairs:
    """Return who is who: by id, and where that is gone, by everything else being equal."""
    by_id = {entry["id"]: entry for entry in old}
    kept = {entry["id"] for entry in new} & by_id.keys()
    gone = [entry for entry in old if entry["id"] not in kept]
    common: list[Pair] = []
    added: list[Entry] = []
    for entry in new:
        was = by_id.get(entry["id"]) or _renamed(entry, gone)
        if was is None:
            added.append(entry)
            continue
        common.append((was, entry))
        gone = [other for other in gone if other is not was]
    return Pairs(tuple(common), tuple(added), tuple(gone))


def _renamed(entry: Entry, gone: Sequence[Entry]) -> Entry | None:
    return next((was for was in gone if _but_id(was) == _but_id(entry)), None)


def _but_id(entry: Entry) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "id"}


def moves(common: Sequence[Pair], old: Sequence[Entry]) -> list[Move]:
    """Return the fewest entries whose moving makes the new order of the old one."""
    place_of = {entry["id"]: place for place, entry in enumerate(old)}
    places = [place_of[was["id"]] for was, _ in common]
    stay = _longest_rising(places)
    found: list[Move] = []
    told: set[int] = set()
    for i, pair in enumerate(common):
        if i in stay:
            continue
        others = [k for k in range(len(common)) if k not in told and k != i]
        passed = tuple(common[k] for k in others if k > i and places[k] < places[i])
        let_pass = tuple(common[k] for k in others if k < i and places[k] > places[i])
        told.add(i)
        found.append(Move(pair, passed, let_pass))
    return found


def _longest_rising(places: Sequence[int]) -> set[int]:
    """Return the indices of a longest rising subsequence."""
    ends: list[int] = []  # the smallest last place of a subsequence of each length
    at: list[int] = []
    before: list[int | None] = []
    for i, place in enumerate(places):
        length = bisect_left(ends, place)
        before.append(at[length - 1] if length else None)
        ends[length:] = [place, *ends[length + 1 :]]
        at[length:] = [i, *at[length + 1 :]]
    found: set[int] = set()
    last = at[-1] if at else None
    while last is not None:
        found.add(last)
        last = before[last]
    return found
