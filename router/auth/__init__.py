"""Who asks: verifiers, each of one kind of proof, asked one after the other.

A verifier answers with the caller's Key, with a Refusal (this proof is of my kind and is no good),
or None: no proof of this kind came. The first that has an answer decides.
"""

import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from router.auth.given import credential
from router.auth.iam import Principals
from router.auth.jwks import Jwks, fetch
from router.auth.rules import AuthConfig
from router.auth.tokens import Tokens
from router.errors import Refusal
from router.faults import MissingPart, Unsafe
from router.identity import Key
from router.keys import PREFIX, KeyStore

Verifier = Callable[[Mapping[bytes, bytes], str], Awaitable[Key | Refusal | None]]
"""(headers, time as RFC 3339 in UTC) -> who asks."""


@dataclass(frozen=True, slots=True)
class Auth:
    """Every verifier of a router, and what they hold open."""

    verifiers: Sequence[Verifier]
    keys: KeyStore
    jwks: Jwks | None = None

    async def identify(self, headers: Mapping[bytes, bytes], at: str) -> Key:
        """Return who asks; raise Refusal (401, 403, 503)."""
        for verify in self.verifiers:
            found = await verify(headers, at)
            if isinstance(found, Key):
                return found
            if found is not None:
                raise found
        if not credential(headers):
            raise _unauthorized("no key: send it as `Authorization: Bearer` or `x-sluice-key`")
        raise _unauthorized("this key is unknown, expired or revoked")

    def start(self) -> None:
        """Begin what goes on in the background; a loop must run."""
        if self.jwks is not None:
            self.jwks.start()

    async def aclose(self) -> None:
        if self.jwks is not None:
            await self.jwks.aclose()
        self.keys.close()


def open_auth(keys: KeyStore, config: AuthConfig, environment: Mapping[str, str]) -> Auth:
    """Put the verifiers together; raise MissingPart or Unsafe. Keys come first: they are ours."""
    verifiers: list[Verifier] = [_by_key(keys)]
    jwks = None
    if config.jwt is not None:
        try:
            import jwt.algorithms  # noqa: PLC0415  (0.3 s: now, and not in the first request)
        except ImportError:
            said = "a `jwt` section needs the extra `jwt`: install `sluice[jwt]`, or remove it"
            raise MissingPart(said) from None
        if not jwt.algorithms.has_crypto:
            raise MissingPart("a `jwt` section needs `cryptography`: install `sluice[jwt]`")
        jwks = Jwks(config.jwt, fetch, time.monotonic)
        verifiers.append(Tokens(config.jwt, jwks).verify)
    if config.iam is not None:
        if not in_lambda(environment):
            raise Unsafe(
                "`iam` is believed inside Lambda only, where AWS has checked who signed: anybody "
                "could write that header here; remove the section"
            )
        verifiers.append(Principals(config.iam).verify)
    return Auth(tuple(verifiers), keys, jwks)


def in_lambda(environment: Mapping[str, str]) -> bool:
    names = ("AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION")  # reserved names
    return all(environment.get(name) for name in names)


def _by_key(keys: KeyStore) -> Verifier:
    async def verify(headers: Mapping[bytes, bytes], at: str) -> Key | Refusal | None:
        text = credential(headers).decode("latin-1")
        if not text.startswith(PREFIX):
            return None
        try:
            found = keys.find(text, at)
        except sqlite3.Error:
            told = "the store of keys can't be read: try again"
            return Refusal(503, told, "keys_unreadable", headers=((b"retry-after", b"2"),))
        return found or _unauthorized("this key is unknown, expired or revoked")

    return verify


def _unauthorized(message: str) -> Refusal:
    headers = ((b"www-authenticate", b"Bearer"),)
    return Refusal(401, message, "invalid_api_key", headers=headers)
