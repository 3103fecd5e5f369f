"""What the order of a policy's rules leaves odd: rules that no request reaches, requests that no
rule takes, and protection that a rule above lets by. Pure.

It is reasoned over the conditions (policies.regions), so that a rule that is told of is never
reached by any request at all. Work is bounded; how many questions have no answer is told.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from policies.model import Policy, Rule
from policies.odd import Odd, of_rule
from policies.regions import Box, Space, TooManyError, left_of, meet, space_of, within
from policies.work import Work

SHOWN = 6  # rules that a message names
MOST_TAKERS = 40  # that are tried one by one: which of them could be left out
EXAMPLES = 64  # of what no rule takes, of which the plainest is told


@dataclass(slots=True)
class Asked:
    """The questions about one policy's order, and how many of them have no answer."""

    rules: Sequence[Rule]
    space: Space
    work: Work
    count: int = 0
    unanswered: int = 0

    def left(self, box: Box, above: Sequence[Box], most: int = 1) -> list[Box] | None:
        return left_of(box, above, self.work, most)

    def answered(self, *, known: bool) -> bool:
        """Count a question; tell whether it has an answer."""
        self.count += 1
        self.unanswered += not known
        return known


def order_oddities(
    policy: Policy, says_relax: frozenset[int], work: Work | None = None
) -> Iterator[Odd]:
    """Yield what is odd about the order; `says_relax`: the rules that write `relax: []`."""
    work = work or Work()
    try:
        asked = Asked(policy.rules, space_of(policy.rules, work.tried), work)
    except TooManyError:
        said = "no question about their order is answered: they tell too many kinds apart"
        yield Odd("unanswered", ("rules",), f"rules: {said}")
        return
    yield from _found(asked, says_relax)
    if asked.unanswered:
        said = "questions about their order have no answer, which would take too much work"
        message = f"rules: {asked.unanswered:,} of {asked.count:,} {said}"
        yield Odd("unanswered", ("rules",), message)


def _found(asked: Asked, says_relax: frozenset[int]) -> Iterator[Odd]:
    boxes, dead = asked.space.boxes, set()
    for i, rule in enumerate(asked.rules):
        left = asked.left(boxes[i], boxes[:i])
        if asked.answered(known=left is not None) and not left:
            dead.add(i)
            yield of_rule("unreachable", i, rule, _why_unreachable(asked, i))
    yield from _uncovered(asked)
    for i, rule in enumerate(asked.rules):
        if i not in dead and rule.when:
            yield from _preempted(asked, i, says_relax=i in says_relax)


def _why_unreachable(asked: Asked, i: int) -> str:
    box = asked.space.boxes[i]
    if 0 in box:
        return "never reached: no request meets its conditions"
    takers = _takers(asked, box, asked.space.boxes[:i])
    names = ", ".join(f"`{asked.rules[at].id}`" for at in takers[:SHOWN])
    if len(takers) > SHOWN:
        names += f" and {len(takers) - SHOWN} more"
    if len(takers) == 1:
        return f"never reached: rule {names} above takes every request that it matches"
    return f"never reached: rules {names} above together take every request that it matches"


def _takers(asked: Asked, box: Box, above: Sequence[Box]) -> list[int]:
    """Return rules above that take the whole box; of a few, none that could be left out."""
    alone = next((i for i, other in enumerate(above) if within(box, other)), None)
    if alone is not None:
        return [alone]
    needed = [i for i, other in enumerate(above) if meet(box, other) is not None]
    for i in reversed(needed if len(needed) <= MOST_TAKERS else []):
        rest = [j for j in needed if j != i]
        if asked.left(box, [above[j] for j in rest]) == []:
            needed = rest
    return needed


def _uncovered(asked: Asked) -> Iterator[Odd]:
    rules, space = asked.rules, asked.space
    left = asked.left(space.all, space.boxes, EXAMPLES)
    if asked.answered(known=left is not None) and left:
        widest = max(left, key=lambda box: sum(map(int.__eq__, box, space.all)))
        said = "nothing follows that matches the rest, which is refused"
        last = len(rules) - 1
        message = f"{said} (for example: {space.told(widest)})"
        yield of_rule("no_rule", last, rules[last], message)


def _preempted(asked: Asked, i: int, *, says_relax: bool) -> Iterator[Odd]:
    """Yield the rules above that take requests of a protected rule without its protection.

    One that lies within it is an exception that was written on purpose.
    """
    rule, boxes = asked.rules[i], asked.space.boxes
    lacking = [_lacking(rule, above, says_relax=says_relax) for above in asked.rules[:i]]
    if not any(lacking):
        return
    known = True
    for j in (j for j, less in enumerate(lacking) if less):
        left = _taken(asked, boxes[i], j)
        known = known and left is not None
        if left:
            example, above = asked.space.told(left[0]), asked.rules[j].id
            said = f"rule `{above}` above takes requests of it without {' and '.join(lacking[j])}"
            key = "residency" if "its `residency`" in lacking[j] else "relax"
            message = f"{said} (for example: {example}): put this rule first"
            yield of_rule("preempted", i, rule, message, key)
    asked.answered(known=known)


def _taken(asked: Asked, box: Box, j: int) -> list[Box] | None:
    """Return what rule `j` takes of the box, unless it lies within it; None: nobody knows."""
    if asked.work.done:
        return None
    asked.work.steps -= 1
    boxes = asked.space.boxes
    both = meet(box, boxes[j])
    return [] if both is None or within(boxes[j], box) else asked.left(both, boxes[:j])


def _lacking(rule: Rule, above: Rule, *, says_relax: bool) -> list[str]:
    lacking = []
    if rule.residency is not None and not (
        above.residency is not None and above.residency <= rule.residency
    ):
        lacking.append("its `residency`")
    if says_relax and not rule.settings.relax and above.settings.relax:
        lacking.append("its `relax: []`")
    return lacking
