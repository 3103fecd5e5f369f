"""Whole requests to one origin over connections that are kept, for any number of threads.

On plain sockets and httptools, which the router has loaded anyway: http.client takes twice the time
for a call (docs/decisions/0015). No redirect is followed and no proxy used.
"""

import contextlib
import select
import socket
import ssl
import time
import weakref
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httptools

IDLE_S: Final = 45.0  # below what AWS's front ends keep a connection for
READ_BYTES: Final = 1 << 16
MOST_BYTES: Final = 24 * 1024 * 1024  # DynamoDB answers 16 MB at most, the others less


class NoAnswer(Exception):  # noqa: N818  (it reads as what it says)
    """Says why; nothing of the request is in it."""


class _Stale(NoAnswer):
    """A kept connection was closed before any byte of the answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`headers`: names in lower case."""

    status: int
    headers: Mapping[bytes, bytes]
    body: bytes


class Origin:
    """Requests to one URL. Raises ValueError for what is none."""

    def __init__(
        self, url: str, connect_s: float, read_s: float, ca_file: str | None = None
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ValueError(f"`{url}` is no URL of a service (valid: http://HOST:PORT)")
        if parts.query or parts.fragment or not url.isascii():
            raise ValueError(f"`{url}` has more than a host and a path")
        self._tls = None
        if parts.scheme == "https":
            self._tls = ssl.create_default_context(cafile=ca_file)
        self.host = parts.netloc
        self.path = parts.path or "/"
        self._to = (parts.hostname, parts.port or (443 if self._tls else 80))
        self._connect_s, self._read_s = connect_s, read_s
        # The one used last is at the end; since when, by both clocks.
        self._idle: deque[tuple[socket.socket, float, float]] = deque()
        self._closed = False
        weakref.finalize(self, _close_all, self._idle)  # whoever has no more use for it

    def send(self, method: str, target: str, head: str, body: bytes) -> Answer:
        """Send the header lines, which end with CRLF, and the body. Raises NoAnswer.

        A kept connection that turns out to be closed is no failure: a new one is taken.
        """
        start = f"{method} {target} HTTP/1.1\r\nhost: {self.host}\r\n"
        message = f"{start}{head}content-length: {len(body)}\r\n\r\n".encode() + body
        kept = self._kept()
        if kept is not None:
            with contextlib.suppress(_Stale):
                return self._exchange(kept, message)
        return self._exchange(self._connected(), message)

    def close(self) -> None:
        """Close what is idle; what is in use is closed after its answer."""
        self._closed = True
        _close_all(self._idle)

    def _exchange(self, connection: socket.socket, message: bytes) -> Answer:
        reading = _Reading()
        try:
            connection.sendall(message)
            while not reading.whole:
                received = connection.recv(READ_BYTES)
                if not received:
                    raise _Stale("closed") if not reading.begun else NoAnswer("closed early")
                reading.feed(received)
        except TimeoutError:
            connection.close()
            _close_all(self._idle)  # what cut this one off without a word did so to them as well
            raise NoAnswer(f"no answer within {self._read_s:g} s") from None
        except OSError as exc:
            connection.close()
            kind = NoAnswer if reading.begun else _Stale
            raise kind(f"the connection broke ({type(exc).__name__})") from None
        except NoAnswer:
            connection.close()
            raise
        if reading.kept and not self._closed:
            self._idle.append((connection, time.monotonic(), time.time()))
        else:
            connection.close()
        return Answer(reading.status, reading.headers, b"".join(reading.parts))

    def _kept(self) -> socket.socket | None:
        while True:
            try:
                connection, since_s, at_s = self._idle.pop()
            except IndexError:
                return None
            # A machine that was frozen may say by the one clock alone how long it was away.
            idle_s = max(time.monotonic() - since_s, time.time() - at_s)
            if idle_s < IDLE_S and not _readable(connection):
                return connection
            connection.close()

    def _connected(self) -> socket.socket:
        try:
            plain = socket.create_connection(self._to, self._connect_s)
        except TimeoutError:
            raise NoAnswer(f"no connection within {self._connect_s:g} s") from None
        except (OSError, UnicodeError) as exc:
            raise NoAnswer(f"no connection ({_why(exc)})") from None
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = plain
            if self._tls is not None:
                connection = self._tls.wrap_socket(plain, server_hostname=self._to[0])
            connection.settimeout(self._read_s)
        except OSError as exc:
            plain.close()
            raise NoAnswer(f"no connection ({_why(exc)})") from None
        return connection


def _close_all(idle: deque[tuple[socket.socket, float, float]]) -> None:
    with contextlib.suppress(IndexError):  # other threads take from it too
        while True:
            idle.pop()[0].close()


class _Reading:
    """One answer as its bytes come."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.begun = self.whole = self.kept = False
        self.status, self._bytes = 0, 0
        self.headers: dict[bytes, bytes] = {}
        self.parts: list[bytes] = []

    def feed(self, received: bytes) -> None:
        self.begun = True
        self._bytes += len(received)
        try:
            self._parser.feed_data(received)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            raise NoAnswer("what came is no HTTP/1.1") from None
        if self._bytes > MOST_BYTES:
            raise NoAnswer(f"the answer has more than {MOST_BYTES:,} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_body(self, part: bytes) -> None:
        self.parts.append(part)

    def on_message_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self.whole, self.kept = True, self._parser.should_keep_alive()


def _readable(connection: socket.socket) -> bool:
    """Tell whether something came while nothing was asked: the end, as a rule."""
    polled = select.poll()
    polled.register(connection, select.POLLIN | select.POLLHUP)
    return bool(polled.poll(0))


def _why(exc: Exception) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"the certificate can't be verified: {exc.verify_message}"
    if isinstance(exc, ConnectionRefusedError):
        return "refused"
    return "the host has no address" if isinstance(exc, socket.gaierror) else type(exc).__name__
