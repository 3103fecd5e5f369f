"""Credentials and bearer tokens: read again behind the requests, renewed before their end."""

import asyncio
import base64
import threading
from urllib.parse import parse_qs

import pytest

from backends.base import Misconfigured, Unreachable
from backends.sagemaker_identity import READ_S, RENEW_TOKEN_S, STALE_S, TOKEN_S, Identity
from backends.sigv4 import Credentials

NOW = 1_795_255_200.0
FIRST, SECOND = Credentials("A1", "s1", "t1"), Credentials("A2", "s2", "t2")


class Source:
    """Gives what it is told to; `go_on` holds its reads up."""

    def __init__(self):
        self.gives = FIRST
        self.reads = self.forgotten = 0
        self.go_on = threading.Event()
        self.go_on.set()

    def read(self):
        assert self.go_on.wait(10)
        self.reads += 1
        if isinstance(self.gives, Exception):
            raise self.gives
        return self.gives

    def forget(self):
        self.forgotten += 1


class Clock:
    def __init__(self):
        self.s = 1000.0

    def __call__(self):
        return self.s

    def utc(self):
        return NOW + self.s


@pytest.fixture
def source():
    return Source()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def identity(source, clock):
    return Identity("us-east-1", source, clock=clock, now_s=clock.utc)


def token(proof):
    raw = proof.bearer.decode().removeprefix("authorization: Bearer sagemaker-api-key-").strip()
    query = parse_qs(base64.b64decode(raw).decode().partition("?")[2])
    return {name: values[0] for name, values in query.items()}


async def settled(identity):
    """Wait for a read that goes on behind the requests."""
    await asyncio.wait({identity._reading})


def test_requests_at_once_make_one_read(identity, source):
    async def main():
        proofs = await asyncio.gather(*(identity.current() for _ in range(5)))
        assert source.reads == 1
        assert len({id(proof) for proof in proofs}) == 1

    asyncio.run(main())


def test_a_request_does_not_wait_for_the_next_read(identity, source, clock):
    async def main():
        first = await identity.current()
        source.gives = SECOND
        clock.s += READ_S + 1
        source.go_on.clear()
        assert await identity.current() is first
        assert await identity.current() is first
        source.go_on.set()
        await settled(identity)
        assert source.reads == 2
        second = await identity.current()
        assert second.credentials == SECOND
        assert token(second)["X-Amz-Security-Token"] == "t2"

    asyncio.run(main())


def test_after_a_long_pause_what_is_old_is_not_used(identity, source, clock):
    async def main():
        await identity.current()
        source.gives = SECOND
        clock.s += STALE_S + 1
        assert (await identity.current()).credentials == SECOND

    asyncio.run(main())


def test_a_token_is_kept_while_it_is_young_and_never_used_near_its_end(identity, clock):
    async def main():
        used = []
        for _ in range(400):
            proof = await identity.current()
            used.append((proof, clock.s - proof.minted_at))
            await settled(identity)
            clock.s += READ_S / 2
        ages = [age for _, age in used]
        assert max(ages) < TOKEN_S / 2
        tokens = len({proof.bearer for proof, _ in used})
        assert tokens == pytest.approx(400 * READ_S / 2 / RENEW_TOKEN_S, abs=3)

    asyncio.run(main())


def test_the_token_says_when_it_ends(identity):
    async def main():
        said = token(await identity.current())
        assert said["X-Amz-Expires"] == str(TOKEN_S)
        assert said["Action"] == "CallWithBearerToken"
        assert said["Version"] == "1"
        assert said["X-Amz-Credential"].endswith("/us-east-1/sagemaker/aws4_request")

    asyncio.run(main())


def test_what_was_refused_is_renewed_once_and_not_right_after_it_was_read(identity, source, clock):
    async def main():
        first = await identity.current()
        assert await identity.renewed(first) is None
        assert (source.reads, source.forgotten) == (1, 0)
        clock.s += 61
        source.gives = SECOND
        both = await asyncio.gather(identity.renewed(first), identity.renewed(first))
        assert [proof.credentials for proof in both] == [SECOND, SECOND]
        assert (source.reads, source.forgotten) == (2, 1)
        assert (await identity.renewed(first)).credentials == SECOND  # another had renewed it
        assert source.reads == 2

    asyncio.run(main())


def test_what_is_refused_while_the_same_is_read_again_is_looked_for_anew(identity, source, clock):
    async def main():
        first = await identity.current()
        clock.s += 61
        source.go_on.clear()
        assert await identity.current() is first  # begins a read behind it
        looking = asyncio.ensure_future(identity.renewed(first))
        await asyncio.sleep(0)
        source.gives = SECOND
        source.go_on.set()
        assert (await looking).credentials == SECOND
        assert source.forgotten == 1

    asyncio.run(main())


def test_what_stays_the_same_is_looked_for_anew_once_a_minute(identity, source, clock):
    async def main():
        refused = await identity.current()
        for _ in range(300):
            clock.s += 1
            refused = await identity.renewed(refused) or await identity.current()
            await settled(identity)
        assert source.forgotten == 5

    asyncio.run(main())


def test_without_credentials_the_reason_is_told_and_looked_for_again(identity, source):
    async def main():
        source.gives = Misconfigured("none")
        for _ in range(2):
            with pytest.raises(Misconfigured, match="none"):
                await identity.current()
        source.gives = FIRST
        assert (await identity.current()).credentials == FIRST

    asyncio.run(main())


def test_a_read_that_fails_behind_the_requests_leaves_them_what_they_have(identity, source, clock):
    async def main():
        first = await identity.current()
        source.gives = Misconfigured("the machine's role can't be read")
        clock.s += READ_S + 1
        assert await identity.current() is first
        await settled(identity)
        assert await identity.current() is first
        clock.s += STALE_S
        with pytest.raises(Misconfigured):
            await identity.current()

    asyncio.run(main())


def test_a_read_that_hangs_is_given_up_in_time_and_goes_on_for_others(identity, source):
    async def main():
        source.go_on.clear()
        with pytest.raises(Unreachable):
            await identity.current(0.01)
        waiting = asyncio.ensure_future(identity.current())
        source.go_on.set()
        assert (await waiting).credentials == FIRST
        assert source.reads == 1

    asyncio.run(main())


def test_a_request_that_is_cancelled_takes_no_read_with_it(identity, source):
    async def main():
        source.go_on.clear()
        cancelled = asyncio.ensure_future(identity.current())
        other = asyncio.ensure_future(identity.current())
        await asyncio.sleep(0)
        cancelled.cancel()
        source.go_on.set()
        assert (await other).credentials == FIRST

    asyncio.run(main())


def test_nothing_secret_is_shown(identity):
    async def main():
        proof = await identity.current()
        shown = f"{proof!r} {identity!r}"
        assert not any(secret in shown for secret in ("A1", "s1", "t1", "sagemaker-api-key"))

    asyncio.run(main())
