"""The client over real sockets on loopback, under both event loops."""

import asyncio
import contextlib
import socket
import ssl
import subprocess
import time
from dataclasses import dataclass, field

import pytest
import uvloop

from backends.base import Broken, Misconfigured, TimedOut, Unreachable
from backends.http1 import IDLE_S, Client

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
TURNS = 100  # of the loop: far more than what is there already takes to be heard
SEEN_S = 30  # within which the other side of a loopback socket sees a close, at the latest


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    factory = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}[request.param]
    with asyncio.Runner(loop_factory=factory) as runner:
        yield runner.run


@dataclass
class Server:
    """Plays `play(peer, nth)` on its nth connection; keeps what it was sent."""

    url: str = ""
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    closed: int = 0


class Peer:
    def __init__(self, reader, writer, server):
        self._reader = reader
        self.writer = writer
        self._server = server

    async def request(self):
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        request = head + await self._reader.readexactly(length)
        self._server.requests.append(request)
        return request

    async def say(self, answer):
        self.writer.write(answer)
        await self.writer.drain()

    async def until_closed(self):
        with contextlib.suppress(ConnectionError):
            while await self._reader.read(65536):
                pass


@contextlib.asynccontextmanager
async def playing(play, *, tls=None, host="127.0.0.1"):
    server, tasks = Server(), set()

    async def accept(reader, writer):
        tasks.add(asyncio.current_task())
        server.connections += 1
        try:
            await play(Peer(reader, writer, server), server.connections)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()
        server.closed += 1

    listening = await asyncio.start_server(accept, host, 0, ssl=tls)
    port = listening.sockets[0].getsockname()[1]
    server.url = f"http{'s' if tls else ''}://{f'[{host}]' if ':' in host else host}:{port}"
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


@contextlib.asynccontextmanager
async def client_of(server, *args, **options):
    client = Client(server.url, *args, **options)
    try:
        yield client
    finally:
        await client.aclose()


async def ask(client, body=b"{}", timeout_s=5.0):
    response = await client.request("POST", "/x", body, timeout_s=timeout_s)
    return await response.body()


async def closed_within_some_turns(server, n=1, within_s=SEEN_S):
    ends = time.monotonic() + within_s
    while server.closed < n and time.monotonic() < ends:  # noqa: ASYNC110  (it counts)
        await asyncio.sleep(0)
    return server.closed >= n


async def answer_all(peer, _):
    while await peer.request():
        await peer.say(OK)


def test_a_request_is_one_line_its_headers_and_its_body(run):
    async def main():
        async with (
            playing(answer_all) as server,
            client_of(server, {"authorization": "Bearer 钥匙"}) as client,
        ):
            assert await ask(client, '{"问":"价格"}'.encode()) == b"ok"
            return server

    server = run(main())
    authority = server.url.removeprefix("http://")
    assert server.requests == [
        (
            f"POST /x HTTP/1.1\r\nhost: {authority}\r\nuser-agent: sluice\r\n"
            "accept-encoding: identity\r\nauthorization: Bearer 钥匙\r\ncontent-length: 16\r\n\r\n"
            '{"问":"价格"}'
        ).encode()
    ]


def test_a_small_request_leaves_in_one_segment_without_waiting(run):
    async def main():
        segments = []

        async def play(peer, _):
            segments.append(await peer._reader.read(65536))
            await peer.say(OK)
            await peer.until_closed()

        async with playing(play) as server, client_of(server) as client:
            await ask(client, b"body")
            (connection,) = client._open
            sock = connection._transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert segments[0].endswith(b"\r\n\r\nbody")

    run(main())


def test_a_base_path_and_a_default_port_are_written_as_they_should():
    client = Client("https://model.example/base/v1/")
    assert client._message("GET", "/models", b"").startswith(
        b"GET /base/v1/models HTTP/1.1\r\nhost: model.example\r\n"
    )


def test_one_connection_serves_one_request_after_the_other(run):
    async def main():
        async with playing(answer_all) as server, client_of(server) as client:
            for _ in range(5):
                assert await ask(client) == b"ok"
            assert (server.connections, len(server.requests)) == (1, 5)

    run(main())


def test_the_connection_used_last_is_used_next(run):
    async def main():
        came, gate, served = asyncio.Event(), asyncio.Event(), []

        async def play(peer, nth):
            while await peer.request():
                served.append(nth)
                if len(served) == 1:
                    came.set()
                    await gate.wait()
                await peer.say(OK)

        async with playing(play) as server, client_of(server) as client:
            first = asyncio.create_task(ask(client))
            await came.wait()
            await ask(client)
            gate.set()
            await first
            await ask(client)
            await ask(client)
            assert served == [1, 2, 1, 1]

    run(main())


def test_no_more_idle_connections_are_kept_than_allowed(run):
    async def main():
        async with playing(answer_all) as server, client_of(server, max_idle=1) as client:
            await asyncio.gather(*(ask(client) for _ in range(4)))
            assert server.connections == 4
            assert await closed_within_some_turns(server, 3)
            assert len(client._idle) == 1

    run(main())


def test_an_idle_connection_that_the_peer_closes_is_dropped(run):
    async def main():
        async def play(peer, _):
            await peer.request()
            await peer.say(OK)

        async with playing(play) as server, client_of(server) as client:
            await ask(client)
            async with asyncio.timeout(SEEN_S):
                while client._idle:  # noqa: ASYNC110  (that is what is asked)
                    await asyncio.sleep(0)
            assert not client._open
            await ask(client)
            assert len(server.requests) == 2

    run(main())


def test_a_connection_that_is_being_closed_is_not_used(run):
    async def main():
        async with playing(answer_all) as server, client_of(server) as client:
            await ask(client)
            (connection,) = client._idle
            connection.abort()
            assert await ask(client) == b"ok"
            assert (server.connections, len(server.requests)) == (2, 2)

    run(main())


def test_a_connection_that_was_idle_for_long_is_not_trusted(run):
    async def main():
        async with playing(answer_all) as server, client_of(server) as client:
            await ask(client)
            (connection,) = client._idle
            connection.idle_since -= IDLE_S
            await ask(client)
            assert server.connections == 2
            assert await closed_within_some_turns(server)

    run(main())


def test_a_kept_connection_that_dies_before_its_answer_is_replaced_once(run):
    async def main():
        async def play(peer, nth):
            await peer.request()
            if nth == 1:
                await peer.say(OK)
                await peer.request()
            else:
                await peer.say(OK)
                await peer.until_closed()

        async with playing(play) as server, client_of(server) as client:
            await ask(client, b"first")
            assert await ask(client, b"second") == b"ok"
            assert [request[-6:] for request in server.requests[1:]] == [b"second"] * 2

    run(main())


def test_the_replacement_is_not_replaced(run):
    async def main():
        async def play(peer, nth):
            await peer.request()
            if nth == 1:
                await peer.say(OK)
                await peer.request()

        async with playing(play) as server, client_of(server) as client:
            await ask(client)
            with pytest.raises(Broken) as caught:
                await ask(client)
            assert not caught.value.received
            assert server.connections == 2

    run(main())


def test_a_kept_connection_that_dies_within_its_answer_is_not_asked_again(run):
    async def main():
        async def play(peer, _):
            await peer.request()
            await peer.say(OK)
            await peer.request()
            await peer.say(b"H")

        async with playing(play) as server, client_of(server) as client:
            await ask(client)
            with pytest.raises(Broken) as caught:
                await ask(client)
            assert caught.value.received
            assert server.connections == 1

    run(main())


def test_a_new_connection_that_dies_is_not_replaced(run):
    async def main():
        async def play(peer, _):
            await peer.request()

        async with playing(play) as server, client_of(server) as client:
            with pytest.raises(Broken) as caught:
                await ask(client)
            assert not caught.value.received
            assert server.connections == 1

    run(main())


def test_an_answer_nobody_asked_for_is_not_the_next_answer(run):
    async def main():
        async def play(peer, nth):
            await peer.request()
            await peer.say(OK)
            if nth == 1:
                await peer.say(OK.replace(b"ok", b"no"))
            await peer.until_closed()

        async with playing(play) as server, client_of(server) as client:
            await ask(client)
            assert await closed_within_some_turns(server)
            assert not client._idle

    run(main())


def test_an_early_answer_to_a_long_request_arrives_and_costs_the_connection(run):
    async def main():
        async def play(peer, _):
            await peer._reader.readuntil(b"\r\n\r\n")
            await peer.say(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
            await asyncio.sleep(5)

        async with playing(play) as server, client_of(server) as client:
            response = await client.request("POST", "/x", b"x" * 2**24, timeout_s=5.0)
            assert (response.status, await response.body()) == (413, b"no")
            assert not client._idle

    run(main())


def test_cancelling_a_wait_closes_the_connection_at_once(run):
    async def main():
        got = asyncio.Event()

        async def play(peer, _):
            await peer.request()
            got.set()
            await peer.until_closed()

        async with playing(play) as server, client_of(server) as client:
            task = asyncio.create_task(ask(client))
            await got.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await closed_within_some_turns(server)
            assert not client._open

    run(main())


def test_cancelling_a_read_of_a_stream_closes_the_connection_at_once(run):
    async def main():
        async def play(peer, _):
            await peer.request()
            await peer.say(CHUNKED)
            await peer.until_closed()

        async with playing(play) as server, client_of(server) as client:
            response = await client.request("POST", "/x", whole=False, timeout_s=5.0)
            task = asyncio.create_task(response.read(5.0))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await closed_within_some_turns(server)

    run(main())


@pytest.mark.parametrize("whole", [True, False])
def test_an_answer_that_takes_too_long_is_given_up_and_its_connection_closed(run, whole):
    async def main():
        async def play(peer, _):
            await peer.request()
            await peer.say(OK)
            await peer.request()
            await peer.until_closed()

        async with playing(play) as server, client_of(server) as client:
            await ask(client)
            with pytest.raises(TimedOut):
                await client.request("POST", "/x", whole=whole, timeout_s=0.01)
            assert await closed_within_some_turns(server)

    run(main())


def test_a_stream_that_pauses_can_be_waited_for_again(run):
    async def main():
        go_on = asyncio.Event()

        async def play(peer, _):
            await peer.request()
            await peer.say(CHUNKED)
            await go_on.wait()
            await peer.say(b"2\r\nok\r\n0\r\n\r\n")
            await peer.until_closed()

        async with playing(play) as server, client_of(server) as client:
            response = await client.request("POST", "/x", whole=False, timeout_s=5.0)
            with pytest.raises(TimedOut):
                await response.read(0.01)
            go_on.set()
            assert await response.read(5.0) == b"ok"
            assert await response.read(5.0) == b""
            assert len(client._idle) == 1

    run(main())


def test_the_time_of_one_read_is_not_the_time_of_the_next(run):
    async def main():
        go_on = asyncio.Event()

        async def play(peer, _):
            await peer.request()
            await peer.say(CHUNKED + b"2\r\nok\r\n")
            await go_on.wait()
            await peer.say(b"0\r\n\r\n")
            await peer.until_closed()

        async with playing(play) as server, client_of(server) as client:
            response = await client.request("POST", "/x", whole=False, timeout_s=1.0)
            assert await response.read(5.0) == b"ok"
            asyncio.get_running_loop().call_later(1.2, go_on.set)
            assert await response.read(30.0) == b""

    run(main())


def test_a_slow_reader_holds_a_fast_stream_back(run):
    async def main():
        size, sent = 16 * 2**20, 0

        async def play(peer, _):
            nonlocal sent
            await peer.request()
            await peer.say(CHUNKED)
            while sent < size:
                await peer.say(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                sent += 65536
            await peer.say(b"0\r\n\r\n")
            await peer.until_closed()

        async with playing(play) as server, client_of(server) as client:
            response = await client.request("POST", "/x", whole=False, timeout_s=5.0)
            before = -1
            while before != sent:
                before = sent
                for _ in range(TURNS):
                    await asyncio.sleep(0)
            assert sent < size
            assert response.size < 2**20
            assert await response.body(10.0) == b"x" * size

    run(main())


@pytest.mark.parametrize("kept", [True, False])
def test_a_stream_is_ended_without_waiting_for_a_peer_that_does_not_end_it(run, kept):
    async def main():
        async def play(peer, _):
            await peer.request()
            await peer.say(CHUNKED + b"2\r\nok\r\n")
            if kept:
                await peer.say(b"0\r\n\r\n")
            await peer.until_closed()

        async with playing(play) as server, client_of(server) as client:
            response = await client.request("POST", "/x", whole=False, timeout_s=5.0)
            assert await response.read(5.0) == b"ok"
            await response.end()
            assert len(client._idle) == kept
            assert await closed_within_some_turns(server, within_s=0.05 if kept else SEEN_S) != kept

    run(main())


def test_closing_the_client_ends_what_is_under_way(run):
    async def main():
        got = asyncio.Event()

        async def play(peer, nth):
            await peer.request()
            if nth == 1:
                got.set()
            else:
                await peer.say(OK)
            await peer.until_closed()

        async with playing(play) as server, client_of(server) as client:
            waiting = asyncio.create_task(ask(client))
            await got.wait()
            await ask(client)
            await client.aclose()
            assert not client._open
            with pytest.raises(Broken):
                await waiting
            assert await closed_within_some_turns(server, 2)
            with pytest.raises(Unreachable):
                await ask(client)
            assert server.connections == 2

    run(main())


def test_an_ipv6_host_is_called(run):
    async def main():
        async with playing(answer_all, host="::1") as server, client_of(server) as client:
            assert await ask(client) == b"ok"
            assert b"\r\nhost: [::1]:" in server.requests[0]

    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("no IPv6 on this machine")
    run(main())


def named(server):
    """The server under a name, which the resolver of a test knows."""
    return Server(url=server.url.replace("127.0.0.1", "模型.example"))


def resolving(*addresses):
    async def resolve(host, port):
        assert host == "xn--xgs754b.example"
        assert port
        return addresses

    return resolve


def test_the_next_address_is_tried_when_one_refuses(run):
    async def main():
        async with playing(answer_all) as server:
            resolve = resolving("127.0.0.77", "127.0.0.1")
            async with client_of(named(server), resolve=resolve) as client:
                assert await ask(client) == b"ok"

    run(main())


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1%lo", "::ffff:169.254.169.254"])
def test_a_name_that_leads_to_a_metadata_service_is_never_connected_to(run, address):
    async def main():
        async with playing(answer_all) as server:
            resolve = resolving("127.0.0.1", address)
            async with client_of(named(server), resolve=resolve) as client:
                with pytest.raises(Misconfigured):
                    await ask(client)
            assert server.connections == 0

    run(main())


def test_a_name_without_an_address_is_unreachable(run):
    async def main():
        async with playing(answer_all) as server:
            async with client_of(named(server), resolve=resolving()) as client:
                with pytest.raises(Unreachable):
                    await ask(client)
            async with contextlib.AsyncExitStack() as stack:
                nowhere = Server(url="http://name.invalid")
                client = await stack.enter_async_context(client_of(nowhere))
                with pytest.raises(Unreachable):
                    await ask(client)

    run(main())


def test_loopback_by_its_name_is_called(run):
    async def main():
        async with playing(answer_all) as server:
            local = Server(url=server.url.replace("127.0.0.1", "localhost"))
            async with client_of(local) as client:
                assert await ask(client) == b"ok"

    run(main())


def test_a_resolver_that_hangs_is_unreachable_not_too_slow_an_answer(run):
    async def hang(_host, _port):
        await asyncio.sleep(60)

    async def main():
        hung = Server(url="http://model.example")
        async with client_of(hung, resolve=hang, connect_s=60) as client, asyncio.timeout(30):
            with pytest.raises(Unreachable):
                await ask(client, timeout_s=0.01)
        async with client_of(hung, resolve=hang, connect_s=0.01) as client:
            with pytest.raises(Unreachable):
                await ask(client, timeout_s=None)

    run(main())


def test_a_client_that_is_closed_while_it_connects_keeps_no_connection(run):
    async def main():
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def resolve(_host, _port):
            asked.set()
            await go_on.wait()
            return ["127.0.0.1"]

        async with playing(answer_all) as server:
            async with client_of(named(server), resolve=resolve) as client:
                waiting = asyncio.create_task(ask(client))
                await asked.wait()
                await client.aclose()
                go_on.set()
                with pytest.raises(Unreachable):
                    await waiting
            assert await closed_within_some_turns(server)
            assert not server.requests

    run(main())


def test_a_tls_handshake_that_hangs_is_unreachable(run):
    async def main():
        async def play(peer, _):
            await peer.until_closed()

        async with playing(play) as server:
            secure = Server(url=server.url.replace("http:", "https:"))
            async with client_of(secure, connect_s=0.05) as client:
                with pytest.raises(Unreachable):
                    await ask(client)
            assert await closed_within_some_turns(server)

    run(main())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for `localhost` and 127.0.0.1: (certificate, key)."""
    folder = tmp_path_factory.mktemp("certificate")
    made = str(folder / "c.pem"), str(folder / "k.pem")
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    command += f" -days 2 -subj /CN=localhost -addext {names} -out {made[0]} -keyout {made[1]}"
    subprocess.run(command.split(), check=True, capture_output=True)
    return made


def test_tls_is_spoken_to_a_host_whose_certificate_is_trusted(run, certificate):
    async def main():
        serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        serving.load_cert_chain(*certificate)
        async with playing(answer_all, tls=serving) as server:
            for host in ("127.0.0.1", "localhost"):
                trusting = ssl.create_default_context(cafile=certificate[0])
                secure = Server(url=server.url.replace("127.0.0.1", host))
                async with client_of(secure, tls=trusting) as client:
                    assert await ask(client) == b"ok"
                    assert await ask(client) == b"ok"
            assert server.connections == 2

    run(main())


def test_a_certificate_for_another_host_is_refused(run, certificate):
    async def main():
        serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        serving.load_cert_chain(*certificate)
        async with playing(answer_all, tls=serving) as server:
            trusting = ssl.create_default_context(cafile=certificate[0])
            other = Server(url=server.url.replace("127.0.0.1", "模型.example"))
            options = {"tls": trusting, "resolve": resolving("127.0.0.1")}
            async with client_of(other, **options) as client:
                with pytest.raises(Misconfigured, match="certificate"):
                    await ask(client)
            assert not server.requests

    run(main())


@pytest.mark.parametrize("value", ["secret\r\nx: y", "secret\n", "secret\x00"])
def test_a_header_that_would_be_two_is_refused_without_being_shown(value):
    with pytest.raises(ValueError, match="`authorization`") as caught:
        Client("http://127.0.0.1", {"authorization": value})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("path", ["x", "/a b", "/a\r\nhost: b", "/价格"])
def test_a_path_that_would_be_more_is_refused(run, path):
    with pytest.raises(ValueError, match="path"):
        run(Client("http://127.0.0.1").request("POST", path))


def test_many_at_once_cost_about_as_much_each_as_one_alone():
    """The pool is O(1): 64 at once must not cost a multiple per request (httpx: 5 times)."""

    async def each_s(at_once):
        async with playing(answer_all) as server, client_of(server) as client:
            await asyncio.gather(*(ask(client) for _ in range(at_once)))
            began = time.process_time()
            for _ in range(640 // at_once):
                await asyncio.gather(*(ask(client) for _ in range(at_once)))
            return (time.process_time() - began) / 640

    alone = min(asyncio.run(each_s(1)) for _ in range(3))
    many = min(asyncio.run(each_s(64)) for _ in range(3))
    assert many < 3 * alone
