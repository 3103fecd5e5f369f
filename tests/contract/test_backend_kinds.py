"""What every backend kind does on a real socket, whatever the server behind it does."""

import asyncio
import contextlib
import math
import re
import ssl
import subprocess
import time
from dataclasses import dataclass, field, replace

import orjson
import pytest
import sagemaker_support as aws
import uvloop
from bad_input import PLAIN, STREAMED

from backends.base import (
    BackendError,
    Broken,
    Call,
    ContextExceeded,
    Endpoint,
    Garbled,
    Misconfigured,
    Overloaded,
    Rejected,
    SageMakerTarget,
    ServerFailed,
    TimedOut,
    Unreachable,
)
from backends.kinds import KINDS
from backends.sse import Events
from router.drive import open_stream

ANSWER = orjson.dumps(
    {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "正面"}}],
        "usage": {"prompt_tokens": 29, "completion_tokens": 1},
    }
)
EVENTS = [
    b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":null}}]}\n\n',
    'data: {"choices":[{"index":0,"delta":{"content":"正面"}}]}\n\n'.encode(),
    b'data: {"choices":[],"usage":{"prompt_tokens":29,"completion_tokens":1}}\n\n',
    b"data: [DONE]\n\n",
]
CALL = Call('{"messages":[{"role":"user","content":"很好。"}]}'.encode(), timeout_s=5.0)
LONG_CALL = Call(CALL.body, timeout_s=60.0)  # of an answer of 100 MB
SECRET = "sk-secret"
TURNS = 100  # of the loop: far more than what is there already takes to be heard
SEEN_S = 30  # within which the other side of a loopback socket sees a close, at the latest

JSON = b"content-type: application/json\r\n"


def answer(body=ANSWER, status=b"200 OK", headers=JSON):
    head = b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\n\r\n" % (status, headers, len(body))
    return head + body


def chunk(raw):
    return b"%x\r\n%b\r\n" % (len(raw), raw)


@dataclass(frozen=True)
class Way:
    """One way in which a kind is called, and what its servers put on the wire."""

    kind: str
    path: bytes = b"/v1"
    last: bytes | None = None  # of the path, for whatever is asked
    stream_last: bytes | None = None
    type: bytes = b"text/event-stream; charset=utf-8"
    target: SageMakerTarget | None = None

    def open(self, *urls, api_key=None):
        key = None if self.target else api_key
        return KINDS[self.kind](Endpoint(urls, key, sagemaker=self.target))

    def part(self, event):
        return aws.part(event) if self.stream_last else event

    @property
    def sse(self):
        return b"content-type: %b\r\ntransfer-encoding: chunked\r\n" % self.type

    def stream(self, events=EVENTS, headers=None, end=b"0\r\n\r\n"):
        chunks = b"".join(chunk(self.part(event)) for event in events)
        head = self.sse if headers is None else headers
        return b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + chunks + end

    def line(self, path, *, stream=False):
        last = (self.stream_last if stream else self.last) or path
        return b"POST %b%b HTTP/1.1\r\n" % (self.path, last)


ENDPOINT = SageMakerTarget(aws.ENDPOINT, aws.REGION)
INVOKED = SageMakerTarget(
    aws.ENDPOINT, aws.REGION, "part-1", invoke=True, variant="blue", prefix_aware_id="sluice 1"
)
AT = b"/v1/endpoints/chat-endpoint"
WAYS = {
    "openai_http": Way("openai_http"),
    "emulated": Way("emulated"),
    "sagemaker openai": Way("sagemaker", AT + b"/openai/v1", target=ENDPOINT),
    "sagemaker invoke_endpoint": Way(
        "sagemaker",
        AT,
        b"/invocations",
        b"/invocations-response-stream",
        aws.EVENT_STREAM.encode(),
        INVOKED,
    ),
}


@dataclass
class Server:
    """Keeps what it was sent; `closed` counts the connections that came to their end."""

    url: str
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    closed: int = 0


@contextlib.asynccontextmanager
async def playing(play, tls=None):
    """Call `play(writer, reader, nth)` for the nth request; it closes by returning True."""
    server, tasks = Server(""), set()

    async def accept(reader, writer):
        tasks.add(asyncio.current_task())
        server.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
                server.requests.append(head + await reader.readexactly(length))
                if await play(writer, reader, len(server.requests)):
                    await writer.drain()
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()
        server.closed += 1

    listening = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    scheme = "https" if tls else "http"
    server.url = f"{scheme}://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
    try:
        yield server
    finally:
        listening.close()
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result


def saying(*parts, close=False):
    async def play(writer, _reader, _nth):
        for part in parts:
            writer.write(part)
            await asyncio.sleep(0)
        return close

    return play


async def silence(_writer, reader, _nth):
    await reader.read()
    return True


async def answer_then_silence(writer, reader, nth):
    """Answer the first request: so the next one's time is not spent on connecting."""
    if nth == 1:
        writer.write(answer())
        return False
    return await silence(writer, reader, nth)


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    factory = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}[request.param]
    with asyncio.Runner(loop_factory=factory) as runner:
        yield runner.run


@pytest.fixture(params=WAYS)
def way(request):
    return WAYS[request.param]


@pytest.fixture
def opened(way, monkeypatch):
    for name, value in aws.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)

    @contextlib.asynccontextmanager
    async def opened(*urls, api_key=None):
        backend = way.open(*urls, api_key=api_key)
        try:
            yield backend
        finally:
            await backend.aclose()

    return opened


def test_every_kind_of_the_table_is_held_to_this():
    assert {way.kind for way in WAYS.values()} == set(KINDS)


async def send(backend, call=CALL):
    return await backend.send(call)


async def send_long(backend):
    return await backend.send(LONG_CALL)


async def receive(backend, call=CALL):
    stream = await backend.stream(call)
    try:
        parts = []
        while part := await stream.read(5.0):
            parts.append(part)
        return b"".join(parts)
    finally:
        await stream.aclose()


either = pytest.mark.parametrize("ask", [send, receive])


async def failure_of(ask, opened, play, kind, **options):
    """Return the error of this kind that the call has raised, and the server it was made to."""
    async with playing(play, **options) as server, opened(server.url, api_key=SECRET) as backend:
        with pytest.raises(kind) as caught:
            await ask(backend)
        shown = f"{caught.value} {caught.value!r} {backend!r} {vars(caught.value)}"
        assert not any(secret in shown for secret in (SECRET, aws.SECRET, aws.SESSION))
        assert "很好" not in shown
        for _ in range(TURNS):
            await asyncio.sleep(0)
        return caught.value, server


async def eof_within_some_turns(server):
    ends = time.monotonic() + SEEN_S
    while not server.closed and time.monotonic() < ends:  # noqa: ASYNC110  (it counts)
        await asyncio.sleep(0)
    return bool(server.closed)


def test_a_plain_answer_is_returned_as_it_came_and_parsed(run, opened, way):
    async def main():
        async with playing(saying(answer())) as server, opened(server.url) as backend:
            reply = await backend.send(CALL)
            assert (reply.status, reply.body) == (200, ANSWER)
            assert reply.json["usage"]["prompt_tokens"] == 29
            assert reply.headers[b"content-type"] == b"application/json"
            assert "正面" not in repr(reply)
            assert "很好" not in repr(CALL)
            assert server.requests[0].startswith(way.line(b"/chat/completions"))
            assert server.requests[0].endswith(b"\r\n\r\n" + CALL.body)

    run(main())


@pytest.mark.parametrize("key", [None, SECRET])
@either
def test_who_asks_is_proved_and_never_shown(run, opened, way, ask, key):
    async def main():
        raw = answer() if ask is send else way.stream()
        async with playing(saying(raw)) as server, opened(server.url, api_key=key) as backend:
            await ask(backend)
            (request,) = server.requests
            if way.target:
                assert aws.complaint(request) is None
                assert b"sk-secret" not in request
            elif key:
                assert b"\r\nauthorization: Bearer sk-secret\r\n" in request
            else:
                assert b"authorization" not in request
            secrets = (SECRET, aws.SECRET, aws.SESSION)
            shown = f"{backend!r} {Endpoint((server.url,), SECRET, sagemaker=way.target)!r}"
            assert not any(secret in shown for secret in secrets)

    run(main())


def test_another_path_is_below_the_same_base(run, opened, way):
    async def main():
        body = b'{"data":[{"embedding":[0.1]}]}'
        async with playing(saying(answer(body))) as server, opened(server.url) as backend:
            reply = await backend.send(Call(b"{}", path="/embeddings", timeout_s=5.0))
            assert reply.body == body
            assert server.requests[0].startswith(way.line(b"/embeddings"))

    run(main())


@pytest.mark.parametrize("end", [b"0\r\n\r\n", b"0\r\nx-trailer: 1\r\n\r\n"])
def test_a_stream_is_passed_on_byte_for_byte(run, opened, way, end):
    async def main():
        async with playing(saying(way.stream(end=end))) as server, opened(server.url) as backend:
            assert await receive(backend) == b"".join(EVENTS)
            assert await receive(backend) == b"".join(EVENTS)
            assert server.connections == 1
            line = way.line(b"/chat/completions", stream=True)
            assert server.requests[0].startswith(line)

    run(main())


def test_a_stream_comes_as_it_is_sent_and_not_at_its_end(run, opened, way):
    async def main():
        go_on = asyncio.Event()

        async def play(writer, _reader, _nth):
            writer.write(b"HTTP/1.1 200 OK\r\n" + way.sse + b"\r\n")
            for event in EVENTS:
                writer.write(chunk(way.part(event)))
                await go_on.wait()
                go_on.clear()
            writer.write(b"0\r\n\r\n")

        async with playing(play) as server, opened(server.url) as backend:
            stream_ = await backend.stream(CALL)
            for event in EVENTS:
                assert await stream_.read(5.0) == event
                go_on.set()
            assert await stream_.read(5.0) == b""
            await stream_.aclose()

    run(main())


def test_a_stream_that_drips_byte_by_byte_has_the_same_events(run, opened, way):
    async def main():
        raw = way.stream()
        drips = [raw[i : i + 1] for i in range(len(raw))]
        async with playing(saying(*drips)) as server, opened(server.url) as backend:
            scanner, found = Events(), []
            opened_stream = await backend.stream(CALL)
            while part := await opened_stream.read(5.0):
                found += scanner.feed(part)
            assert (found, scanner.rest()) == (EVENTS, b"")

    run(main())


def test_one_connection_is_used_again(run, opened):
    async def main():
        async with playing(saying(answer())) as server, opened(server.url) as backend:
            await backend.send(CALL)
            await backend.send(CALL)
            assert (server.connections, len(server.requests)) == (1, 2)

    run(main())


@either
def test_a_kept_connection_that_has_gone_stale_is_replaced_unnoticed(run, opened, way, ask):
    async def play(writer, _reader, nth):
        if nth == 2:
            return True
        writer.write(answer() if ask is send else way.stream())
        return False

    async def main():
        async with playing(play) as server, opened(server.url) as backend:
            await ask(backend)
            await ask(backend)
            assert (server.connections, len(server.requests)) == (2, 3)

    run(main())


@either
def test_a_refused_connection_is_unreachable(run, opened, ask):
    async def main():
        async with playing(silence) as server:
            url = server.url
        async with opened(url) as backend:
            with pytest.raises(Unreachable) as caught:
                await ask(backend)
            assert caught.value.try_elsewhere

    run(main())


@either
def test_an_end_before_the_answer_is_broken_with_nothing_received(run, opened, ask):
    async def main():
        error, server = await failure_of(ask, opened, saying(close=True), Broken)
        assert not error.received
        assert len(server.requests) == 1

    run(main())


@either
@pytest.mark.parametrize("cut", [1, 30, -1])
def test_an_end_within_the_answer_is_broken_and_never_a_short_answer(run, opened, way, ask, cut):
    async def main():
        raw = (answer() if ask is send else way.stream())[:cut]
        error, _ = await failure_of(ask, opened, saying(raw, close=True), Broken)
        assert error.received
        assert error.try_elsewhere

    run(main())


async def first_content(backend):
    """Open a stream as the router does."""
    opened = await open_stream(backend, LONG_CALL, asyncio.get_running_loop().time)
    await opened.stream.aclose()


def sending(bad):
    """Send its parts until the other side has had enough, or they end."""

    async def play(writer, _reader, _nth):
        for part in bad.parts:
            writer.write(part)
            await writer.drain()
        return True

    return play


@pytest.mark.parametrize("name", PLAIN)
def test_bad_input_in_a_plain_answer_is_an_error_with_its_name(run, opened, name):
    bad = PLAIN[name]
    error, _ = run(failure_of(send_long, opened, sending(bad), BackendError))
    assert (error.code, error.try_elsewhere) == (bad.code, True)
    assert re.search(bad.detail, error.detail)


@pytest.mark.parametrize("name", STREAMED)
def test_bad_input_in_a_stream_is_an_error_with_its_name(run, opened, way, name):
    bad = STREAMED[name]
    error, _ = run(failure_of(first_content, opened, sending(bad), BackendError))
    assert error.try_elsewhere
    if way.stream_last is not None:  # its streams are binary: the text is refused as none
        return
    assert error.code == bad.code
    assert re.search(bad.detail, error.detail)


@either
@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        bytes(range(256)),
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000,
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000,
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
    ],
)
def test_what_is_not_http_is_garbled(run, opened, ask, raw):
    async def main():
        _, server = await failure_of(ask, opened, saying(raw), Garbled)
        assert server.closed == 1

    run(main())


@pytest.mark.parametrize(
    "raw",
    [
        answer(b"<html>ok</html>"),
        answer(b""),
        answer(b"[]"),
        answer(b'"choices"'),
        answer(b"{}"),
        answer(b'{"error":null}'),
        answer(ANSWER[:-1]),
        answer(headers=JSON + b"content-encoding: gzip\r\n"),
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
)
def test_a_plain_answer_that_is_no_completion_is_garbled_and_not_quoted(run, opened, raw):
    error, _ = run(failure_of(send, opened, saying(raw), Garbled))
    assert error.__context__ is None or error.__suppress_context__


@pytest.mark.parametrize(
    "raw",
    [
        lambda way: answer(),
        lambda way: answer(b'{"error":{"message":"boom"}}'),
        lambda way: way.stream(headers=b"transfer-encoding: chunked\r\n"),
        lambda way: way.stream(headers=way.sse + b"content-encoding: gzip\r\n"),
    ],
)
def test_a_stream_that_is_no_event_stream_is_garbled(run, opened, way, raw):
    run(failure_of(receive, opened, saying(raw(way)), Garbled))


def test_what_is_no_event_stream_is_not_read_to_its_end(run, opened):
    async def main():
        raw = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 9\r\n\r\n"
        _, server = await failure_of(receive, opened, saying(raw), Garbled)
        assert server.closed == 1

    run(main())


def test_an_error_in_a_200_is_the_error_it_says(run, opened):
    raw = answer(b'{"error":{"code":503,"message":"loading"}}')
    run(failure_of(send, opened, saying(raw), Overloaded))


@either
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (b"400 Bad Request", Rejected),
        (b"401 Unauthorized", Misconfigured),
        (b"403 Forbidden", Misconfigured),
        (b"404 Not Found", Misconfigured),
        (b"422 Unprocessable", Rejected),
        (b"429 Too Many Requests", Overloaded),
        (b"500 Internal Server Error", ServerFailed),
        (b"502 Bad Gateway", ServerFailed),
        (b"503 Service Unavailable", Overloaded),
    ],
)
def test_a_status_becomes_the_error_it_means_and_keeps_the_connection(
    run, opened, ask, status, kind
):
    bad = answer(b'{"error":{"message":"secret \xe6\x9c\xba"}}', status)
    answers = [bad]

    async def play(writer, _reader, _nth):  # credentials that are old are tried once more
        writer.write(answers[-1])

    async def main():
        async with playing(play) as server, opened(server.url) as backend:
            with pytest.raises(kind) as caught:
                await ask(backend)
            assert "secret" not in f"{caught.value} {caught.value!r}"
            answers.append(answer())
            await backend.send(CALL)
            assert server.connections == 1

    run(main())


@either
def test_a_rejection_carries_what_the_caller_is_to_be_told(run, opened, ask):
    body = '{"error":{"message":"`temperature` 太高"}}'.encode()

    async def main():
        error, _ = await failure_of(ask, opened, saying(answer(body, b"422 No")), Rejected)
        assert (error.status, error.body) == (422, body)
        assert not error.try_elsewhere

    run(main())


@either
def test_a_prompt_that_is_too_long_carries_the_lengths(run, opened, ask):
    said = {"type": "exceed_context_size_error", "n_prompt_tokens": 4020, "n_ctx": 2048}

    async def main():
        raw = answer(orjson.dumps({"error": said}), b"400 Bad Request")
        error, _ = await failure_of(ask, opened, saying(raw), ContextExceeded)
        assert (error.n_prompt_tokens, error.n_ctx) == (4020, 2048)

    run(main())


@either
def test_retry_after_is_carried(run, opened, ask):
    async def main():
        raw = answer(b"", b"503 Busy", b"retry-after: 17\r\n")
        error, _ = await failure_of(ask, opened, saying(raw), Overloaded)
        assert error.retry_after_s == 17.0

    run(main())


@either
def test_a_redirect_is_not_followed(run, opened, ask):
    async def main():
        raw = answer(b"", b"307 Temporary Redirect", b"location: /elsewhere\r\n")
        _, server = await failure_of(ask, opened, saying(raw), Misconfigured)
        assert len(server.requests) == 1

    run(main())


@either
def test_a_server_that_hangs_is_given_up_in_time_and_sees_the_end(run, opened, ask):
    async def main():
        async with playing(answer_then_silence) as server, opened(server.url) as backend:
            await backend.send(CALL)
            called = backend.send if ask is send else backend.stream
            with pytest.raises(TimedOut):
                await called(Call(b"{}", timeout_s=0.01))
            assert await eof_within_some_turns(server)

    run(main())


@either
def test_an_error_whose_body_hangs_is_given_up_in_time(run, opened, ask):
    async def play(writer, reader, nth):
        if nth > 1:
            writer.write(b"HTTP/1.1 500 No\r\ncontent-length: 10\r\n\r\nx")
        return await answer_then_silence(writer, reader, nth)

    async def main():
        async with playing(play) as server, opened(server.url) as backend:
            await backend.send(CALL)
            called = backend.send if ask is send else backend.stream
            with pytest.raises(TimedOut):
                await called(Call(b"{}", timeout_s=0.01))
            assert await eof_within_some_turns(server)

    run(main())


@either
def test_a_caller_that_cancels_closes_the_connection(run, opened, ask):
    async def main():
        async with playing(answer_then_silence) as server, opened(server.url) as backend:
            await backend.send(CALL)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await ask(backend)
            assert await eof_within_some_turns(server)

    run(main())


def test_a_stream_that_is_dropped_stops_the_generation(run, opened, way):
    async def play(writer, reader, _nth):
        writer.write(way.stream(EVENTS[:2], end=b""))
        await reader.read()
        return True

    async def main():
        async with playing(play) as server, opened(server.url) as backend:
            dropped = await backend.stream(CALL)
            assert await dropped.read(5.0)
            await dropped.aclose()
            await dropped.aclose()
            assert await eof_within_some_turns(server)

    run(main())


def test_a_stream_is_ended_after_done_and_its_connection_kept(run, opened, way):
    async def play(writer, _reader, _nth):
        writer.write(way.stream(end=b""))
        await asyncio.sleep(0.002)
        writer.write(b"0\r\n\r\n")

    async def main():
        async with playing(play) as server, opened(server.url) as backend:
            for _ in range(2):
                ended = await backend.stream(CALL)
                got = b""
                while EVENTS[-1] not in got:
                    got += await ended.read(5.0)
                await ended.end()
                await ended.aclose()
            assert server.connections == 1

    run(main())


def test_a_backend_that_is_closed_has_no_connection_left(run, opened):
    async def main():
        async with playing(saying(answer())) as server:
            async with opened(server.url) as backend:
                await asyncio.gather(*(backend.send(CALL) for _ in range(3)))
            async with asyncio.timeout(SEEN_S):
                while server.closed < 3:  # noqa: ASYNC110  (it counts)
                    await asyncio.sleep(0)
            assert server.connections == 3

    run(main())


def test_urls_take_turns(run, opened):
    async def main():
        async with (
            playing(saying(answer())) as one,
            playing(saying(answer())) as two,
            opened(one.url, two.url) as backend,
        ):
            for _ in range(6):
                await backend.send(CALL)
            assert [len(one.requests), len(two.requests)] == [3, 3]

    run(main())


@either
def test_equal_prefixes_go_to_the_same_replica_and_through_any_door(run, opened, way, ask):
    async def main():
        raw = answer() if ask is send else way.stream()
        async with (
            playing(saying(raw)) as one,
            playing(saying(raw)) as two,
            opened(one.url, two.url) as backend,
        ):
            for _ in range(6):
                await ask(backend, replace(CALL, prefix=b"the same"))
            counts = sorted((len(one.requests), len(two.requests)))
            assert counts == ([3, 3] if way.target else [0, 6])

    run(main())


@either
def test_a_url_that_refuses_gives_its_turn_away_and_rests(run, opened, way, ask):
    async def main():
        async with playing(silence) as gone:
            dead = gone.url
        raw = answer() if ask is send else way.stream()
        async with playing(saying(raw)) as server, opened(dead, server.url) as backend:
            for _ in range(4):
                await ask(backend)
            assert len(server.requests) == 4
            resting = [replica.rest_until_s > 0 for replica in backend._pool.replicas._all]
            assert sorted(resting) == [False, True]

    run(main())


def test_a_url_that_rests_is_asked_when_no_other_answers(run, opened):
    async def main():
        async with (
            playing(saying(answer())) as one,
            playing(saying(answer())) as two,
            opened(one.url, two.url) as backend,
        ):
            first, second = backend._pool.replicas._all
            first.rest_until_s = math.inf
            for _ in range(4):
                await backend.send(CALL)
            assert (len(one.requests), len(two.requests)) == (0, 4)
            second.rest_until_s = math.inf
            for _ in range(4):
                await backend.send(CALL)
            assert (len(one.requests), len(two.requests)) == (2, 6)

    run(main())


@either
def test_urls_that_all_refuse_are_unreachable(run, opened, ask):
    async def main():
        async with playing(silence) as one, playing(silence) as two:
            dead = one.url, two.url
        async with opened(*dead) as backend:
            with pytest.raises(Unreachable):
                await ask(backend)

    run(main())


WRONG = [b"401 X", b"404 X", b"301 X"]
FULL = [b"429 X", b"503 X", b"529 X"]
replicas = pytest.mark.parametrize(  # doors lead to one endpoint, which says the same behind all
    "way", [name for name, way in WAYS.items() if way.target is None], indirect=True
)


@replicas
@either
@pytest.mark.parametrize("status", WRONG + FULL)
def test_a_replica_that_is_set_up_wrongly_loads_or_is_full_gives_its_turn_away(
    run, opened, way, ask, status
):
    async def main():
        raw = answer() if ask is send else way.stream()
        async with (
            playing(saying(answer(b"{}", status))) as wrong,
            playing(saying(raw)) as right,
            opened(wrong.url, right.url) as backend,
        ):
            for _ in range(4):
                await ask(backend)
            assert len(right.requests) == 4
            assert 1 <= len(wrong.requests) < 4  # it rests, and is looked at again
            in_flight = [backend._pool.replicas.in_flight(i) for i in range(2)]
            assert in_flight[0] == 0  # what was given away counts no more

    run(main())


@either
@pytest.mark.parametrize("status", WRONG + FULL)
def test_replicas_that_all_give_their_turn_away_say_so(run, opened, ask, status):
    async def main():
        async with (
            playing(saying(answer(b"{}", status))) as one,
            playing(saying(answer(b"{}", status))) as two,
            opened(one.url, two.url) as backend,
        ):
            kind = Misconfigured if status in WRONG else Overloaded
            with pytest.raises(kind, match=status[:3].decode()):
                await ask(backend)

    run(main())


@replicas
@either
def test_a_replica_that_broke_keeps_its_turn(run, opened, way, ask):
    """What it did not refuse outright may have been worked on."""

    async def main():
        for status, kind in ((b"500 X", ServerFailed), (b"504 X", ServerFailed)):
            async with (
                playing(saying(answer(b"{}", status))) as one,
                playing(saying(answer(b"{}", status))) as two,
                opened(one.url, two.url) as backend,
            ):
                with pytest.raises(kind):
                    await ask(backend)
                assert len(one.requests) + len(two.requests) == 1

    run(main())


@either
def test_only_what_was_not_sent_is_sent_to_the_next_url(run, opened, ask):
    async def main():
        async with (
            playing(saying(close=True)) as one,
            playing(saying(close=True)) as two,
            opened(one.url, two.url) as backend,
        ):
            with pytest.raises(Broken):
                await ask(backend)
            assert len(one.requests) + len(two.requests) == 1

    run(main())


async def hung_up(backend):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await receive(backend)


async def dropped(backend):
    stream = await backend.stream(CALL)
    await stream.read(5.0)
    await stream.aclose()


async def failed(backend):
    for ask in (send, receive):
        with pytest.raises(BackendError):
            await ask(backend)


@pytest.mark.parametrize(
    ("ask", "play"),
    [
        (send, lambda way: saying(answer())),
        (receive, lambda way: saying(way.stream())),
        (hung_up, lambda way: silence),
        (hung_up, lambda way: saying(way.stream(EVENTS[:2], end=b""))),
        (dropped, lambda way: saying(way.stream(EVENTS[:2], end=b""))),
        (failed, lambda way: saying(answer(status=b"500 No"))),
        (failed, lambda way: saying(close=True)),
        (failed, lambda way: saying(b"no HTTP")),
        (failed, lambda way: saying(answer(headers=b"content-encoding: gzip\r\n"))),
    ],
)
def test_a_request_counts_at_its_url_until_it_has_ended_however_it_ends(
    run, opened, way, ask, play
):
    async def main():
        async with playing(play(way)) as server, opened(server.url) as backend:
            if way.target is not None:
                await backend._identity.current(5.0)  # it is found in a thread, at first
            asking = asyncio.ensure_future(ask(backend))
            for _ in range(TURNS):
                if backend._pool.replicas.in_flight(0) == 1:
                    break
                await asyncio.sleep(0)
            else:
                raise AssertionError("it never counted")
            await asking
            for _ in range(TURNS):
                await asyncio.sleep(0)
            assert backend._pool.replicas.in_flight(0) == 0

    run(main())


def test_a_url_that_can_not_be_reached_holds_no_request(run, opened):
    async def main():
        async with playing(silence) as gone:
            dead = gone.url
        async with opened(dead) as backend:
            await failed(backend)
            assert backend._pool.replicas.in_flight(0) == 0

    run(main())


def test_a_url_that_no_backend_may_have_opens_none(opened):
    async def main():
        async with opened("http://169.254.169.254/v1"):
            pass

    with pytest.raises(ValueError, match="link-local"):
        asyncio.run(main())


@pytest.fixture(scope="module")
def self_signed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("self-signed")
    made = str(folder / "c.pem"), str(folder / "k.pem")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    command += " -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    command += f" -out {made[0]} -keyout {made[1]}"
    subprocess.run(command.split(), check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*made)
    return context


@either
def test_a_certificate_that_nobody_vouches_for_is_refused(run, opened, ask, self_signed):
    async def main():
        play = saying(answer())
        error, server = await failure_of(ask, opened, play, Misconfigured, tls=self_signed)
        assert "certificate" in error.detail
        assert not server.requests

    run(main())
