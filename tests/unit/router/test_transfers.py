"""Files that come or go slowly."""

import asyncio

import pytest

from router.errors import Refusal
from router.http import LEAST_BYTES_S, Http, HungUp

EACH_S = 0.2


def read(*parts):
    """Read a body whose parts come after these seconds; return the bytes, or who was refused."""
    left = list(parts)

    async def receive():
        wait_s, size = left.pop(0)
        await asyncio.sleep(wait_s)
        return {"type": "http.request", "body": b"x" * size, "more_body": bool(left)}

    async def play():
        http = Http({"method": "POST", "path": "/", "headers": ()}, receive, None)
        return sum([len(piece) async for piece in http.pieces(EACH_S)])

    return asyncio.run(play())


@pytest.mark.parametrize("parts", [[(1, 1)], [(EACH_S / 4, 1)] * 9])
def test_who_sends_a_byte_now_and_then_is_told_that_it_is_too_slow(parts):
    with pytest.raises(Refusal) as caught:
        read(*parts)
    assert (caught.value.status, caught.value.code) == (408, "request_timeout")


def test_who_keeps_the_least_speed_may_take_several_windows():
    size = int(EACH_S * LEAST_BYTES_S)
    assert read(*[(EACH_S / 4, size)] * 8) == 8 * size


def test_who_asks_for_a_file_and_does_not_read_it_is_cut_off():
    async def send(_message):
        await asyncio.sleep(60)

    async def play():
        http = Http({"method": "GET", "path": "/", "headers": ()}, None, send)
        await http.file_piece(b"x", 0.05)

    with pytest.raises(HungUp):
        asyncio.run(play())


@pytest.mark.parametrize(("size", "last"), [(50, False), (1000, True)])
def test_a_connection_whose_body_never_ends_is_closed(size, last):
    left = [size]

    async def receive():
        left[0] -= 10
        return {"type": "http.request", "body": b"x" * 10, "more_body": left[0] > 0}

    async def play():
        http = Http({"method": "POST", "path": "/", "headers": ()}, receive, None)
        await http.read_on(100)
        return http.last

    assert asyncio.run(play()) is last
