"""The keys of fleets: out of environment variables and AWS Secrets Manager, never out of files.

Whatever fails is told with the place in the catalogue; no value is in any message. boto3 is
imported only where a fleet's key is a secret; it finds credentials, endpoint and, of a secret that
is no ARN, the region as every AWS tool does.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson

from backends.catalogue import Fleet, KeyRef
from router.faults import MissingKey, MissingPart

CONNECT_S, READ_S, ATTEMPTS = 2.0, 3.0, 2
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
        self._region = environment.get("AWS_REGION") or None
        self._clients: dict[str | None, Any] = {}
        self._read: dict[str, str] = {}

    def read(self, name: str) -> str:
        if name not in self._read:
            self._read[name] = self._fetched(name)
        return self._read[name]

    def _fetched(self, name: str) -> str:
        try:
            from botocore import exceptions  # noqa: PLC0415  (optional and slow)
        except ImportError:
            said = "needs boto3: install `sluice[aws]`, or `pip install boto3`"
            raise MissingPart(f"`${{secret:{name}}}` {said}") from None
        what = f"the secret `{name}`"
        try:
            answer = self._client(name).get_secret_value(SecretId=name)
        except exceptions.NoRegionError:
            said = "no region: set AWS_REGION, or name the secret by its ARN"
            raise _Unread(f"{what}: {said}") from None
        except exceptions.NoCredentialsError:
            said = "no AWS credentials: set them as for any AWS tool, or run it in a role"
            raise _Unread(f"{what}: {said}") from None
        except exceptions.ClientError as exc:
            code = exc.response["Error"]["Code"]
            advice = ADVICE.get(code, code)
            raise _Unread(f"{what} can't be read: {advice}") from None
        except exceptions.BotoCoreError as exc:
            raise _Unread(f"{what} can't be read ({type(exc).__name__})") from None
        text = answer.get("SecretString")
        if not isinstance(text, str):
            raise _Unread(f"{what} is binary (valid: text, or JSON and `#field`)")
        return text

    def _client(self, name: str) -> Any:  # noqa: ANN401  (boto3 makes its classes as it goes)
        from boto3.session import Session  # noqa: PLC0415  (optional and slow)
        from botocore.config import Config  # noqa: PLC0415  (as above)

        region = name.split(":")[ARN_REGION] if name.startswith("arn:") else self._region
        if region not in self._clients:
            config = Config(
                connect_timeout=CONNECT_S,
                read_timeout=READ_S,
                retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            )
            # boto3.client's session is the process's: it keeps what credentials it found first.
            client: Any = Session().client("secretsmanager", region_name=region, config=config)
            self._clients[region] = client
        return self._clients[region]


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
