"""The protocol alone: bytes are fed to it, and what it does to its transport is looked at."""

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import Broken, Garbled
from backends.connection import (
    BODY_BYTES,
    HEAD_BYTES,
    HIGH_WATER_BYTES,
    PARTS,
    Connection,
    Response,
)

OK = b"HTTP/1.1 200 OK\r\n"
POOL = [b"", b"a", b"data: x\n\n", "价格多少。".encode(), "價格多少。\r\n\r\n".encode()]


class Wire(asyncio.Transport):
    """A transport that only remembers."""

    def __init__(self):
        super().__init__()
        self.written = b""
        self.paused = False
        self.unsent = 0
        self.aborted = False

    def write(self, data):
        self.written += data

    def is_closing(self):
        return self.aborted

    def abort(self):
        self.aborted = True

    def pause_reading(self):
        self.paused = True

    def resume_reading(self):
        self.paused = False

    def get_write_buffer_size(self):
        return self.unsent


class Lane:
    """A connection on its wire, and what its owner was told."""

    def __init__(self):
        self.freed = 0
        self.lost = 0
        self.wire = Wire()
        self.connection = Connection(self._free, self._lose)
        self.connection.connection_made(self.wire)

    def _free(self, _):
        self.freed += 1

    def _lose(self, _):
        self.lost += 1

    def ask(self, *, whole=True):
        return self.connection.send(b"POST / HTTP/1.1\r\n\r\n", whole=whole)

    def feed(self, *parts):
        for part in parts:
            self.connection.data_received(part)


def body_of(response: Response) -> bytes:
    return asyncio.run(response.body(1.0))


def counted(body):
    return OK + b"content-length: %d\r\n\r\n%b" % (len(body), body)


def chunked(parts, trailers=b""):
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part)
    return OK + b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n" + trailers + b"\r\n"


@st.composite
def _split_answers(draw):
    parts = draw(st.lists(st.sampled_from(POOL), max_size=4))
    body = b"".join(parts)
    closes = draw(st.sampled_from(["counted", "chunked", "trailers", "closed"]))
    raw = {
        "counted": counted(body),
        "chunked": chunked(parts),
        "trailers": chunked(parts, b"x-sum: 1\r\nx-status: 9\r\n"),
        "closed": OK + b"x: y\r\n\r\n" + body,
    }[closes]
    raw = draw(st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\nx-early: 1\r\n\r\n"])) + raw
    cuts = draw(st.lists(st.integers(1, len(raw)), max_size=6))
    edges = sorted({0, len(raw), *cuts})
    return (
        [raw[a:b] for a, b in itertools.pairwise(edges)],
        body,
        closes == "closed",
    )


@given(_split_answers(), st.booleans())
def test_an_answer_is_the_same_however_its_bytes_are_split(answer, whole):
    parts, body, closes = answer
    lane = Lane()
    response = lane.ask(whole=whole)
    lane.feed(*parts)
    if closes:
        lane.connection.connection_lost(None)
    assert body_of(response) == body
    assert response.status == 200
    assert b"x-early" not in response.headers
    assert b"x-sum" not in response.headers
    assert lane.freed == (not closes)


@given(_split_answers(), st.booleans(), st.data())
def test_an_answer_that_stops_before_its_end_is_broken_and_never_short(answer, whole, data):
    parts, _, closes = answer
    raw = b"".join(parts)
    head = raw.index(b"\r\n\r\n", raw.index(b" 200 ")) + 4
    keep = data.draw(st.integers(0, (head if closes else len(raw)) - 1))
    lane = Lane()
    response = lane.ask(whole=whole)
    lane.feed(*([raw[:keep]] if keep else []))
    lane.connection.connection_lost(None)
    with pytest.raises(Broken) as caught:
        body_of(response)
    assert caught.value.received == (keep > 0)
    assert lane.lost == 1


def test_a_reset_ends_even_an_answer_without_a_length():
    lane = Lane()
    response = lane.ask()
    lane.feed(OK + b"\r\nhalf")
    lane.connection.connection_lost(ConnectionResetError())
    with pytest.raises(Broken):
        asyncio.run(response.arrived(1.0))


def test_an_answer_without_a_length_is_not_whole_because_we_closed_it():
    lane = Lane()
    response = lane.ask(whole=False)
    lane.feed(OK + b"\r\nhalf")
    response.close()
    lane.connection.connection_lost(None)
    assert asyncio.run(response.read()) == b"half"
    with pytest.raises(Broken):
        asyncio.run(response.read())


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x16\x03\x01\x02\x00",
        b"HTTP/1.1 200 OK\ncontent-length: 0\n\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\nx",
        OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\nab",
        OK + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\nxyz\r\n",
    ],
)
def test_what_is_not_http_is_garbled_and_closes_the_connection(raw):
    lane = Lane()
    response = lane.ask()
    lane.feed(raw)
    with pytest.raises(Garbled):
        asyncio.run(response.arrived(1.0))
    assert lane.wire.aborted
    assert lane.freed == 0


def test_a_head_without_end_is_garbled_at_its_bound():
    for endless in (b"x: " + b"y" * 9000, b"x: y\r\n" * 1500):
        lane = Lane()
        response = lane.ask(whole=False)
        lane.feed(OK, *[endless] * (HEAD_BYTES // len(endless)))
        assert not lane.wire.aborted
        lane.feed(endless)
        with pytest.raises(Garbled, match="head"):
            asyncio.run(response.arrived(1.0))
        assert lane.wire.aborted


def test_interim_answers_without_end_are_garbled_at_the_same_bound():
    lane = Lane()
    response = lane.ask()
    lane.feed(*[b"HTTP/1.1 102 Processing\r\n\r\n" * 1000] * 3)
    with pytest.raises(Garbled, match="head"):
        asyncio.run(response.arrived(1.0))


def test_a_large_head_and_body_in_one_read_is_no_large_head():
    lane = Lane()
    response = lane.ask()
    lane.feed(counted(b"x" * HEAD_BYTES * 2))
    assert len(body_of(response)) == HEAD_BYTES * 2


def test_a_plain_answer_without_end_is_garbled_at_its_bound():
    lane = Lane()
    response = lane.ask()
    lane.feed(OK + b"transfer-encoding: chunked\r\n\r\n")
    mebibyte = b"100000\r\n" + b"x" * 2**20 + b"\r\n"
    lane.feed(*[mebibyte] * (BODY_BYTES // 2**20))
    assert not lane.wire.aborted
    lane.feed(mebibyte)
    with pytest.raises(Garbled, match="body"):
        asyncio.run(response.arrived(1.0))


def test_a_plain_answer_that_is_told_to_be_too_long_is_not_read():
    for length, kept in ((BODY_BYTES, True), (BODY_BYTES + 1, False)):
        lane = Lane()
        response = lane.ask()
        lane.feed(OK + b"content-length: %d\r\n\r\n" % length)
        assert lane.wire.aborted != kept
    with pytest.raises(Garbled, match="body"):
        asyncio.run(response.arrived(1.0))


def test_many_small_parts_take_no_more_memory_than_their_bytes():
    """A part of 2 bytes takes 56: kept apart, an answer of 64 MB would take 1.8 GB."""
    for whole in (True, False):
        lane = Lane()
        response = lane.ask(whole=whole)
        lane.feed(OK + b"transfer-encoding: chunked\r\n\r\n")
        sent = [b"%04x" % i for i in range(50_000)]
        lane.feed(*(b"4\r\n%b\r\n" % part for part in sent))
        assert len(response._parts) < PARTS + 50_000 / PARTS
        lane.feed(b"0\r\n\r\n")
        assert body_of(response) == b"".join(sent)
        assert response.size == 0


def test_what_came_of_a_plain_answer_that_failed_is_not_kept():
    lane = Lane()
    response = lane.ask()
    lane.feed(OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n")
    assert not response._parts


def test_the_body_of_a_stream_that_failed_has_the_same_bound():
    lane = Lane()
    response = lane.ask(whole=False)
    lane.feed(b"HTTP/1.1 500 No\r\n\r\n", *[b"x" * 2**20] * (BODY_BYTES // 2**20), b"x")
    with pytest.raises(Garbled, match="body"):
        body_of(response)
    assert lane.wire.aborted


@pytest.mark.parametrize("before", [b"", b"5\r\nhello\r\n"])
def test_trailers_and_chunk_marks_without_end_are_garbled(before):
    for endless in (b"0\r\nx-trailer", b"5;mark="):
        lane = Lane()
        response = lane.ask(whole=False)
        lane.feed(OK + b"transfer-encoding: chunked\r\n\r\n" + before + endless)
        lane.feed(*[b"x" * 4096] * (HEAD_BYTES // 4096 + 1))
        with pytest.raises(Garbled):
            body_of(response)


def test_an_unread_stream_makes_the_peer_wait_and_a_read_lets_it_go_on():
    lane = Lane()
    response = lane.ask(whole=False)
    lane.feed(OK + b"transfer-encoding: chunked\r\n\r\n")
    chunk = b"1000\r\n" + b"x" * 0x1000 + b"\r\n"
    fed = 0
    while not lane.wire.paused:
        lane.feed(chunk)
        fed += 0x1000
    assert HIGH_WATER_BYTES < fed <= HIGH_WATER_BYTES + 0x1000
    assert len(asyncio.run(response.read())) == fed
    assert not lane.wire.paused
    lane.feed(chunk)
    assert not lane.wire.paused


def test_a_paused_connection_reads_on_once_its_answer_is_whole():
    lane = Lane()
    response = lane.ask(whole=False)
    size = HIGH_WATER_BYTES + 1
    lane.feed(counted(b"x" * size))
    assert lane.freed == 1
    assert not lane.wire.paused
    assert len(asyncio.run(response.read())) == size


def test_bytes_that_nobody_asked_for_close_an_idle_connection():
    lane = Lane()
    first = lane.ask()
    lane.feed(counted(b"first"))
    lane.feed(counted(b"second"))
    assert lane.wire.aborted
    assert body_of(first) == b"first"


@pytest.mark.parametrize("behind", [counted(b"evil"), b"H", b"garbage", b"\x00"])
def test_bytes_behind_an_answer_are_not_believed_and_cost_the_connection(behind):
    lane = Lane()
    response = lane.ask()
    lane.feed(counted(b"first") + behind)
    assert body_of(response) == b"first"
    assert response.headers == {b"content-length": b"5"}
    assert lane.freed == 0
    assert lane.wire.aborted


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        (counted(b""), True),
        (OK + b"connection: close\r\ncontent-length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
    ],
)
def test_a_connection_is_kept_if_both_sides_may(raw, kept):
    lane = Lane()
    response = lane.ask()
    lane.feed(raw)
    assert body_of(response) == b""
    assert (lane.freed, lane.wire.aborted) == ((1, False) if kept else (0, True))


def test_a_connection_whose_request_is_not_all_sent_is_not_kept():
    lane = Lane()
    response = lane.ask()
    lane.wire.unsent = 1
    lane.feed(counted(b"too long"))
    assert body_of(response) == b"too long"
    assert lane.freed == 0


def test_closing_an_answer_that_is_whole_leaves_the_next_request_alone():
    lane = Lane()
    first = lane.ask()
    lane.feed(counted(b"first"))
    second = lane.ask()
    first.close()
    assert not lane.wire.aborted
    lane.feed(counted(b"second"))
    assert body_of(second) == b"second"
