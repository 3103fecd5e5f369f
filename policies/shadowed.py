"""What the order of a policy's rules leaves odd: rules that no request reaches, requests that no
rule takes, and protection that a rule above lets by. Pure.

It is reasoned over the conditions (policies.regions), so that a rule that is told of is never
reached by any request at all. Where that would take too long, nothing is said.
"""

from collections.abc import Iterator, Sequence

from policies.model import Policy, Rule
from policies.odd import Odd, of_rule
from policies.regions import Box, Space, left_of, meet, space_of, within

SHOWN = 3  # rules that a message names


def order_oddities(policy: Policy, says_relax: frozenset[int]) -> Iterator[Odd]:
    """Yield what is odd about the order; `says_relax`: the rules that write `relax: []`."""
    space = space_of(policy.rules)
    dead = set()
    for i, rule in enumerate(policy.rules):
        if not _reachable(space.boxes[i], space.boxes[:i]):
            dead.add(i)
            yield of_rule("unreachable", i, rule, _why_unreachable(policy.rules, space, i))
    yield from _uncovered(policy.rules, space)
    for i, rule in enumerate(policy.rules):
        if i not in dead and rule.when:
            yield from _preempted(policy.rules, space, i, says_relax=i in says_relax)


def _reachable(box: Box, above: Sequence[Box]) -> bool:
    """Tell whether some request may reach the box; where nobody knows, it may."""
    return left_of(box, above) != []


def _why_unreachable(rules: Sequence[Rule], space: Space, i: int) -> str:
    box = space.boxes[i]
    if 0 in box:
        return "never reached: no request meets its conditions"
    takers = _takers(box, space.boxes[:i])
    names = ", ".join(f"`{rules[at].id}`" for at in takers)
    if len(takers) == 1:
        return f"never reached: rule {names} above takes every request that it matches"
    return f"never reached: rules {names} above together take every request that it matches"


def _takers(box: Box, above: Sequence[Box]) -> list[int]:
    """Return rules above that take the whole box, and of which none is dispensable."""
    alone = next((i for i, other in enumerate(above) if within(box, other)), None)
    if alone is not None:
        return [alone]
    needed = [i for i, other in enumerate(above) if meet(box, other) is not None]
    for i in reversed(needed):
        rest = [j for j in needed if j != i]
        if not _reachable(box, [above[j] for j in rest]):
            needed = rest
    return needed


def _uncovered(rules: Sequence[Rule], space: Space) -> Iterator[Odd]:
    left = left_of(space.all, space.boxes)
    if left:
        widest = max(left, key=lambda box: sum(map(int.__eq__, box, space.all)))
        said = "nothing follows that matches the rest, which is refused"
        last = len(rules) - 1
        message = f"{said} (for example: {space.told(widest)})"
        yield of_rule("no_rule", last, rules[last], message)


def _preempted(rules: Sequence[Rule], space: Space, i: int, *, says_relax: bool) -> Iterator[Odd]:
    """Yield the rules above that take requests of a protected rule without its protection.

    One that lies within it is an exception that was written on purpose.
    """
    rule, box = rules[i], space.boxes[i]
    for j, above in enumerate(rules[:i]):
        lacking = _lacking(rule, above, says_relax=says_relax)
        both = meet(box, space.boxes[j])
        if not lacking or both is None or within(space.boxes[j], box):
            continue
        left = left_of(both, space.boxes[:j])
        if left:
            example = space.told(left[0])
            said = f"rule `{above.id}` above takes requests of it without {' and '.join(lacking)}"
            key = "residency" if "its `residency`" in lacking else "relax"
            message = f"{said} (for example: {example}): put this rule first"
            yield of_rule("preempted", i, rule, message, key)


def _lacking(rule: Rule, above: Rule, *, says_relax: bool) -> list[str]:
    lacking = []
    if rule.residency is not None and not (
        above.residency is not None and above.residency <= rule.residency
    ):
        lacking.append("its `residency`")
    if says_relax and not rule.settings.relax and above.settings.relax:
        lacking.append("its `relax: []`")
    return lacking
