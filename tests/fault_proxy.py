"""A TCP proxy that treats connections badly: what a network between two hosts can do to them.

Each direction has its `Fault`, which holds for connections made from then on. It delays and slows
down what passes; after so many bytes it drops all that follows (nothing is read any more, its end
neither, as where no packet is acknowledged), half-closes (FIN, while the other direction goes on)
or resets (RST to both ends). Else an end that goes away is told to the other one as it went.
"""

import asyncio
import contextlib
import math
import socket
import struct
import threading
from dataclasses import dataclass

PIECE_BYTES = 65536
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time


@dataclass(frozen=True)
class Fault:
    """`then` happens after so many bytes: `drop`, `half-close` or `reset`; "": nothing does."""

    delay_s: float = 0.0  # of each piece
    bytes_per_s: float = math.inf
    after: float = math.inf
    then: str = ""


WELL = Fault()


class Link:
    """One connection through the proxy: both ends, and which directions are over."""

    def __init__(self, near, far):
        self.ends = (near, far)
        self.over = [asyncio.Event(), asyncio.Event()]

    def reset(self):
        for _, writer in self.ends:
            sock = writer.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()

    async def carry(self, way, fault):
        """Carry one direction (0: to the server, 1: back) to its end."""
        reader, writer = self.ends[way][0], self.ends[1 - way][1]
        try:
            if await self._pass_on(reader, writer, fault):
                writer.write_eof()
            elif fault.then == "drop":
                await self.over[1 - way].wait()
            elif fault.then == "reset":
                self.reset()
            else:
                writer.write_eof()
                while await reader.read(PIECE_BYTES):  # it goes on talking to nobody
                    pass
        except OSError:  # an end was reset, or is gone: so is the other one then
            self.reset()
        finally:
            self.over[way].set()

    async def _pass_on(self, reader, writer, fault):
        """Return whether the sender's end came before the fault's."""
        left = fault.after
        while left:
            size = PIECE_BYTES if fault.bytes_per_s == math.inf else 1
            data = await reader.read(int(min(size, left)))
            if not data:
                return True
            left -= len(data)
            await asyncio.sleep(fault.delay_s + len(data) / fault.bytes_per_s)
            writer.write(data)
            await writer.drain()
        return False


class Proxy:
    """Listens on `port` for one server; `up` is the way to it, `down` the way back."""

    def __init__(self, server_port):
        self.up = self.down = WELL
        self.links = []
        self._server_port = server_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def cut(self):
        """Reset every connection there is, so that the next faults hold for all."""
        self._run(self._cut())

    def stop(self):
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _cut(self):
        while self.links:
            self.links.pop().reset()

    async def _end(self):
        self._server.close()
        await self._cut()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, *near):
        far = await asyncio.open_connection("127.0.0.1", self._server_port)
        link = Link(near, far)
        self.links.append(link)
        try:
            await asyncio.gather(link.carry(0, self.up), link.carry(1, self.down))
        except asyncio.CancelledError:  # the proxy ends, and asyncio would tell of each
            return
        finally:
            for _, writer in link.ends:
                writer.close()


@contextlib.contextmanager
def proxying(url):
    """Put a proxy before the server of this url."""
    proxy = Proxy(int(url.split(":")[2].split("/")[0]))
    try:
        yield proxy
    finally:
        proxy.stop()
