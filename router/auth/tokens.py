"""The second verifier: JSON Web Tokens of one OIDC issuer (RFC 7519).

Which algorithms are believed is ours to say, and which one a key is for is the key's: never the
token's. A token that was verified is known again by its hash until it ends or the keys change.
"""

import hashlib
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import orjson

from router.auth.claims import invalid, key_of
from router.auth.given import credential
from router.auth.jwks import AGAIN_AFTER_S, Jwks, KeySet
from router.auth.rules import JwtRules
from router.errors import Refusal
from router.identity import Key

if TYPE_CHECKING:
    from jwt import PyJWK, PyJWS

MOST_BYTES = 16_384  # of a token; those with hundreds of groups have some 8 kB
MOST_HEADER_BYTES = 4096
MOST_KNOWN = 4096  # tokens that are known again


class Tokens:
    """Believes tokens by the rules and the issuer's keys."""

    def __init__(self, rules: JwtRules, jwks: Jwks) -> None:
        self._rules = rules
        self._jwks = jwks
        self._known: dict[bytes, Key] = {}
        self._known_by: KeySet = jwks.keys
        self._jws: PyJWS | None = None

    async def verify(self, headers: Mapping[bytes, bytes], at: str) -> Key | Refusal | None:
        """Return who the bearer is; None: no token came. `at` is RFC 3339 in UTC."""
        token = credential(headers)
        if token.count(b".") != 2:  # noqa: PLR2004  (header, claims and signature)
            return None
        known = self._again(token, at)
        if known is not None:
            return known
        header = _header(token, self._rules.algorithms)
        if isinstance(header, Refusal):
            return header
        key = await self._signer(*header)
        return key if isinstance(key, Refusal) else self._checked(token, key, at)

    def _again(self, token: bytes, at: str) -> Key | None:
        if len(token) > MOST_BYTES:
            return None
        known = self._now_known().get(hashlib.sha256(token).digest())
        if known is None or known.expires is None or known.expires <= at:
            return None
        return known

    def _now_known(self) -> dict[bytes, Key]:
        if self._known_by is not self._jwks.keys:
            self._known_by = self._jwks.keys
            self._known.clear()
        return self._known

    async def _signer(self, kid: str | None, algorithm: str) -> "PyJWK | Refusal":
        key = _named(self._jwks.keys, kid, algorithm)
        if key is None:
            await self._jwks.again()
            key = _named(self._jwks.keys, kid, algorithm)
        if key is not None:
            return key
        if self._jwks.failure is not None:
            told = "the keys of the issuer of this token can't be had: try again"
            wait = ((b"retry-after", b"%d" % AGAIN_AFTER_S),)
            return Refusal(503, told, "issuer_unavailable", headers=wait)
        return invalid("none of the issuer's keys is the one it names")

    def _checked(self, token: bytes, key: "PyJWK", at: str) -> Key | Refusal:
        from jwt import PyJWS  # noqa: PLC0415  (0.3 s: only where tokens are believed)
        from jwt.exceptions import PyJWTError  # noqa: PLC0415

        if self._jws is None:
            self._jws = PyJWS(self._rules.algorithms)
        try:
            decoded = self._jws.decode_complete(token, key, [key.algorithm_name])
            claims = orjson.loads(decoded["payload"])
        except PyJWTError:
            return invalid("its signature is not the issuer's")
        except ValueError:
            claims = None
        if not isinstance(claims, dict):
            return invalid("its claims are no JSON object")
        caller = key_of(claims, self._rules, datetime.fromisoformat(at).timestamp())
        if isinstance(caller, Key):
            known = self._now_known()
            if len(known) >= MOST_KNOWN:
                known.pop(next(iter(known)))
            known[hashlib.sha256(token).digest()] = caller
        return caller


def _named(keys: KeySet, kid: str | None, algorithm: str) -> "PyJWK | None":
    """Return the key of this name; without a name the only one of this algorithm."""
    if kid is not None:
        return keys.get((kid, algorithm))
    ours = [key for (_, made_for), key in keys.items() if made_for == algorithm]
    return ours[0] if len(ours) == 1 else None


def _header(token: bytes, believed: Sequence[str]) -> tuple[str | None, str] | Refusal:
    """Return `kid` and `alg` as the token says them: which key to try, nothing more."""
    head = token[: token.index(b".")]
    if len(token) > MOST_BYTES or len(head) > MOST_HEADER_BYTES:
        return invalid(f"it is longer than {MOST_BYTES:,} bytes, or its header is too long")
    try:
        said = orjson.loads(urlsafe_b64decode(head + b"=" * (-len(head) % 4)))
        kid, algorithm = said.get("kid"), said["alg"]
    except (ValueError, AttributeError, KeyError, TypeError):  # binascii.Error is a ValueError
        return invalid("its header can't be read")
    if not isinstance(kid, str | None):
        return invalid("its header can't be read")
    if algorithm not in believed:
        return invalid(f"its algorithm is none that is believed ({', '.join(believed)})")
    return kid, algorithm
