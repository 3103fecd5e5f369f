"""Tokens of a real issuer: real keys, a real server, and a clock of our own."""

import asyncio
import hashlib
import hmac
import json
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from issuer import AUDIENCE, DISCOVERY, Issuer, b64, jwk, private_key
from jwt.algorithms import RSAAlgorithm

from router.auth.jwks import AGAIN_AFTER_S, FETCH_S, MOST_BYTES, Jwks, fetch
from router.auth.rules import ALGORITHMS, JwtRules
from router.auth.tokens import MOST_BYTES as MOST_TOKEN_BYTES
from router.auth.tokens import Tokens
from router.errors import Refusal
from router.identity import Key
from router.key_rows import stamp


@pytest.fixture
def issuer():
    running = Issuer()
    yield running
    running.stop()


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def rules_for(issuer, **more):
    standard = {
        "issuer": issuer.url,
        "audiences": frozenset({AUDIENCE}),
        "jwks_url": None,
        "algorithms": ALGORITHMS,
        "leeway_s": 30,
        "claims": {"tenant": ("org",), "team": ("team",)},
        "tags": {},
        "admin": (("realm", "roles"), "boss"),
        "give": Key("", ""),
    }
    return JwtRules(**{**standard, **more})


class Asking:
    """A verifier over a real issuer; `later` moves its clocks."""

    def __init__(self, issuer, **rules):
        self.clock = Clock()
        self.offset_s = 0.0
        self.jwks = Jwks(rules_for(issuer, **rules), fetch, self.clock)
        self.tokens = Tokens(rules_for(issuer, **rules), self.jwks)

    def later(self, seconds):
        self.clock.now += seconds
        self.offset_s += seconds

    async def __call__(self, token, header="authorization"):
        text = token if isinstance(token, bytes) else token.encode()
        value = b"Bearer " + text if header == "authorization" else text
        at = stamp(datetime.fromtimestamp(time.time() + self.offset_s, UTC))
        return await self.tokens.verify({header.encode(): value}, at)


@asynccontextmanager
async def asking(issuer, **rules):
    made = Asking(issuer, **rules)
    try:
        yield made
    finally:
        await made.jwks.aclose()


def answer(issuer, token, **rules):
    """Return what one request with this token is told."""

    async def once():
        async with asking(issuer, **rules) as ask:
            return await ask(token)

    return asyncio.run(once())


def refused(issuer, token, status=401, code="invalid_token", **rules):
    said = answer(issuer, token, **rules)
    assert isinstance(said, Refusal), said
    assert (said.status, said.code) == (status, code), said.message
    return said.message


# -- who is believed -------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_of_the_issuer_makes_its_bearer_the_caller(issuer, algorithm):
    issuer.publish(jwk(algorithm, "one"))
    key = answer(issuer, issuer.token(algorithm))
    assert (key.id, key.tenant, key.team, key.admin) == ("jwt:user-1", "acme", "search", False)
    assert issuer.asked == [DISCOVERY, "/keys"]


def test_rights_come_from_what_is_given_and_from_claims(issuer):
    rules = {
        "claims": {"tenant": ("org",), "lanes": ("realm", "lanes"), "models": ("model",)},
        "tags": {"cc": ("https://example.com/cost.center",)},
        "give": Key("", "", "everyone", {"env": "prod"}, may=("best",)),
    }
    claims = {"realm": {"lanes": ["cpu", "batch"], "roles": ["x", "boss"]}, "model": "m"}
    claims["https://example.com/cost.center"] = "77"
    key = answer(issuer, issuer.token(**claims), **rules)
    assert (key.team, key.lanes, key.models) == ("everyone", ("cpu", "batch"), ("m",))
    assert (key.tags, key.may) == ({"env": "prod", "cc": "77"}, ("best",))
    assert key.admin


def test_a_token_may_come_in_the_header_of_keys(issuer):
    async def once():
        async with asking(issuer) as ask:
            return await ask(issuer.token(), "x-sluice-key")

    assert asyncio.run(once()).tenant == "acme"


@pytest.mark.parametrize("text", ["", "sk-sluice-00000000-00", "hello", "a.b", "a.b.c.d"])
def test_what_is_no_token_is_left_to_others(issuer, text):
    assert answer(issuer, text) is None
    assert issuer.asked == []


def test_one_audience_of_several_is_enough(issuer):
    assert answer(issuer, issuer.token(aud=["other", AUDIENCE])).tenant == "acme"


def test_a_set_with_one_key_needs_no_name_for_it(issuer):
    assert answer(issuer, issuer.token(kid=None)).tenant == "acme"
    issuer.publish(jwk("RS256", "one"), jwk("RS256", "two", 1))
    assert "the one it names" in refused(issuer, issuer.token(kid=None))


def test_the_leeway_is_for_clocks_that_differ(issuer):
    now = int(time.time())
    assert answer(issuer, issuer.token(exp=now - 10)).tenant == "acme"
    assert answer(issuer, issuer.token(nbf=now + 10)).tenant == "acme"
    assert "expired" in refused(issuer, issuer.token(exp=now - 10), leeway_s=0)
    assert "not valid yet" in refused(issuer, issuer.token(nbf=now + 10), leeway_s=0)


# -- who is not ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"exp": 1}, "expired"),
        ({"exp": None}, "`exp`"),
        ({"exp": "tomorrow"}, "`exp`"),
        ({"exp": True}, "`exp`"),
        ({"exp": 10**40}, "`exp`"),
        ({"exp": -1}, "`exp`"),
        ({"nbf": 4_000_000_000}, "not valid yet"),
        ({"nbf": "now"}, "`nbf`"),
        ({"aud": "somebody"}, "`aud`"),
        ({"aud": None}, "`aud`"),
        ({"aud": ["a", ["sluice"], {"sluice": 1}]}, "`aud`"),
        ({"aud": "sluice2"}, "`aud`"),
        ({"iss": "https://other.example"}, "`iss`"),
        ({"iss": None}, "`iss`"),
        ({"iss": ["a"]}, "`iss`"),
        ({"sub": None}, "`sub`"),
        ({"sub": ""}, "`sub`"),
        ({"sub": "a\nb"}, "`sub`"),
        ({"sub": "x" * 256}, "`sub`"),
    ],
)
def test_a_claim_that_is_wrong_makes_nobody(issuer, claims, why):
    if isinstance(claims.get("iss"), list) or claims.get("sub", "") is None:
        token = by_hand(issuer, {"alg": "RS256", "kid": "one"}, issuer.claims(**claims))
    else:
        token = issuer.token(**claims)
    assert why in refused(issuer, token)


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"org": None}, "`org`"),
        ({"org": ""}, "`org`"),
        ({"org": "*"}, "`org`"),
        ({"org": ["acme"]}, "`org`"),
        ({"org": "x" * 101}, "`org`"),
        ({"org": "sluice-shadow"}, "the router's own"),
        ({"team": None}, "`team`"),
    ],
)
def test_a_valid_token_that_says_not_who_here_gets_no_rights(issuer, claims, why):
    said = refused(issuer, issuer.token(**claims), 403, "identity_not_mapped")
    assert why in said


@pytest.mark.parametrize("lanes", [None, [], {}, 5, [5], ["*"], ["a"] * 101])
def test_lanes_that_are_asked_for_and_not_there_are_not_all_lanes(issuer, lanes):
    rules = {"claims": {"tenant": ("org",), "lanes": ("lanes",)}}
    said = refused(issuer, issuer.token(lanes=lanes), 403, "identity_not_mapped", **rules)
    assert "`lanes`" in said


@pytest.mark.parametrize("realm", [None, "boss", {"roles": "bosses"}, {"roles": [["boss"]]}, []])
def test_who_lacks_the_role_is_no_admin(issuer, realm):
    assert not answer(issuer, issuer.token(realm=realm)).admin


# -- forged ----------------------------------------------------------------------------------------


def by_hand(issuer, header, claims, sign=None):
    """A token with any header and claims, signed as RS256 unless told otherwise."""
    signed = f"{b64(header)}.{b64(claims)}"
    if sign is None:
        algorithm = RSAAlgorithm(RSAAlgorithm.SHA256)
        signature = algorithm.sign(signed.encode(), private_key("RS256"))
    else:
        signature = sign(signed.encode())
    return f"{signed}.{b64(signature)}"


def test_a_token_that_another_key_signed_is_refused(issuer):
    assert "signature" in refused(issuer, issuer.token(number=7))


def test_a_token_whose_claims_were_changed_is_refused(issuer):
    head, _, signature = issuer.token().split(".")
    assert "signature" in refused(issuer, f"{head}.{b64(issuer.claims(org='other'))}.{signature}")


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", ""])
def test_an_unsigned_token_is_refused(issuer, algorithm):
    header = {"alg": algorithm, "kid": "one", "typ": "JWT"}
    for signature in (b"", b"x"):
        token = by_hand(issuer, header, issuer.claims(), lambda _: signature)  # noqa: B023  (now)
        assert "algorithm" in refused(issuer, token)


@pytest.mark.parametrize("form", ["pem", "der", "jwk"])
def test_the_public_key_is_no_shared_secret(issuer, form):
    public = private_key("RS256").public_key()
    encoding = serialization.Encoding.DER if form == "der" else serialization.Encoding.PEM
    secret = public.public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
    if form == "jwk":
        secret = json.dumps(jwk("RS256", "one")).encode()
    for claimed in ("HS256", "RS256"):
        token = by_hand(
            issuer,
            {"alg": claimed, "kid": "one"},
            issuer.claims(),
            lambda signed: hmac.digest(secret, signed, hashlib.sha256),
        )
        refused(issuer, token)


def test_a_key_verifies_its_own_algorithm_only(issuer):
    issuer.publish(jwk("RS256", "one"), jwk("ES256", "two"), jwk("EdDSA", "three"))
    for algorithm, kid in (("ES256", "one"), ("RS256", "two"), ("ES256", "three")):
        assert "the one it names" in refused(issuer, issuer.token(algorithm, kid))


def test_an_algorithm_that_is_not_listed_is_refused(issuer):
    issuer.publish(jwk("ES256", "one"))
    said = refused(issuer, issuer.token("ES256"), algorithms=("RS256",))
    assert "none that is believed (RS256)" in said


def test_a_token_can_not_bring_its_own_key(issuer):
    own = jwk("RS256", "mine", 7)
    for headers in ({"jwk": own}, {"jku": f"{issuer.url}/mine"}, {"x5u": f"{issuer.url}/mine"}):
        assert "signature" in refused(issuer, issuer.token(number=7, headers=headers))
        refused(issuer, issuer.token(kid="mine", number=7, headers=headers))
    assert "/mine" not in issuer.asked


def test_a_critical_extension_that_is_not_known_is_refused(issuer):
    header = {"alg": "RS256", "kid": "one", "crit": ["exp2"], "exp2": 1}
    refused(issuer, by_hand(issuer, header, issuer.claims()))


@pytest.mark.parametrize(
    "token",
    [
        b"..",
        b"a.b.c",
        b"eyJ.eyJ.x",
        b"\xff\xfe.\x00.\x80",
        f"{b64([1])}.{b64({})}.x".encode(),
        f"{b64({})}.{b64({})}.x".encode(),
        f"{b64({'alg': ['RS256']})}.{b64({})}.x".encode(),
        f"{b64({'alg': 'RS256', 'kid': 5})}.{b64({})}.x".encode(),
        f"{b64(b'[' * 3000)}.{b64({})}.x".encode(),
        b"a" * 5000 + b".b.c",
    ],
)
def test_garbage_is_refused_without_asking_anybody(issuer, token):
    refused(issuer, token)
    assert issuer.asked == []


def test_claims_that_are_no_object_are_refused(issuer):
    for claims in ([], "x", 5, b"\xff", b"{"):
        assert "claims" in refused(issuer, by_hand(issuer, {"alg": "RS256", "kid": "one"}, claims))


def test_a_huge_token_is_refused_before_it_is_read(issuer):
    huge = issuer.token(filler="x" * MOST_TOKEN_BYTES)
    assert "longer than" in refused(issuer, huge)
    assert issuer.asked == []


def test_no_refusal_repeats_what_the_token_holds(issuer):
    secret = "s3cr3t"
    for token in (
        issuer.token(sub=secret * 99),
        issuer.token(org=secret * 30),
        issuer.token(iss=secret),
        issuer.token(aud=secret),
        issuer.token(kid=secret),
        f"{secret}.{secret}.{secret}",
        by_hand(issuer, {"alg": secret, "kid": secret}, issuer.claims()),
    ):
        said = answer(issuer, token)
        assert secret not in said.message + repr(said.headers)
        assert token not in said.message


# -- keys that come and go -------------------------------------------------------------------------


def run(story):
    asyncio.run(story)


def test_a_token_is_verified_once_and_expires_all_the_same(issuer):
    async def story():
        async with asking(issuer) as ask:
            token = issuer.token()
            first = await ask(token)
            assert await ask(token) is first
            ask.later(600 + 31)
            assert (await ask(token)).status == 401

    run(story())


def test_a_new_key_is_fetched_when_a_token_names_it(issuer):
    async def story():
        async with asking(issuer) as ask:
            assert (await ask(issuer.token())).tenant == "acme"
            issuer.publish(jwk("RS256", "one"), jwk("ES256", "two"))
            ask.later(AGAIN_AFTER_S)
            assert (await ask(issuer.token("ES256", "two"))).tenant == "acme"
            assert issuer.times_asked() == 2

    run(story())


def test_a_key_that_was_withdrawn_is_not_believed_any_more(issuer):
    async def story():
        async with asking(issuer) as ask:
            old = issuer.token()
            assert (await ask(old)).tenant == "acme"
            issuer.publish(jwk("RS256", "two", 1))
            ask.later(AGAIN_AFTER_S)
            assert (await ask(issuer.token(kid="two", number=1))).tenant == "acme"
            assert (await ask(old)).status == 401

    run(story())


def test_tokens_with_unknown_keys_are_no_flood_for_the_issuer(issuer):
    async def story():
        async with asking(issuer) as ask:
            made_up = [issuer.token(kid=f"k{i}") for i in range(20)]
            answers = await asyncio.gather(*map(ask, made_up))
            assert {said.status for said in answers} == {401}
            assert issuer.times_asked() == 1
            ask.later(AGAIN_AFTER_S)
            for token in made_up:
                await ask(token)
            assert issuer.times_asked() == 2

    run(story())


def test_known_keys_are_kept_while_the_issuer_is_down(issuer):
    async def story():
        async with asking(issuer) as ask:
            await ask(issuer.token())
            issuer.stop()
            ask.later(AGAIN_AFTER_S)
            unknown = await ask(issuer.token(kid="two"))
            assert (unknown.status, unknown.code) == (503, "issuer_unavailable")
            assert dict(unknown.headers)[b"retry-after"] == b"10"
            assert (await ask(issuer.token(sub="another"))).id == "jwt:another"
            issuer.start()
            issuer.publish(jwk("RS256", "two"))
            ask.later(AGAIN_AFTER_S)
            assert (await ask(issuer.token(kid="two"))).tenant == "acme"

    run(story())


def test_an_issuer_that_is_down_at_the_start_is_asked_again(issuer):
    async def story():
        issuer.stop()
        async with asking(issuer) as ask:
            assert (await ask(issuer.token())).status == 503
            issuer.start()
            assert (await ask(issuer.token())).status == 503
            ask.later(AGAIN_AFTER_S)
            assert (await ask(issuer.token())).tenant == "acme"

    run(story())


def test_the_background_fetches_before_anybody_asks(issuer):
    async def story():
        async with asking(issuer) as ask:
            ask.jwks.start()
            async with asyncio.timeout(60):
                while not ask.jwks.keys:  # noqa: ASYNC110  (that is what is asked)
                    await asyncio.sleep(0.01)
            assert (await ask(issuer.token())).tenant == "acme"
            assert issuer.times_asked() == 1

    run(story())


def test_a_caller_who_leaves_does_not_end_the_fetch_for_the_others(issuer):
    async def story():
        async with asking(issuer) as ask:
            leaving = asyncio.create_task(ask(issuer.token(sub="leaves")))
            staying = asyncio.create_task(ask(issuer.token(sub="stays")))
            await asyncio.sleep(0)
            leaving.cancel()
            assert (await staying).id == "jwt:stays"

    run(story())


# -- what an issuer may not be ---------------------------------------------------------------------


def told(issuer, **rules):
    """Return why no keys are had."""

    async def once():
        async with asking(issuer, **rules) as ask:
            said = await ask(issuer.token())
            assert (said.status, said.code) == (503, "issuer_unavailable")
            return ask.jwks.failure

    return asyncio.run(once())


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (200, b"", "the set of keys is no JSON object"),
        (200, b"<html>", "the set of keys is no JSON object"),
        (200, b"[]", "the set of keys is no JSON object"),
        (200, b"{}", "no list `keys`"),
        (200, b'{"keys": {}}', "no list `keys`"),
        (200, b'{"keys": []}', "no key that could verify"),
        (200, b'{"keys": [5, null, {}, {"kty": "RSA"}, {"kty": []}]}', "no key that could"),
        (200, b" " * (MOST_BYTES + 1), "longer than 262,144 bytes"),
        (302, b"", "status 302"),
        (404, b"", "status 404"),
        (500, b"", "status 500"),
    ],
)
def test_what_is_no_set_of_keys_is_told(issuer, status, body, why):
    issuer.answers["/keys"] = (status, body)
    assert why in told(issuer)


def weak():
    public = rsa.generate_private_key(65537, 1024).public_key()
    return {**RSAAlgorithm.to_jwk(public, as_dict=True), "kid": "one"}


UNFIT = {
    "for encryption": lambda: jwk("RS256", "one", use="enc"),
    "of another algorithm": lambda: jwk("RS256", "one", alg="RS512"),
    "shared": lambda: {"kty": "oct", "kid": "one", "k": "c2VjcmV0", "alg": "HS256"},
    "weak": weak,
    "of another curve": lambda: jwk("ES256", "one", crv="P-384"),
    "broken": lambda: jwk("ES256", "one", x="AAAA"),
    "without a text as its name": lambda: jwk("RS256", 5),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_a_key_that_is_unfit_is_left_out(issuer, kind):
    issuer.publish(UNFIT[kind]())
    assert "no key that could verify" in told(issuer)
    issuer.publish(UNFIT[kind](), jwk("RS256", "fit", 1))
    assert answer(issuer, issuer.token(kid="fit", number=1)).tenant == "acme"


@pytest.mark.parametrize(
    ("discovery", "why"),
    [
        ({"issuer": "https://other.example"}, "another issuer's"),
        ({"jwks_uri": None}, "no `jwks_uri`"),
        ({"jwks_uri": "http://id.example/keys"}, "use https"),
        ({"jwks_uri": "http://169.254.169.254/keys"}, "link-local"),
        ({"jwks_uri": "file:///etc/passwd"}, "unknown scheme"),
    ],
)
def test_a_discovery_document_is_not_believed_blindly(issuer, discovery, why):
    said = {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys", **discovery}
    issuer.answers[DISCOVERY] = (200, json.dumps(said).encode())
    assert why in told(issuer)
    assert issuer.times_asked() == 0


def test_a_set_may_be_named_without_discovery(issuer):
    issuer.answers["/other?p=a"] = issuer.answers["/keys"]
    assert answer(issuer, issuer.token(), jwks_url=f"{issuer.url}/other?p=a").tenant == "acme"
    assert issuer.asked == ["/other?p=a"]


def test_a_set_that_went_bad_leaves_the_last_good_one(issuer):
    async def story():
        async with asking(issuer) as ask:
            await ask(issuer.token())
            issuer.answers["/keys"] = (200, b"maintenance")
            ask.later(AGAIN_AFTER_S)
            assert (await ask(issuer.token(kid="two"))).status == 503
            assert (await ask(issuer.token(sub="another"))).id == "jwt:another"

    run(story())


def test_an_issuer_that_is_silent_holds_nobody_up_for_long(issuer):
    def silent():
        time.sleep(FETCH_S + 1)
        return b""

    issuer.answers["/keys"] = (200, silent)

    async def story():
        async with asking(issuer) as ask:
            turns = 0
            asked = asyncio.create_task(ask(issuer.token()))
            while not asked.done():
                await asyncio.sleep(0.05)
                turns += 1
            assert (await asked).status == 503
            assert "no answer in 5 s" in ask.jwks.failure
            assert turns > 5, "the loop stood still"

    run(story())
