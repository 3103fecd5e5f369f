"""What holds for every line of waiting requests. The oracle sorts one list."""

from dataclasses import dataclass

from hypothesis import example, given
from hypothesis import strategies as st

from router.line import Line


@dataclass(frozen=True)
class One:
    urgency: int
    number: int
    fleets: frozenset


FLEETS = ("a", "b")
steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("join"),
            st.sampled_from([0, 1, 2]),
            st.sampled_from([frozenset("a"), frozenset("b"), frozenset("ab")]),
        ),
        st.tuples(st.just("call"), st.sampled_from(FLEETS), st.booleans()),  # and back again?
        st.tuples(st.just("leave"), st.sampled_from([0, 1, 2]), st.none()),
    ),
    max_size=30,
)
A = frozenset("a")


@given(st.sampled_from([0, 1, 2, 3]), steps)
@example(1, [("join", 2, A), ("join", 2, A), ("join", 0, A)])
@example(3, [("join", 1, A), ("join", 1, A), ("call", "a", True), ("call", "a", False)])
def test_the_urgent_go_first_then_who_came_first_and_the_last_of_these_is_pushed_out(most, history):
    line, oracle, came = Line(most), [], 0
    for what, which, more in history:
        if what == "join":
            one = One(which, came, more)
            came += 1
            oracle = sorted([*oracle, one], key=lambda each: (each.urgency, each.number))
            out = oracle.pop() if len(oracle) > most else None
            assert line.join(one) is out
        elif what == "call":
            turn = next((each for each in oracle if which in each.fleets), None)
            assert line.first(which) is turn
            if turn is not None:
                line.leave(turn)
                if more:
                    assert line.join(turn) is None
                else:
                    oracle.remove(turn)
        elif which < len(oracle):
            line.leave(oracle.pop(which))
        assert len(line) == len(oracle) <= most
        for urgency in range(3):
            assert line.waiting(urgency) == sum(each.urgency == urgency for each in oracle)
        assert line.wanted() == {fleet for each in oracle for fleet in each.fleets}


def test_who_is_not_there_can_leave():
    line = Line(2)
    line.leave(One(0, 7, A))
    assert len(line) == 0
