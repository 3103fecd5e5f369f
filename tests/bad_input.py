"""What no server should send, as bytes on the wire: one table for the backends and the router.

Each fault is what the answer begins with and what it goes on with, for ever where it has no end.
"""

import gzip
import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass

from support import ANSWER, DONE, EVENTS, ROLE, chunk

OK = b"HTTP/1.1 200 OK\r\n"
JSON = OK + b"content-type: application/json\r\n"
SSE = OK + b"content-type: text/event-stream\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n\r\n"
CLOSES = b"connection: close\r\n\r\n"
BLOCK = 65_536
LINE_BYTES = 100 * 2**20
BODY = json.dumps(ANSWER).encode()
STREAM = b"".join([*EVENTS, DONE])
NO_UTF8 = b'{"choices":[{"index":0,"delta":{"content":"\xff\xfe"}}]}'


@dataclass(frozen=True)
class Bad:
    """`parts` are sent, then the connection is closed. `code` and `detail` are what is told."""

    parts: Iterable[bytes]
    code: str
    detail: str


def counted(body, length=None):
    return b"content-length: %d\r\n\r\n%b" % (len(body) if length is None else length, body)


def in_chunks(body):
    return b"%x\r\n%b\r\n" % (len(body), body)


def line_of_100_mb():
    return itertools.repeat(b"x" * BLOCK, LINE_BYTES // BLOCK)


def sent(*parts):
    """Return parts that can be sent more than once; the last may be an endless iterator's maker."""
    *first, last = parts
    return _Sent(first, last if callable(last) else lambda: (last,))


@dataclass(frozen=True)
class _Sent:
    first: list
    then: object

    def __iter__(self):
        return itertools.chain(self.first, self.then())


def endless(part):
    return lambda: itertools.repeat(part)


HTTP = {  # of any answer: `head` is what its status and content type are
    "an endless header": lambda head: Bad(
        sent(head + b"x: ", endless(b"y" * BLOCK)), "garbled", "the head of the answer is longer"
    ),
    "headers without end": lambda head: Bad(
        sent(head, endless(b"x: y\r\n" * 1000)), "garbled", "the head of the answer is longer"
    ),
    "interim answers without end": lambda head: Bad(
        sent(endless(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * 100)),
        "garbled",
        "the head of the answer is longer",
    ),
    "a chunk size that is no number": lambda head: Bad(
        sent(head + CHUNKED + b"xyz\r\n"), "garbled", "not an HTTP/1.1 answer"
    ),
    "a negative chunk size": lambda head: Bad(
        sent(head + CHUNKED + b"-5\r\nhello\r\n"), "garbled", "not an HTTP/1.1 answer"
    ),
    "a chunk size beyond all numbers": lambda head: Bad(
        sent(head + CHUNKED + b"f" * 17 + b"\r\n"), "garbled", "not an HTTP/1.1 answer"
    ),
    "a chunk longer than its size": lambda head: Bad(
        sent(head + CHUNKED + b"2\r\nhello\r\n0\r\n\r\n"), "garbled", "not an HTTP/1.1 answer"
    ),
    "a chunk size without end": lambda head: Bad(
        sent(head + CHUNKED + b"5;x=", endless(b"y" * BLOCK)), "garbled", "not an HTTP/1.1|longer"
    ),
    "a negative content-length": lambda head: Bad(
        sent(head + b"content-length: -1\r\n\r\n"), "garbled", "not an HTTP/1.1 answer"
    ),
    "two lengths that differ": lambda head: Bad(
        sent(head + b"content-length: 4\r\n" + counted(b"12345")),
        "garbled",
        "not an HTTP/1.1 answer",
    ),
    "gzip that was not asked for": lambda head: Bad(
        sent(head + b"content-encoding: gzip\r\n" + counted(gzip.compress(BODY))),
        "garbled",
        "the answer is compressed, unasked",
    ),
}
REFUSED = b"HTTP/1.1 400 Bad Request\r\n"
NOT_SAID = "status 400, and no JSON object to say why"
REFUSALS = {
    "a refusal in HTML": Bad(
        sent(REFUSED + b"content-type: text/html\r\n" + counted(b"<html>Bad Request</html>")),
        "unreadable",
        NOT_SAID,
    ),
    "a refusal in gzip": Bad(
        sent(REFUSED + b"content-encoding: gzip\r\n" + counted(gzip.compress(b'{"error":{}}'))),
        "unreadable",
        NOT_SAID,
    ),
    "a refusal of 100 MB": Bad(
        sent(REFUSED + CLOSES, line_of_100_mb), "garbled", "the body of the answer is longer than"
    ),
}
PLAIN = {
    **REFUSALS,
    **{name: make(JSON) for name, make in HTTP.items()},
    "invalid UTF-8": Bad(sent(JSON + counted(NO_UTF8)), "garbled", "the answer is not JSON"),
    "HTML": Bad(
        sent(OK + b"content-type: text/html\r\n" + counted(b"<html>It works!</html>")),
        "garbled",
        "the answer is not JSON",
    ),
    "gzip that is not told": Bad(
        sent(JSON + counted(gzip.compress(BODY))), "garbled", "the answer is not JSON"
    ),
    "a content-length that is too short": Bad(
        sent(JSON + counted(BODY, len(BODY) - 9)), "garbled", "the answer is not JSON"
    ),
    "a content-length that is too long": Bad(
        sent(JSON + counted(BODY, len(BODY) + 9)), "broken", "closed in the answer"
    ),
    "a line of 100 MB": Bad(
        sent(JSON + counted(b'{"choices":"', LINE_BYTES + 12), line_of_100_mb),
        "garbled",
        "the body of the answer is longer than",
    ),
    "an infinite body": Bad(
        sent(JSON + CLOSES + b'{"choices":"', endless(b"x" * BLOCK)),
        "garbled",
        "the body of the answer is longer than",
    ),
    "JSON that is nested without end": Bad(
        sent(JSON + counted(b'{"choices":' + b"[" * 1_000_000)), "garbled", "the answer is not JSON"
    ),
}
STREAMED = {
    **REFUSALS,
    **{name: make(SSE) for name, make in HTTP.items()},
    "invalid UTF-8": Bad(
        sent(SSE + CLOSES + b"data: " + NO_UTF8 + b"\n\n" + STREAM),
        "garbled",
        "an event of the stream is not JSON",
    ),
    "HTML": Bad(
        sent(OK + b"content-type: text/html\r\n" + counted(b"<html>It works!</html>")),
        "garbled",
        "the answer is not an event stream",
    ),
    "HTML that is told to be events": Bad(
        sent(SSE + CLOSES + b"<!doctype html>\n\n<html>\n\n</html>\n\n"),
        "broken",
        "closed before the first content token",
    ),
    "JSON in place of events": Bad(
        sent(JSON + counted(BODY)), "garbled", "the answer is not an event stream"
    ),
    "gzip that is not told": Bad(
        sent(SSE + CLOSES + gzip.compress(STREAM)), "broken", "closed before the first content"
    ),
    "a content-length that is too short": Bad(
        sent(SSE + counted(STREAM, len(ROLE) + 9)), "broken", "closed before the first content"
    ),
    "a content-length that is too long": Bad(
        sent(SSE + counted(ROLE, len(ROLE) + 9)), "broken", "closed in the answer"
    ),
    "no content and no [DONE]": Bad(
        sent(SSE + CLOSES + ROLE + chunk(finish="stop")),
        "broken",
        "closed before the first content token",
    ),
    "a line of 100 MB": Bad(
        sent(SSE + CLOSES + b"data: ", line_of_100_mb),
        "garbled",
        "an event of the stream is longer than",
    ),
    "an event of infinite lines": Bad(
        sent(SSE + CHUNKED, endless(in_chunks(b"data: x\n" * 1000))),
        "garbled",
        "an event of the stream is longer than",
    ),
    "comments without end": Bad(
        sent(SSE + CLOSES, endless(b": ping\n\n" * 1000)),
        "garbled",
        "no content token in the first",
    ),
    "roles without end": Bad(
        sent(SSE + CLOSES, endless(ROLE * 100)), "garbled", "no content token in the first"
    ),
    "JSON that is nested without end": Bad(
        sent(SSE + CLOSES + b"data: " + b"[" * 500_000 + b"\n\n"), "garbled", "is not JSON"
    ),
}
