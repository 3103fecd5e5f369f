"""What one url is doing, asked of the engine itself: never on a request's way, bounded in all."""

import asyncio
import errno
from collections.abc import Callable, Mapping

from backends.base import BackendError, Misconfigured, Seen, Unreachable
from backends.connection import left
from backends.dialects import Dialect
from backends.http1 import Client
from backends.signals import NOTHING, Signals, read

PROBE_S = 2.0  # for all of one probe; an engine that computes may take a batch's time to answer
PROBE_BYTES = 512 * 1024  # of an answer; vLLM's metrics are 60 kB
TWICE = 2  # a connect that nobody answers may be a lost packet; a refusal is none
OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
OK, LOADING = 200, 503


class Probe:
    """One url. `headers` are those of requests: a key opens the metrics too."""

    def __init__(self, url: str, headers: Mapping[str, str], dialect: Dialect, model: str) -> None:
        self._client = Client(root_of(url), headers, connect_s=PROBE_S, max_idle=1)
        self._dialect = dialect
        self._model = model
        self._silent = 0

    async def look(self, in_flight: Callable[[], int]) -> Seen:
        """Ask once. `in_flight` returns how many requests of ours are there at that moment."""
        ends_s = asyncio.get_running_loop().time() + PROBE_S
        before = in_flight()
        try:
            state, signals = await self._ask(ends_s)
        except Unreachable as exc:
            return Seen("down" if self._is_down(exc.__cause__) else "unknown")
        except Misconfigured:  # a certificate or an address that requests would be refused by too
            return Seen("down")
        except BackendError:  # it is there, and says nothing that can be read in time
            self._silent = 0
            return Seen("unknown")
        self._silent = 0
        if state == "loading":
            return Seen("loading")
        # Ours that began or ended meanwhile are nobody else's: the larger count goes off.
        ours = max(before, in_flight())
        others = None
        if signals.running is not None:
            others = max(0, signals.running + (signals.waiting or 0) - ours)
        return Seen("up", signals.running, signals.waiting, others, signals.kv_used, signals.warm)

    async def aclose(self) -> None:
        await self._client.aclose()

    def _is_down(self, cause: BaseException | None) -> bool:
        if isinstance(cause, OSError) and cause.errno in OURS:
            return False
        self._silent += 1
        return isinstance(cause, ConnectionRefusedError) or self._silent >= TWICE

    async def _ask(self, ends_s: float) -> tuple[str, Signals]:
        status = 0
        for ask in self._dialect.status:
            status, body = await page(self._client, ask.path, ends_s)
            if status == LOADING:
                break
            if status == OK:
                signals = read(ask, body, self._dialect, self._model)
                if signals != NOTHING:
                    return "up", signals
        if status == LOADING:
            status, _ = await page(self._client, self._dialect.alive, ends_s)
        return ("loading" if status == LOADING else "up"), NOTHING


def root_of(url: str) -> str:
    """Return where a server's own pages are: a fleet's url without its `/v1`."""
    return url.rstrip("/").removesuffix("/v1")


async def page(client: Client, path: str, ends_s: float) -> tuple[int, bytes]:
    """Return status and body of a page, by this time of the loop; one that is too long is empty."""
    now_s = asyncio.get_running_loop().time
    response = await client.request("GET", path, whole=False, timeout_s=left(ends_s, now_s()))
    parts: list[bytes] = []
    size = 0
    try:
        while part := await response.read(left(ends_s, now_s())):
            parts.append(part)
            size += len(part)
            if size > PROBE_BYTES:
                return response.status, b""
    finally:
        response.close()  # of a whole answer: nothing is dropped
    return response.status, b"".join(parts)
