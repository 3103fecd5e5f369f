"""Requests that are cancelled while they connect leave nothing behind, on either event loop.

uvloop closes such a transport without telling its protocol: the client once waited for it for ever,
at full speed, when it was closed.
"""

import asyncio
import contextlib

import pytest
import uvloop

from backends.base import BackendError
from backends.http1 import Client

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


async def answer(reader, writer):
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    writer.close()


@pytest.mark.parametrize("new_loop", LOOPS, ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("turns", range(6))
def test_a_client_closes_after_requests_were_cancelled_while_they_connected(new_loop, turns):
    async def run():
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        client = Client(f"http://127.0.0.1:{port}/v1")

        async def ask():
            with contextlib.suppress(BackendError):
                await client.request("POST", "/x")

        for _ in range(10):
            asking = [asyncio.ensure_future(ask()) for _ in range(20)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in asking[::2]:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        closing = asyncio.ensure_future(client.aclose())
        for _ in range(100):  # turns of the loop, far more than a close takes
            await asyncio.sleep(0)
        assert closing.done()
        assert not client._open
        server.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(run())
