"""A small HTTP/1.1 client for one origin, on asyncio's transports: 20 times lighter than httpx.

The connection used last is used next. A request that finds its kept connection closed, before any
byte of an answer, is sent once more on a new one; on a new one it never is.
No redirect is followed, no proxy is read from the environment, nothing is decompressed.
"""

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence

from backends import foreign
from backends.base import Broken, Misconfigured, Unreachable
from backends.connection import Connection, Response, left
from backends.urls import Target, address_objection, target

MAX_IDLE = 256
IDLE_S = 90.0  # below the 350 s after which AWS load balancers forget a flow without telling
CONNECT_S = 5.0
CLOSE_S = 1.0  # a closed connection is gone after a turn or two of the loop; a bound all the same

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[\t -~\x80-\xff]*")
_PATH = re.compile(r"/[!-~]*|")

_ALWAYS = {"user-agent": "sluice", "accept-encoding": "identity"}

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class Client:
    """Keep-alive connections to one origin. `headers` go with every request and are never shown."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        resolve: Resolve | None = None,
        connect_s: float = CONNECT_S,
        max_idle: int = MAX_IDLE,
    ) -> None:
        self._target = target(url)
        self._tls = tls
        self._resolve = resolve or _resolve
        self._connect_s = connect_s
        self._max_idle = max_idle
        self._fixed = _fixed_headers(self._target.authority, headers or {})
        self._heads: dict[tuple[str, str], bytes] = {}
        self._idle: dict[Connection, None] = {}  # an ordered set; the one used last is at the end
        self._open: set[Connection] = set()
        self._closed = False

    async def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        lines: bytes = b"",
        whole: bool = True,
        timeout_s: float | None = None,
    ) -> Response:
        """Return an answer that is here to its last byte, or without `whole` with its head.

        `timeout_s` is for all of that; then TimedOut, or Unreachable if nothing was sent by then.
        `lines` are headers of this request alone, as `header_lines` makes them.
        """
        message = self._message(method, path, body, lines)
        loop = asyncio.get_running_loop()
        began = loop.time()
        connection = self._kept(began)
        if connection is not None:
            response = connection.send(message, whole=whole)
            try:
                await response.arrived(timeout_s)
            except Broken as exc:
                if exc.received:
                    raise
            else:
                return response
        connection = await self._connect(left(timeout_s, loop.time() - began))
        response = connection.send(message, whole=whole)
        await response.arrived(left(timeout_s, loop.time() - began))
        return response

    @property
    def target(self) -> Target:
        return self._target

    async def aclose(self) -> None:
        """Close every connection, in use or not, and wait until they are gone."""
        self._closed = True
        for connection in tuple(self._open):
            connection.abort()
        now = asyncio.get_running_loop().time
        ends = now() + CLOSE_S
        while self._open and now() < ends:  # noqa: ASYNC110 (a turn or two of the loop)
            await asyncio.sleep(0)

    def _message(self, method: str, path: str, body: bytes, lines: bytes = b"") -> bytes:
        head = self._heads.get((method, path))
        if head is None:
            if not _PATH.fullmatch(path):
                raise ValueError("a path starts with `/` and is ASCII without spaces")
            line = f"{method} {self._target.base_path}{path} HTTP/1.1\r\n"
            head = self._heads[method, path] = line.encode("ascii") + self._fixed
        return b"%b%bcontent-length: %d\r\n\r\n%b" % (head, lines, len(body), body)

    def _kept(self, now: float) -> Connection | None:
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.closing:
                continue
            if now - connection.idle_since < IDLE_S:
                return connection
            connection.abort()
        return None

    async def _connect(self, timeout_s: float | None) -> Connection:
        if self._closed:
            raise _closed()
        limit_s = self._connect_s if timeout_s is None else min(self._connect_s, timeout_s)
        try:
            async with asyncio.timeout(limit_s):
                addresses = await self._addresses()
                connection = await self._first_of(addresses, limit_s / max(1, len(addresses)))
        except foreign.AT_CONNECT as exc:
            raise foreign.at_connect(exc) from exc
        if self._closed:
            connection.abort()
            raise _closed()
        return connection

    async def _addresses(self) -> Sequence[str]:
        host = self._target.host
        try:
            ipaddress.ip_address(host)
        except ValueError:
            addresses = await self._resolve(host, self._target.port)
        else:
            addresses = [host]
        for address in addresses:  # any of them: a name that leads there once is not trusted
            objection = address_objection(address)
            if objection is not None:
                raise Misconfigured(f"the address of the host {objection}")
        return addresses

    async def _first_of(self, addresses: Sequence[str], each_s: float) -> Connection:
        failure: OSError = socket.gaierror()
        for address in addresses:
            try:
                async with asyncio.timeout(each_s):  # a silent one leaves time for the next
                    return await self._open_to(address)
            except OSError as exc:
                failure = exc
        raise failure

    async def _open_to(self, address: str) -> Connection:
        secure = self._target.tls
        if secure and self._tls is None:
            self._tls = ssl.create_default_context()  # 20 ms: only where TLS is spoken
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: Connection(self._freed, self._lost),
            address,
            self._target.port,
            ssl=self._tls if secure else None,
            server_hostname=self._target.host if secure else None,
        )
        # Not from within connection_made: uvloop closes a transport whose connect was cancelled
        # just then without telling its protocol, and its end would be waited for for ever.
        if not connection.gone:
            self._open.add(connection)
        return connection

    def _freed(self, connection: Connection) -> None:
        if self._closed or len(self._idle) >= self._max_idle:
            connection.abort()
            return
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle[connection] = None

    def _lost(self, connection: Connection) -> None:
        self._idle.pop(connection, None)
        self._open.discard(connection)


def _closed() -> Unreachable:
    return Unreachable("this client was closed")


async def _resolve(host: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def header_lines(headers: Mapping[str, str]) -> bytes:
    """Return the headers as they are sent. Raises ValueError, which doesn't repeat the value."""
    lines = []
    for name, value in headers.items():
        raw_name, raw_value = name.encode(), value.encode()
        if not _TOKEN.fullmatch(raw_name) or not _VALUE.fullmatch(raw_value):
            raise ValueError(f"the header `{name}` has characters that no header may have")
        lines.append(b"%b: %b\r\n" % (raw_name, raw_value))
    return b"".join(lines)


def _fixed_headers(authority: str, headers: Mapping[str, str]) -> bytes:
    return header_lines({"host": authority, **_ALWAYS, **headers})
