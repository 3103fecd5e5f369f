"""Who is let into the process."""

import asyncio

import pytest

from router.doors import Doors, Places
from router.errors import Refusal
from router.http import BODY_LIMIT_BYTES, Http
from router.metrics import Metrics


def post(*headers):
    return Http({"method": "POST", "path": "/", "headers": headers}, None, None)


def of(size):
    return post((b"content-length", b"%d" % size))


def within(doors, *https):
    """Let these in one after the other, each by a task of its own; return who was refused."""

    async def play():
        leave = asyncio.Event()

        async def come(http):
            with doors.let_in(http):
                await leave.wait()

        tasks = [asyncio.create_task(come(http)) for http in https]
        await asyncio.sleep(0)
        leave.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    return [None if each is None else (each.status, each.code) for each in asyncio.run(play())]


FULL = (503, "overloaded")


def test_as_many_are_let_in_as_fit_and_again_when_they_are_gone():
    doors = Doors(Metrics(), most=2)
    for _ in range(2):
        assert within(doors, of(1), of(1), of(1)) == [None, None, FULL]
    assert (doors.tasks, doors.body_bytes) == (set(), 0)


@pytest.mark.parametrize(
    ("https", "refused"),
    [
        ((of(60), of(40), of(1)), [None, None, FULL]),
        ((of(101),), [FULL]),
        ((of(60), of(41), of(40)), [None, FULL, None]),
        ((post(),), [FULL]),  # it may be the longest
        ((post((b"content-length", b"\xb2")),), [FULL]),
    ],
)
def test_bodies_are_bounded_together(https, refused):
    assert within(Doors(Metrics(), 9, most_bytes=100), *https) == refused


def test_a_body_counts_for_no_more_than_may_be_read():
    assert within(Doors(Metrics(), 9, most_bytes=BODY_LIMIT_BYTES), of(10**12)) == [None]


def test_a_body_of_unknown_length_counts_for_what_it_is_once_it_is_there():
    doors = Doors(Metrics(), 9, most_bytes=BODY_LIMIT_BYTES + 50)

    async def play():
        http = post()
        with doors.let_in(http):
            assert doors.body_bytes == BODY_LIMIT_BYTES
            doors.measured(http, 30)
            assert doors.body_bytes == 30
        assert doors.body_bytes == 0

    asyncio.run(play())


def test_closed_doors_send_everybody_elsewhere():
    async def play():
        with Doors(Metrics(), 9, closed=True).let_in(of(1)):
            pass

    with pytest.raises(Refusal) as caught:
        asyncio.run(play())
    assert (caught.value.status, caught.value.code) == (503, "shutting_down")
    assert dict(caught.value.headers) == {b"retry-after": b"1", b"connection": b"close"}


def test_a_body_that_goes_to_disk_holds_no_room_for_bodies():
    doors = Doors(Metrics(), 9, most_bytes=0)

    async def play():
        with doors.let_in(of(10**9), held=False):
            assert (len(doors.tasks), doors.body_bytes) == (1, 0)

    asyncio.run(play())


def test_a_tenant_has_its_places_and_all_have_theirs_until_they_are_left():
    places = Places("uploads", 2, 3)

    def refused(tenant):
        with pytest.raises(Refusal) as caught, places.place(tenant):
            pass
        assert dict(caught.value.headers) == {b"retry-after": b"5"}
        return caught.value.status, caught.value.code

    with places.place("a"), places.place("a"):
        assert refused("a") == (429, "too_many_transfers")
        with places.place("b"):
            assert refused("b") == refused("c") == (503, "overloaded")
        with places.place("c"):
            pass
    assert not places.taken
