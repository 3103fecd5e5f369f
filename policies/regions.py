"""Sets of requests, as a policy's rules cut them out: what lies in one and in no other. Pure.

Along each axis (policies.samples) the requests fall into finitely many kinds, told apart by which
conditions hold. A rule is a box: on every axis the kinds that it takes, as the bits of an integer.
Boxes are subtracted from one another exactly. Axes are taken to be independent of one another;
where requests are rarer than that (a tier follows from the complexity), what is said to be covered
still is.

Work is bounded (policies.work). Where the bound is met the answer is None: nobody knows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from operator import and_
from typing import Any, Final, NamedTuple

from policies.cases import facts_of
from policies.conditions import CONDITIONS
from policies.model import Condition, Rule
from policies.samples import Sample, sampler_of
from policies.work import MOST_STEPS_OF_ONE, MOST_TRIED, Work

Box = tuple[int, ...]
EVERY: Final = 1_000_000  # boxes: more than there is work for


class TooManyError(Exception):
    """The rules tell more kinds of requests apart than there is time to hold them against."""


class Axis(NamedTuple):
    """What a request may have here: one sample of every kind that conditions tell apart."""

    name: str
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Space:
    """All requests, and the box of every rule."""

    axes: tuple[Axis, ...]
    boxes: tuple[Box, ...]

    @property
    def all(self) -> Box:
        return tuple((1 << len(axis.samples)) - 1 for axis in self.axes)

    def example(self, box: Box) -> dict[str, Any]:
        """Return facts of a request in this box, which is not empty."""
        facts: dict[str, Any] = {"tags": {}}
        for axis, mask in zip(self.axes, box, strict=True):
            for name, value in _first(axis, mask).facts.items():
                facts[name] = {**facts["tags"], **value} if name == "tags" else value
        return facts

    def told(self, box: Box) -> str:
        """Return such a request in words, as far as the box says anything of it."""
        said = [
            _first(axis, mask).said
            for axis, mask, every in zip(self.axes, box, self.all, strict=True)
            if mask != every
        ]
        return ", ".join(said) or "any request"


def _first(axis: Axis, mask: int) -> Sample:
    return axis.samples[(mask & -mask).bit_length() - 1]


def space_of(rules: Sequence[Rule], most_tried: int = MOST_TRIED) -> Space:
    """Return the requests as these rules tell them apart; raise TooManyError."""
    split = [_by_axis(rule) for rule in rules]
    names = dict.fromkeys(name for found in split for name in found)
    axes, masks = [], []
    for name in names:
        axis, found, tried = _axis(name, [each.get(name) for each in split], most_tried)
        most_tried -= tried
        axes.append(axis)
        masks.append(found)
    boxes = [tuple(mask[i] for mask in masks) for i in range(len(rules))]
    return Space(tuple(axes), tuple(boxes))


def _by_axis(rule: Rule) -> dict[str, Condition]:
    """Return what the rule asks for on each axis; every tag is one."""
    found = {}
    for condition in rule.when:
        if condition.name != "tags":
            found[condition.name] = condition
            continue
        wanted: Mapping[str, Any] = condition.wanted  # type: ignore[assignment]  # canonical tags
        for tag, values in wanted.items():
            one = {tag: values}
            found[f"tags.{tag}"] = Condition("tags", one, CONDITIONS["tags"].matcher(one))
    return found


def _axis(
    name: str, conditions: Sequence[Condition | None], most_tried: int
) -> tuple[Axis, list[int], int]:
    """Return the axis, of every rule the kinds that it takes there, and how much was tried."""
    asked = [condition for condition in conditions if condition is not None]
    kinds: dict[tuple[bool, ...], Sample] = {}
    tried = 0
    for sample in sampler_of(name)([condition.wanted for condition in asked]):
        tried += len(asked)
        if tried > most_tried:
            raise TooManyError
        facts = facts_of(sample.facts)
        kinds.setdefault(tuple(condition.matches(facts) for condition in asked), sample)
    masks, every = [], (1 << len(kinds)) - 1
    place = {id(condition): i for i, condition in enumerate(asked)}
    for condition in conditions:
        if condition is None:
            masks.append(every)
        else:
            at = place[id(condition)]
            masks.append(sum(1 << n for n, held in enumerate(kinds) if held[at]))
    return Axis(name, tuple(kinds.values())), masks, tried


# ---- boxes ---------------------------------------------------------------------------------------


def meet(one: Box, other: Box) -> Box | None:
    """Return what lies in both; None: nothing does."""
    found = tuple(map(and_, one, other))
    return None if 0 in found else found


def within(one: Box, other: Box) -> bool:
    return tuple(map(and_, one, other)) == one


def left_of(
    box: Box, cuts: Sequence[Box], work: Work | None = None, most: int = EVERY
) -> list[Box] | None:
    """Return what of the box lies in none of the cuts, as boxes that don't meet: `most` of them,
    or as many as there is work for; []: nothing is left; None: too much work to know.
    """
    work = work or Work()
    if 0 in box:
        return []
    if work.done:
        return None
    work.steps -= len(cuts)
    # The largest first: what lies in one of them, or in few, is soon done with.
    both = [part for cut in cuts if (part := meet(box, cut)) is not None]
    near = sorted(both, key=_size, reverse=True)
    if near and near[0] == box:
        return []
    may, steps = min(MOST_STEPS_OF_ONE, work.steps), 0
    found: list[Box] = []
    parts = [(box, 0)]  # a part, and the first cut that it is still to be held against
    while parts and len(found) < most and steps <= may:
        part, at = parts.pop()
        cut_at = _first_that_meets(part, near, at)
        steps += 1 + cut_at - at
        if cut_at == len(near):
            found.append(part)
        else:
            parts += [(rest, cut_at + 1) for rest in reversed(_minus(part, near[cut_at]))]
    work.steps -= steps
    return found or (None if parts else [])


def _size(box: Box) -> int:
    return prod(map(int.bit_count, box))


def _first_that_meets(part: Box, cuts: Sequence[Box], start: int) -> int:
    """Return the place of the first of them from `start` on; the end where none does."""
    for at in range(start, len(cuts)):
        if meet(part, cuts[at]) is not None:
            return at
    return len(cuts)


def _minus(box: Box, cut: Box) -> list[Box]:
    """Return what of the box doesn't lie in the cut, which it meets."""
    parts, rest = [], list(box)
    for i, mask in enumerate(cut):
        outside = rest[i] & ~mask
        if outside:
            parts.append((*rest[:i], outside, *rest[i + 1 :]))
        rest[i] &= mask
    return parts
