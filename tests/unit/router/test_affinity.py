import pytest

from router.affinity import PREFIX_CHARACTERS, prefix_of


def body(*messages):
    return {"messages": [{"role": role, "content": content} for role, content in messages]}


SYSTEM, TURN = ("system", "You label tickets."), ("user", "I was charged twice")


def test_the_turns_of_a_conversation_have_one_prefix():
    begun = prefix_of(body(SYSTEM, TURN))
    assert prefix_of(body(SYSTEM, TURN, ("assistant", "billing"), ("user", "and this?"))) == begun


@pytest.mark.parametrize(
    "other",
    [
        body(SYSTEM, ("user", "It never arrived")),
        body(("system", "You label reviews."), TURN),
        body(TURN),
        body(("user", "You label tickets."), TURN),
        body(SYSTEM, ("user", "把这条工单分类")),
    ],
)
def test_what_begins_otherwise_has_another(other):
    assert prefix_of(other) != prefix_of(body(SYSTEM, TURN))


def test_only_the_beginning_counts():
    long = "x" * PREFIX_CHARACTERS
    assert prefix_of(body(("user", long + "a"))) == prefix_of(body(("user", long + "b")))
    assert prefix_of(body(("user", long[:-1] + "a"))) != prefix_of(body(("user", long)))


def test_parts_count_as_their_text_and_what_is_no_text_does_not_matter():
    parts = [{"type": "text", "text": TURN[1]}, {"type": "image_url", "image_url": {"url": "x"}}]
    assert prefix_of(body(("user", parts))) == prefix_of(body(TURN))
    assert prefix_of(body(("assistant", None))) == prefix_of(body(("assistant", "")))


def test_it_is_a_digest_of_a_few_bytes_whatever_the_text():
    assert len(prefix_of(body(("user", "\ud800" + "很" * 100_000)))) == 8
