"""Who asks: verifiers, each of one kind of proof, asked one after the other.

A verifier answers with the caller's Key, with a Refusal (this proof is of my kind and is no good),
or None: no proof of this kind came. The first that has an answer decides.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import yamlfile
from router.auth.given import credential, signed
from router.auth.iam import Principals
from router.auth.jwks import Jwks, fetch
from router.auth.rules import AuthConfig, JwtRules
from router.auth.tokens import Tokens
from router.errors import Refusal
from router.faults import MissingPart, Unsafe
from router.identity import Key
from router.key_rows import PREFIX, Ask, Keys, KeysUnreadable, Stored
from router.ledger.port import LedgerUnavailable
from router.runtime import LOG
from router.teller import Teller

LOOK_EVERY_S = 1.0

Verifier = Callable[[Mapping[bytes, bytes], str], Awaitable[Key | Refusal | None]]
"""(headers, time as RFC 3339 in UTC) -> who asks."""


@dataclass(frozen=True, slots=True)
class File:
    """The file of `--auth-config`; `read` raises yamlfile.Invalid or OSError."""

    path: Path
    read: Callable[[], AuthConfig]


@dataclass(slots=True)
class Auth:
    """Every verifier of a router, and what they hold open. Raises MissingPart or Unsafe where
    `environment` doesn't have what the file asks for.
    """

    keys: Keys
    environment: Mapping[str, str]
    config: AuthConfig
    file: File | None = None
    _verifiers: Sequence[Verifier] = ()
    _teller: Teller = field(init=False)
    _jwks: Jwks | None = None
    _watching: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self._teller = Teller(remote=self.keys.remote)
        self._adopt(self.config)

    async def identify(self, headers: Mapping[bytes, bytes], at: str) -> Key:
        """Return who asks; raise Refusal (401, 403, 503)."""
        for verify in self._verifiers:
            found = await verify(headers, at)
            if isinstance(found, Key):
                return found
            if found is not None:
                raise found
        if not credential(headers) and signed(headers):
            said = "a signature of AWS opens the door; the key goes in `x-sluice-key` beside it"
            raise _unauthorized(f"no key: {said}")
        if not credential(headers):
            raise _unauthorized("no key: send it as `Authorization: Bearer` or `x-sluice-key`")
        raise _unauthorized("this key is unknown, expired or revoked")

    async def kept(self, key_id: str) -> Stored:
        """Return one of our keys as it is now; raise UnknownKey, KeysUnreadable or
        LedgerUnavailable.
        """
        return await self._teller.do(partial(self.keys.get, key_id))

    def start(self) -> None:
        """Begin what goes on in the background; a loop must run."""
        if self._jwks is not None:
            self._jwks.start()
        if self.file is not None:
            self._watching = asyncio.get_running_loop().create_task(self._watch(self.file))

    async def aclose(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        if self._jwks is not None:
            await self._jwks.aclose()
        await self._teller.aclose()
        self.keys.close()

    def _adopt(self, config: AuthConfig) -> None:
        """Believe by this configuration from now on; the keys of the same issuer stay known."""
        jwks = None if config.jwt is None else _jwks(config.jwt)
        if config.iam is not None and not in_lambda(self.environment):
            raise Unsafe(
                "`iam` is believed inside Lambda only, where AWS has checked who signed: anybody "
                "could write that header here; remove the section"
            )
        if jwks is not None and self._jwks is not None:
            jwks.keep(self._jwks)
        verifiers = [_by_key(self.keys, self._teller)]  # keys first: they are ours
        if config.jwt is not None and jwks is not None:
            verifiers.append(Tokens(config.jwt, jwks).verify)
        if config.iam is not None:
            verifiers.append(Principals(config.iam).verify)
        self.config, self._verifiers, self._jwks = config, tuple(verifiers), jwks

    async def _watch(self, file: File) -> None:
        """Look every second whether the file changed; never ends by itself."""
        seen = _stamp(file.path)
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            now = _stamp(file.path)
            if now != seen:
                seen = now
                await self._reread(file)

    async def _reread(self, file: File) -> None:
        old = self._jwks
        try:
            self._adopt(file.read())
        except (yamlfile.Invalid, MissingPart, Unsafe, OSError) as exc:
            LOG.error("the change is refused, callers are known as before:\n%s", exc)
            return
        except Exception as exc:  # noqa: BLE001  (a bug of ours must not end the watching)
            LOG.error("`%s` could not be read again: %s", file.path, type(exc).__name__)
            return
        LOG.warning("adopted: `%s` changed", file.path)
        if old is not None:
            await old.stop()
        if self._jwks is not None:
            self._jwks.start()


def _jwks(rules: JwtRules) -> Jwks:
    try:
        import jwt.algorithms  # noqa: PLC0415  (0.3 s: now, and not in the first request)
    except ImportError:
        said = "a `jwt` section needs the extra `jwt`: install `sluice[jwt]`, or remove it"
        raise MissingPart(said) from None
    if not jwt.algorithms.has_crypto:
        raise MissingPart("a `jwt` section needs `cryptography`: install `sluice[jwt]`")
    return Jwks(rules, fetch, time.monotonic)


def _stamp(path: Path) -> object:
    try:
        stat = path.stat()
    except OSError:
        return "gone"
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def in_lambda(environment: Mapping[str, str]) -> bool:
    names = ("AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION")  # reserved names
    return all(environment.get(name) for name in names)


def _by_key(keys: Keys, teller: Teller) -> Verifier:
    async def verify(headers: Mapping[bytes, bytes], at: str) -> Key | Refusal | None:
        text = credential(headers).decode("latin-1")
        if not text.startswith(PREFIX):
            return None
        try:
            found = keys.known(text, at)
            if isinstance(found, Ask):
                found = await teller.do_soon(partial(keys.find, text, at), lambda _: None)
        except (KeysUnreadable, LedgerUnavailable) as exc:
            LOG.error("who asks could not be looked up: %s", exc)
            told = "the store of keys can't be read: try again"
            return Refusal(503, told, "keys_unreadable", headers=((b"retry-after", b"2"),))
        return found or _unauthorized("this key is unknown, expired or revoked")

    return verify


def _unauthorized(message: str) -> Refusal:
    headers = ((b"www-authenticate", b"Bearer"),)
    return Refusal(401, message, "invalid_api_key", headers=headers)
