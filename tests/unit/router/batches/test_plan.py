"""What of all batches is put on the queue in a minute."""

from router.batches.aws_chunks import CHUNK, Chunk, Span
from router.batches.pace import most_queued
from router.batches.plan import Open, due_now
from router.batches.port import Batch
from router.batches.schedule import Pace, window_of
from router.identity import Key

NOW = 1_800_000_000  # 08:00 in UTC
HOUR = 3600
OPEN, CLOSED = window_of("07:00-09:00@UTC"), window_of("20:00-21:00@UTC")


def open_(name, tenant="acme", chunks=3, ends=24 * HOUR, due_s=0, *, queued=0, left=None):
    key = Key(id="k", tenant=tenant)
    batch = Batch(name, key, True, "file-1", "/v1", HOUR, {}, NOW, NOW + ends, HOUR, "in_progress")
    spans = [Span(name, n * CHUNK + 1, (n + 1) * CHUNK) for n in range(chunks)]
    made = [
        Chunk(span, NOW + 60, queued=True) if n < queued else Chunk(span, due_s)
        for n, span in enumerate(spans)
    ]
    return Open(batch, chunks * CHUNK if left is None else left, made)


def names(found, pace=None, now_s=NOW):
    return [chunk.span.batch_id for chunk in due_now(found, pace or Pace(None, 20), now_s)]


def test_inside_the_window_or_without_one_what_is_due_is_queued():
    assert names([open_("a")]) == ["a"] * 3
    assert names([open_("a")], Pace(OPEN, 20)) == ["a"] * 3


def test_outside_the_window_nothing_is():
    assert names([open_("a")], Pace(CLOSED, 20)) == []


def test_outside_the_window_a_deadline_that_presses_opens_it_for_its_batch_alone():
    both = [open_("a"), open_("b", ends=600)]
    assert set(names(both, Pace(CLOSED, 20))) == {"b"}


def test_a_batch_whose_deadline_is_over_is_not_sent():
    assert names([open_("a", ends=0)]) == []


def test_lines_that_come_again_later_are_not_due_before():
    assert names([open_("a", due_s=NOW + 1)]) == []
    assert names([open_("a", due_s=NOW + 1)], now_s=NOW + 1) == ["a"] * 3


def test_no_more_are_queued_than_are_sent_in_minutes():
    most = most_queued(20)
    assert len(names([open_("a", chunks=100)])) == most
    assert len(names([open_("a", chunks=100, queued=most - 2)])) == 2
    assert names([open_("a", chunks=100, queued=most)]) == []


def test_tenants_have_their_turns():
    found = names([open_("a", "one", chunks=100), open_("b", "two", chunks=100)])
    assert found.count("a") == found.count("b") == most_queued(20) // 2


def test_a_chunk_whose_message_was_set_aside_is_due_once_more():
    waited = open_("a", chunks=1, queued=1)
    assert names([waited]) == []
    assert names([waited], now_s=NOW + 60) == ["a"]
