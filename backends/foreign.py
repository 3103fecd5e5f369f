"""Other people's exceptions -> ours. The one place where that is done."""

import socket
import ssl

import httptools

from backends.base import BackendError, Broken, Garbled, Misconfigured, Unreachable

AT_CONNECT = (OSError, UnicodeError)  # asyncio's, ssl's and the resolver's are all OSErrors
AT_PARSE = (httptools.HttpParserError, httptools.HttpParserUpgrade)

_CONNECT: tuple[tuple[type[Exception], type[BackendError], str], ...] = (  # the first that fits
    (ssl.SSLCertVerificationError, Misconfigured, "the certificate can't be verified"),
    (ssl.SSLError, Unreachable, "the TLS handshake failed"),
    (socket.gaierror, Unreachable, "the host name has no address"),
    (UnicodeError, Misconfigured, "the host name can't be looked up"),
    (TimeoutError, Unreachable, "no connection in time"),
    (ConnectionRefusedError, Unreachable, "connection refused"),
    (ConnectionError, Unreachable, "closed while connecting"),
    (OSError, Unreachable, "no way to the host"),
)


def at_connect(exc: OSError | UnicodeError) -> BackendError:
    """Return what a failed connect means: nothing of the request was sent."""
    for foreign, ours, detail in _CONNECT:
        if isinstance(exc, foreign):
            return ours(detail)
    raise AssertionError(exc)  # the table ends with the types of the signature


def at_parse() -> BackendError:
    return Garbled("not an HTTP/1.1 answer")


def at_loss(exc: Exception | None, *, received: bool) -> BackendError:
    """Return what a lost connection means to the request that was on it."""
    how = "closed" if exc is None else "reset"
    return Broken(f"{how} {'in' if received else 'before'} the answer", received=received)
