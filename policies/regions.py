"""Sets of requests, as a policy's rules cut them out: what lies in one and in no other. Pure.

Along each axis (policies.samples) the requests fall into finitely many kinds, told apart by which
conditions hold. A rule is a box: on every axis the kinds that it takes, as the bits of an integer.
Boxes are subtracted from one another exactly. Axes are taken to be independent of one another;
where requests are rarer than that (a tier follows from the complexity), what is said to be covered
still is.

Work is bounded. Where the bound is met the answer is None: nobody knows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from policies.cases import facts_of
from policies.conditions import CONDITIONS
from policies.model import Condition, Rule
from policies.samples import Sample, sampler_of

Box = tuple[int, ...]
MOST_STEPS = 20_000  # boxes looked at for one question; the shipped policies take less than 50


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


def space_of(rules: Sequence[Rule]) -> Space:
    """Return the requests as these rules tell them apart."""
    split = [_by_axis(rule) for rule in rules]
    names = dict.fromkeys(name for found in split for name in found)
    axes, masks = [], []
    for name in names:
        axis, found = _axis(name, [conditions.get(name) for conditions in split])
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


def _axis(name: str, conditions: Sequence[Condition | None]) -> tuple[Axis, list[int]]:
    """Return the axis, and of every rule the kinds that it takes there."""
    asked = [condition for condition in conditions if condition is not None]
    kinds: dict[tuple[bool, ...], Sample] = {}
    for sample in sampler_of(name)([condition.wanted for condition in asked]):
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
    return Axis(name, tuple(kinds.values())), masks


# ---- boxes ---------------------------------------------------------------------------------------


def meet(one: Box, other: Box) -> Box | None:
    """Return what lies in both; None: nothing does."""
    found = tuple(a & b for a, b in zip(one, other, strict=True))
    return None if 0 in found else found


def within(one: Box, other: Box) -> bool:
    return not any(a & ~b for a, b in zip(one, other, strict=True))


def left_of(box: Box, cuts: Sequence[Box], most_steps: int = MOST_STEPS) -> list[Box] | None:
    """Return what of the box lies in none of the cuts, as boxes that don't meet; None: too much
    work to know.
    """
    left = [] if 0 in box else [box]
    steps = 0
    for cut in cuts:
        if meet(box, cut) is None:
            continue
        steps += len(left)
        if steps > most_steps:
            return None
        left = [part for each in left for part in _minus(each, cut)]
    return left


def _minus(box: Box, cut: Box) -> list[Box]:
    if meet(box, cut) is None:
        return [box]
    parts, rest = [], list(box)
    for i, mask in enumerate(cut):
        outside = rest[i] & ~mask
        if outside:
            parts.append((*rest[:i], outside, *rest[i + 1 :]))
        rest[i] &= mask
    return parts
