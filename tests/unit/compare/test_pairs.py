"""Who moved, in two orders of the same entries."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from router.compare.pairs import moves, paired


def entries(names):
    return [{"id": name} for name in names]


def told(old, new):
    pairs = paired(entries(old), entries(new))
    for move in moves(pairs.common, entries(old)):
        me = move.pair[1]["id"]
        yield from ((me, other["id"]) for _, other in move.passed)
        yield from ((other["id"], me) for _, other in move.let_pass)


@given(st.permutations("abcde"), st.permutations("abcde"))
def test_every_pair_that_changed_its_order_is_told_exactly_once(old, new):
    turned = [
        (upper, lower)
        for upper, lower in itertools.combinations(new, 2)
        if old.index(upper) > old.index(lower)
    ]
    assert sorted(told(old, new)) == sorted(turned)


def test_one_entry_that_goes_to_the_front_is_one_move():
    pairs = paired(entries("abcd"), entries("dabc"))
    (move,) = moves(pairs.common, entries("abcd"))
    assert move.pair[1]["id"] == "d"
