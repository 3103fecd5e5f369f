"""The keys of fleets: out of environment variables and AWS Secrets Manager, never out of files.

Whatever fails is told with the place in the catalogue; no value is in any message. Credentials,
endpoint and, of a secret that is no ARN, the region are found as every AWS tool finds them.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Final

import orjson

from backends.catalogue import Fleet, KeyRef
from router.aws_api import Api, ApiError, ApiUnreachable, Limits, Misset, NoCredentials, NoRegion
from router.faults import MissingKey, MissingPart

LIMITS: Final = Limits(connect_s=2.0, read_s=3.0, attempts=2)
ARN_REGION: Final = 3  # its place in arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME
VISIBLE: Final = frozenset(map(chr, range(0x21, 0x7F)))  # what a bearer token is made of

Keys = Mapping[str, str]
"""Of the fleets that have a key, by id."""


class _Unread(Exception):  # noqa: N818  (it reads as what it says)
    """Why a key can't be had; never what it is."""


def fleet_keys(fleets: Sequence[Fleet], environment: Mapping[str, str]) -> Keys:
    """Return the keys of these fleets; may wait for the network. Raises MissingKey, MissingPart."""
    secrets = _Secrets(environment)
    found: dict[str, str] = {}
    with closing(secrets):
        for fleet in fleets:
            ref = fleet.api_key
            if ref is None:
                continue
            try:
                found[fleet.id] = SOURCES[ref.source](ref, environment, secrets)
            except _Unread as exc:
                raise MissingKey(f"{ref.at}: fleet {fleet.id}: {exc}") from None
    return found


class _Secrets:
    """Secrets Manager. Each secret is asked for once."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._apis: dict[str | None, Api] = {}
        self._read: dict[str, str] = {}

    def read(self, name: str) -> str:
        if name not in self._read:
            self._read[name] = self._fetched(name)
        return self._read[name]

    def close(self) -> None:
        for api in self._apis.values():
            api.close()

    def _fetched(self, name: str) -> str:
        what = f"the secret `{name}`"
        try:
            answer = self._api(name).call("GetSecretValue", {"SecretId": name})
        except MissingPart as exc:
            raise MissingPart(f"`${{secret:{name}}}`: {exc}") from None
        except NoRegion:
            said = "no region: set AWS_REGION, or name the secret by its ARN"
            raise _Unread(f"{what}: {said}") from None
        except NoCredentials:
            said = "no AWS credentials: set them as for any AWS tool, or run it in a role"
            raise _Unread(f"{what}: {said}") from None
        except ApiError as exc:
            advice = ADVICE.get(exc.code, exc.code)
            raise _Unread(f"{what} can't be read: {advice}") from None
        except (Misset, ApiUnreachable) as exc:
            raise _Unread(f"{what} can't be read: {exc}") from None
        text = answer.get("SecretString")
        if not isinstance(text, str):
            raise _Unread(f"{what} is binary (valid: text, or JSON and `#field`)")
        return text

    def _api(self, name: str) -> Api:
        region = name.split(":")[ARN_REGION] if name.startswith("arn:") else None
        if region not in self._apis:
            self._apis[region] = Api("secretsmanager", region, self._environment, LIMITS)
        return self._apis[region]


ADVICE: Final = {
    "ResourceNotFoundException": "there is no such secret in this account and region",
    "AccessDeniedException": "the role needs `secretsmanager:GetSecretValue` on it (and "
    "`kms:Decrypt`, if its key is your own)",
    "DecryptionFailure": "the role needs `kms:Decrypt` on its key",
}


def _of_variable(ref: KeyRef, environment: Mapping[str, str], _secrets: _Secrets) -> str:
    what = f"the environment variable `{ref.name}`"
    key = environment.get(ref.name)
    if not key:
        raise _Unread(f"{what} is not set")
    return _checked(key, what)


def _of_secret(ref: KeyRef, _environment: Mapping[str, str], secrets: _Secrets) -> str:
    what, text = f"the secret `{ref.name}`", secrets.read(ref.name)
    if ref.json_field is None:
        if text.lstrip().startswith("{"):
            said = "is JSON: say which field holds the key"
            raise _Unread(f"{what} {said}, as in `${{secret:{ref.name}#api_key}}`")
        return _checked(text.strip(), what)
    try:
        whole = orjson.loads(text)
    except orjson.JSONDecodeError:
        said = f"{what} is no JSON, so it has no field: leave `#{ref.json_field}` out"
        raise _Unread(said) from None
    key = whole.get(ref.json_field) if isinstance(whole, dict) else None
    if not isinstance(key, str):
        raise _Unread(f"{what} has no text in a field `{ref.json_field}`")
    return _checked(key, f"{what}, field `{ref.json_field}`")


def _checked(key: str, what: str) -> str:
    if not key or not VISIBLE.issuperset(key):
        said = "is empty" if not key else "has characters that no header may have"
        raise _Unread(f"{what} {said} (valid: visible ASCII)")
    return key


SOURCES: Final[Mapping[str, Callable[[KeyRef, Mapping[str, str], _Secrets], str]]] = {
    "env": _of_variable,
    "secret": _of_secret,
}
