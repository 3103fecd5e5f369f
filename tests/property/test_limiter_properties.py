"""What holds for every fleet's limit, whatever comes of its requests.

The oracle looks through the whole history for what an event may still say.
"""

from hypothesis import example, given
from hypothesis import strategies as st

from router.limiter import MOST, ONCE_IN_S, SHRINK, Limiter, room

ONE, TWO, MANY = ("room", 1), ("room", 2), ("room", 3)
rooms = st.sampled_from([ONE, TWO, MANY])
events = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.sampled_from([0, 0.5, 1, 5])),
        st.tuples(st.just("send"), st.sampled_from([1, 2, 5])),
        st.tuples(st.just("answered"), st.sampled_from([-1, 0, 1])),  # in flight, over the limit
        st.tuples(st.just("dropped"), st.sampled_from([0, 1, 3])),  # how long ago it was sent
        rooms,
    ),
    max_size=40,
)


class Oracle:
    def __init__(self, each, most):
        self.each, self.most, self.replicas = each, most, 1
        self.share = 1.0
        self.shrunk = []  # (when, sent by then)

    def exact(self):
        places, floor = max(1, self.replicas) * self.each, max(1, self.replicas)
        most = MOST * max(floor, self.most) * self.each
        return sorted([floor, self.share * places, most])[1]

    def set(self, limit):
        places, floor = max(1, self.replicas) * self.each, max(1, self.replicas)
        most = MOST * max(floor, self.most) * self.each
        self.share = min(max(limit, floor), most) / places

    def answered(self, in_flight):
        if in_flight >= int(self.exact()):
            self.set(self.exact() + 1 / self.exact())

    def dropped(self, number, sent, now):
        says_something = all(
            number > before and now - when >= ONCE_IN_S for when, before in self.shrunk
        )
        if says_something:
            self.set(self.exact() * SHRINK)
            self.shrunk.append((now, sent))


@given(st.sampled_from([1, 2, 10]), st.sampled_from([1, 2, 4]), events)
@example(2, 1, [("send", 2), ("dropped", 0), ("send", 1), ("dropped", 0), ("wait", 1), TWO])
@example(1, 4, [("answered", 0)] * 40)
def test_the_limit_is_what_the_whole_history_says(each, most, history):
    limiter, oracle = Limiter(), Oracle(each, most)
    now, sent = 100.0, 1
    for what, how in history:
        at = room(oracle.replicas, each, most)
        if what == "wait":
            now += how
        elif what == "send":
            sent += how
        elif what == "room":
            oracle.replicas = how - 1  # none, one, two
        elif what == "answered":
            in_flight = limiter.limit(at) + how
            oracle.answered(in_flight)
            limiter.answered(in_flight, at)
        else:
            number = max(1, sent - how)
            oracle.dropped(number, sent, now)
            limiter.dropped(number, sent, now, at)
        at = room(oracle.replicas, each, most)
        limit = limiter.limit(at)
        assert abs(limit - oracle.exact()) <= 1
        assert abs(limiter.share - oracle.share) < 1e-9
        assert max(1, oracle.replicas) <= limit <= MOST * max(1, oracle.replicas, most) * each
