"""What becomes of calls in threads when nobody waits for them any more."""

import asyncio
import threading

import pytest

from router.ledger.port import LedgerUnavailable
from router.teller import THREADS, Teller


def slow(began, go, undone=None):
    """Return work that says when it began and waits for `go`."""

    def work():
        began.set()
        assert go.wait(10)
        return "done"

    return work


async def until(event):
    assert await asyncio.to_thread(event.wait, 10)


def test_where_the_ledger_is_a_file_nothing_leaves_the_thread():
    async def asked():
        teller, told = Teller(remote=False), []
        assert await teller.do(threading.get_ident) == threading.get_ident()
        assert await teller.do_soon(threading.get_ident, told.append) == threading.get_ident()
        teller.later(threading.get_ident, told.append)
        assert told == [threading.get_ident()]
        await teller.aclose()

    asyncio.run(asked())


def test_the_loop_goes_on_while_a_call_waits():
    async def asked():
        teller, began, go = Teller(remote=True), threading.Event(), threading.Event()
        waiting = asyncio.create_task(teller.do(slow(began, go)))
        await until(began)
        assert not waiting.done()  # and yet this runs
        go.set()
        assert await waiting == "done"
        await teller.aclose()

    asyncio.run(asked())


def test_what_was_done_for_a_caller_who_is_gone_is_undone():
    async def asked():
        teller, began, go = Teller(remote=True), threading.Event(), threading.Event()
        undone = []
        waiting = asyncio.create_task(teller.do_soon(slow(began, go), undone.append))
        await until(began)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert undone == []
        go.set()
        await teller.aclose()
        assert undone == ["done"]

    asyncio.run(asked())


def test_what_was_done_in_the_moment_of_the_cancellation_is_undone():
    async def asked():
        teller, undone = Teller(remote=True), []
        over = threading.Event()
        waiting = asyncio.create_task(teller.do_soon(lambda: over.set() or "done", undone.append))
        await asyncio.sleep(0)
        over.wait(10)  # the loop is held: it can't have heard yet
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await teller.aclose()
        assert undone == ["done"]

    asyncio.run(asked())


def test_what_takes_too_long_is_told_and_undone():
    async def asked():
        teller, began, go = Teller(remote=True, wait_s=0.01), threading.Event(), threading.Event()
        undone = []
        with pytest.raises(LedgerUnavailable, match="no answer within"):
            await teller.do_soon(slow(began, go), undone.append)
        go.set()
        await teller.aclose()
        assert undone == ["done"]

    asyncio.run(asked())


def test_what_was_not_begun_when_its_caller_left_never_is():
    async def asked():
        teller, go, begun, undone = Teller(remote=True), threading.Event(), [], []
        busy = [asyncio.create_task(teller.do(slow(threading.Event(), go))) for _ in range(THREADS)]
        await asyncio.sleep(0)
        waiting = asyncio.create_task(teller.do_soon(lambda: begun.append(1), undone.append))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        go.set()
        await asyncio.gather(*busy)
        await teller.aclose()
        assert (begun, undone) == ([], [])

    asyncio.run(asked())


def test_what_failed_for_a_caller_who_is_gone_has_nothing_to_undo(caplog):
    async def asked():
        teller, began, go = Teller(remote=True), threading.Event(), threading.Event()
        undone = []

        def work():
            slow(began, go)()
            raise LedgerUnavailable("it broke")

        waiting = asyncio.create_task(teller.do_soon(work, undone.append))
        await until(began)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        go.set()
        await teller.aclose()
        assert undone == []

    asyncio.run(asked())
    assert caplog.text == ""


def test_what_is_done_later_is_waited_for_at_the_end_and_told_on_the_loop():
    async def asked():
        teller, told, go = Teller(remote=True), [], threading.Event()
        teller.later(slow(threading.Event(), go), lambda _: told.append(threading.get_ident()))
        asyncio.get_running_loop().call_later(0.05, go.set)
        await teller.aclose()
        assert told == [threading.get_ident()]

    asyncio.run(asked())


def test_a_bug_in_what_is_done_later_is_told_by_its_name(caplog):
    async def asked():
        teller = Teller(remote=True)
        teller.later(lambda: {}["a prompt"], print)
        await teller.aclose()

    asyncio.run(asked())
    assert "a bug, KeyError" in caplog.text
    assert "a prompt" not in caplog.text
