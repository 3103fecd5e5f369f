"""AWS services that speak JSON, called without their SDK: signed, retried, over kept connections.

For any thread; a call may wait for the network. botocore is imported only where the environment
holds no credentials (docs/decisions/0015).

AwsFailed
* the operator's settings   Misset          no endpoint, credentials that can't be had
                            + NoRegion
                            + NoCredentials
* the service's             ApiError        it answered, and said no
* the machine's             ApiUnreachable  no answer, or none that can be read
(and router.faults.MissingPart: credentials are elsewhere, and botocore isn't installed)
"""

import random
import re
import time
import uuid
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

import orjson

from backends import aws_credentials, regions
from backends.base import Misconfigured, MissingPackage
from backends.sigv4 import Credentials, Signer
from router.aws_http import Answer, NoAnswer, Origin
from router.faults import MissingPart

T = TypeVar("T")

OK: Final = 200
THROTTLED_S, FAILED_S, LONGEST_S = 1.0, 0.05, 20.0  # the first wait, as botocore's `standard`
MESSAGE_CHARS: Final = 300

_REGION = re.compile(r"[a-z0-9-]{1,40}")  # `local` and the like too: an endpoint may be anywhere
_TRANSIENT: Final = frozenset({500, 502, 503, 504})
_TOO_MANY: Final = 429
_TIMEOUTS: Final = frozenset({"RequestTimeout", "RequestTimeoutException"})
_THROTTLES: Final = frozenset(  # as botocore's `standard` mode has them
    {
        "BandwidthLimitExceeded",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
_EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException"})


class AwsFailed(Exception):  # noqa: N818  (its parts read as what they say)
    """No message holds anything of a request's body, or of credentials."""


class Misset(AwsFailed):
    pass


class NoRegion(Misset):
    pass


class NoCredentials(Misset):
    pass


class ApiError(AwsFailed):
    """`body`: what the service said, whole; `code` without the namespace before it."""

    def __init__(self, code: str, message: str, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code, self.message, self.status, self.body = code, message, status, body

    @property
    def throttled(self) -> bool:
        return self.code in _THROTTLES or self.status == _TOO_MANY

    @property
    def transient(self) -> bool:
        """Whether the same call may well be answered soon."""
        return self.throttled or self.status in _TRANSIENT or self.code in _TIMEOUTS


class ApiUnreachable(AwsFailed):
    pass


@dataclass(frozen=True, slots=True)
class Wire:
    """How a service is called. `once`: the operations that take a token, by which AWS knows one
    that is sent again; `wait_s`: the first wait after a failure.
    """

    host: str
    target: str
    version: str
    variable: str  # AWS_ENDPOINT_URL_...
    signed_as: str = ""  # where that isn't the service's name
    once: Mapping[str, str] = field(default_factory=dict)
    wait_s: float = FAILED_S


PROTOCOLS: Final[Mapping[str, Wire]] = {
    # no operation by target: router/appconfig.py has its paths
    "appconfigdata": Wire("appconfigdata", "", "", "APPCONFIGDATA", signed_as="appconfig"),
    "dynamodb": Wire(
        "dynamodb",
        "DynamoDB_20120810",
        "1.0",
        "DYNAMODB",
        once={"TransactWriteItems": "ClientRequestToken"},
        wait_s=0.025,
    ),
    "firehose": Wire("firehose", "Firehose_20150804", "1.1", "FIREHOSE"),
    "s3": Wire("s3", "", "", "S3"),  # no operation by target: router/s3.py
    "secretsmanager": Wire("secretsmanager", "secretsmanager", "1.1", "SECRETS_MANAGER"),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one try, and how many tries a call has."""

    connect_s: float = 1.0
    read_s: float = 5.0
    attempts: int = 3


_USUAL = Limits()


class Source(Protocol):
    """Gives credentials; both may block. `read` raises Misconfigured."""

    def read(self) -> Credentials: ...

    def forget(self) -> None: ...


class Api:
    """One service in one region. `region` None: the environment's, else the profile's. `bucket`:
    of S3, whose host begins with its name; at an endpoint of the environment its path does.

    Raises NoRegion, Misset or MissingPart; whether there are credentials shows with the first call.
    """

    def __init__(
        self,
        service: str,
        region: str | None,
        environment: Mapping[str, str],
        limits: Limits = _USUAL,
        *,
        sleep: Callable[[float], None] = time.sleep,
        bucket: str | None = None,
    ) -> None:
        self._protocol = PROTOCOLS[service]
        self._service, self._limits, self._sleep = service, limits, sleep
        self._source = _source(environment)
        self.region = _region(region, environment, self._source)
        self.endpoint = _endpoint(self._protocol, self.region, environment, bucket)
        ca_file = environment.get("AWS_CA_BUNDLE") or None
        try:
            self._origin = Origin(self.endpoint, limits.connect_s, limits.read_s, ca_file)
        except ValueError as exc:
            raise Misset(str(exc)) from None
        except OSError as exc:
            raise Misset(f"`AWS_CA_BUNDLE` can't be read: {exc.strerror or exc}") from None
        self._signing: tuple[Credentials, Signer] | None = None

    def call(self, operation: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer. Raises ApiError, ApiUnreachable or Misset."""
        token = self._protocol.once.get(operation)
        if token is not None and token not in body:
            body = {**body, token: str(uuid.uuid4())}
        written = orjson.dumps(body)
        headers = {
            "content-type": f"application/x-amz-json-{self._protocol.version}",
            "x-amz-target": f"{self._protocol.target}.{operation}",
        }
        return self.tried(lambda: _read(self.endpoint, self.sent("POST", "/", headers, written)))

    def tried(self, once: Callable[[], T]) -> T:
        """Return what this returns, called again while that may help. Raises as `call`."""
        renewed, tries = False, 0
        while True:
            try:
                return once()
            except (ApiError, ApiUnreachable) as exc:
                if not renewed and getattr(exc, "code", None) in _EXPIRED and self._renewed():
                    renewed = True
                    continue
                tries += 1
                first_s = _first_wait_s(exc, self._protocol.wait_s)
                if first_s is None or tries >= self._limits.attempts:
                    raise
                most_s = min(first_s * 2 ** (tries - 1), LONGEST_S)
                self._sleep(most_s * random.random())  # noqa: S311 (spreads the tries)

    def sent(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, query: str = ""
    ) -> Answer:
        """Send one signed request, below the endpoint's own path, and return what came.

        Names of headers in lower case; `query` as Signer.signed has it. Raises ApiUnreachable,
        Misset.
        """
        path = self._origin.path.rstrip("/") + path
        named = {**headers, "host": self._origin.host}
        named |= self._signer().signed(method, path, named, body, time.time(), query)
        del named["host"]  # the origin's to send
        lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        head = f"{lines}user-agent: sluice\r\naccept-encoding: identity\r\n"
        target = f"{path}?{query}" if query else path
        try:
            return self._origin.send(method, target, head, body)
        except NoAnswer as exc:
            raise ApiUnreachable(f"{self.endpoint}: {exc}") from None

    def close(self) -> None:
        self._origin.close()

    def _signer(self) -> Signer:
        credentials, signing = self._credentials(), self._signing
        if signing is None or signing[0] != credentials:
            name = self._protocol.signed_as or self._service
            signing = self._signing = credentials, Signer(credentials, self.region, name)
        return signing[1]

    def _credentials(self) -> Credentials:
        try:
            return self._source.read()
        except aws_credentials.NoneFound as exc:
            raise NoCredentials(exc.detail) from None
        except Misconfigured as exc:
            raise Misset(exc.detail) from None

    def _renewed(self) -> bool:
        """Look for credentials anew; tell whether there are others."""
        before = self._credentials()
        self._source.forget()
        return self._credentials() != before


def _source(environment: Mapping[str, str]) -> Source:
    try:
        found = aws_credentials.given(environment)
        if found is not None:
            return found
        return aws_credentials.Chain("to find AWS credentials that the environment doesn't hold")
    except Misconfigured as exc:
        raise Misset(exc.detail) from None
    except MissingPackage as exc:
        raise MissingPart(str(exc)) from None


def _region(asked: str | None, environment: Mapping[str, str], source: Source) -> str:
    found = asked or environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    if not found and isinstance(source, aws_credentials.Chain):
        found = source.region()
    if not found:
        raise NoRegion("no region: set AWS_REGION (valid: us-east-1, cn-north-1, ...)")
    if not _REGION.fullmatch(found):
        raise NoRegion(f"`{found[:40]}` is no region (valid: us-east-1, cn-north-1, ...)")
    return found


def _endpoint(
    protocol: Wire, region: str, environment: Mapping[str, str], bucket: str | None
) -> str:
    for name in (f"AWS_ENDPOINT_URL_{protocol.variable}", "AWS_ENDPOINT_URL"):
        if environment.get(name):
            given = environment[name]
            return given if bucket is None else f"{given.rstrip('/')}/{bucket}"
    for name in ("AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"):
        if environment.get(name, "").lower() == "true":
            said = f"say which endpoint by AWS_ENDPOINT_URL_{protocol.variable}"
            raise Misset(f"{name} is not followed here: {said}")
    host = protocol.host if bucket is None else f"{bucket}.{protocol.host}"
    return f"https://{host}.{region}.{regions.suffix(region)}"


def _first_wait_s(exc: ApiError | ApiUnreachable, failed_s: float) -> float | None:
    """Return the most that the first wait after it takes; None: it would be the same again."""
    if isinstance(exc, ApiUnreachable):
        return failed_s
    if exc.throttled:
        return THROTTLED_S
    return failed_s if exc.transient else None


def _read(endpoint: str, answer: Answer) -> dict[str, Any]:
    """Return what was answered, checked by its sum where it has one (DynamoDB's has)."""
    said = answer.headers.get(b"x-amz-crc32")
    if said is not None and said != b"%d" % zlib.crc32(answer.body):
        raise ApiUnreachable(f"{endpoint}: the answer came damaged (x-amz-crc32)")
    try:
        body = orjson.loads(answer.body) if answer.body else {}
    except orjson.JSONDecodeError:
        body = None
    if answer.status != OK:
        raise error_of(answer)
    if not isinstance(body, dict):
        raise ApiUnreachable(f"{endpoint}: the answer is no JSON object")
    return body


def error_of(answer: Answer) -> ApiError:
    """Return what an answer that is no success says; REST services tell the code in a header."""
    try:
        said = orjson.loads(answer.body) if answer.body else {}
    except orjson.JSONDecodeError:
        said = {}
    body: Mapping[str, Any] = said if isinstance(said, dict) else {}
    header = answer.headers.get(b"x-amzn-errortype", b"").decode("latin-1")
    code = str(body.get("__type") or header or body.get("code") or answer.status)
    message = str(body.get("message") or body.get("Message") or "")
    # A refused signature is answered with the request as AWS signed it, from the second line on.
    first = message.partition("\n")[0][:MESSAGE_CHARS]
    return ApiError(code.rpartition("#")[2].partition(":")[0], first, answer.status, body)
