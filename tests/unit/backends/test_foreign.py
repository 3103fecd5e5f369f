"""Every exception that asyncio, ssl, the resolver or the parser can raise becomes one of ours."""

import asyncio
import builtins
import socket
import ssl

import httptools
import pytest

from backends import foreign
from backends.base import BackendError, Broken, Garbled, Misconfigured, Unreachable

# Of asyncio, but not from a connect or a transport: cancelling, streams, queues, bugs of ours.
NOT_OURS_TO_TRANSLATE = {
    "CancelledError",
    "InvalidStateError",
    "SendfileNotAvailableError",
    "IncompleteReadError",
    "LimitOverrunError",
    "BrokenBarrierError",
    "QueueEmpty",
    "QueueFull",
    "QueueShutDown",
}


def exceptions_of(module):
    return [
        found
        for name, found in vars(module).items()
        if isinstance(found, type)
        and issubclass(found, BaseException)
        and not name.startswith("_")
        and name not in NOT_OURS_TO_TRANSLATE
    ]


CONNECT = [
    *exceptions_of(ssl),
    *exceptions_of(socket),
    *exceptions_of(asyncio),
    *(found for found in exceptions_of(builtins) if issubclass(found, OSError | UnicodeError)),
]


@pytest.mark.parametrize("kind", sorted(set(CONNECT), key=lambda kind: kind.__name__))
def test_whatever_a_connect_raises_is_caught_and_translated(kind):
    assert issubclass(kind, foreign.AT_CONNECT)
    translated = foreign.at_connect(kind.__new__(kind))
    assert isinstance(translated, Unreachable | Misconfigured)


@pytest.mark.parametrize(
    "kind", exceptions_of(httptools.parser.errors), ids=lambda kind: kind.__name__
)
def test_whatever_the_parser_raises_is_caught(kind):
    assert issubclass(kind, foreign.AT_PARSE)
    assert isinstance(foreign.at_parse(), Garbled)


@pytest.mark.parametrize("kind", [None, *exceptions_of(ssl), ConnectionResetError, TimeoutError])
def test_a_lost_connection_says_whether_an_answer_had_begun(kind):
    lost = foreign.at_loss(kind and kind.__new__(kind), received=True)
    assert isinstance(lost, Broken)
    assert lost.received
    assert not foreign.at_loss(None, received=False).received


@pytest.mark.parametrize(
    ("exc", "kind", "detail"),
    [
        (ssl.SSLCertVerificationError(), Misconfigured, "certificate"),
        (ssl.SSLError(), Unreachable, "TLS"),
        (socket.gaierror(), Unreachable, "no address"),
        (TimeoutError(), Unreachable, "in time"),
        (ConnectionRefusedError(), Unreachable, "refused"),
        (OSError(113, "No route to host"), Unreachable, "no way"),
    ],
)
def test_the_cause_of_a_failed_connect_is_told(exc, kind, detail):
    translated = foreign.at_connect(exc)
    assert type(translated) is kind
    assert detail in str(translated)


def test_every_error_says_what_a_retry_needs():
    pending, kinds = [BackendError], []
    while pending:
        kind = pending.pop()
        kinds.append(kind)
        pending += kind.__subclasses__()
    kinds = [kind for kind in kinds if kind.__module__ == BackendError.__module__]
    codes = [kind.code for kind in kinds]
    assert len(set(codes)) == len(codes) == 13
    assert all(code.islower() for code in codes)
    assert [kind.code for kind in kinds if not kind.try_elsewhere] == ["rejected"]
    assert {kind.code for kind in kinds if not kind.backend_at_fault} == {
        "rejected",
        "context_exceeded",
        "open_circuit",
        "unreadable",
        "at_limit",
    }
    assert {kind.code for kind in kinds if kind.too_much} == {"overloaded", "timed_out"}
