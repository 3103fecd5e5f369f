"""AWS's JSON services over a real socket: signatures, retries, connections, errors.

botocore is the oracle: it signs what we sent once more, and calls the same server.
"""

import contextlib
import json
import socket
import ssl
import subprocess
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from sagemaker_support import ACCESS, ENVIRONMENT, SECRET, SESSION

from router.aws_api import (
    PROTOCOLS,
    Api,
    ApiError,
    ApiUnreachable,
    Limits,
    Misset,
    NoCredentials,
    NoRegion,
)
from router.faults import MissingPart

CALLS = {
    "dynamodb": ("GetItem", {"TableName": "books", "Key": {"pk": {"S": "a ü 中"}}}),
    "firehose": ("PutRecord", {"DeliveryStreamName": "rows", "Record": {"Data": "eA=="}}),
    "secretsmanager": ("GetSecretValue", {"SecretId": "prod/vllm"}),
}
SOFT = Limits(connect_s=30, read_s=30, attempts=3)
SILENCE = b"HTTP/1.1 200 OK\r\n"


def said(status, body, *more):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = "".join(f"{line}\r\n" for line in more)
    return f"HTTP/1.1 {status} X\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body


def error(code, message="", status=400, **more):
    return said(status, {"__type": f"com.amazonaws.x#{code}", "message": message, **more})


@pytest.fixture
def waits():
    return []


@pytest.fixture
def api(upstream, waits):
    def made(service="dynamodb", region="eu-central-1", limits=SOFT, **environment):
        root = upstream.url.removesuffix("/v1")
        said = {**ENVIRONMENT, "AWS_ENDPOINT_URL": root, **environment}
        opened = Api(service, region, said, limits, sleep=waits.append)
        stack.callback(opened.close)
        return opened

    with contextlib.ExitStack() as stack:
        yield made


def played(upstream, *answers):
    """Answer with these, one after the other; the last one for ever. None: hang up."""
    left = list(answers)

    def script(body, send, gone):
        answer = left.pop(0) if len(left) > 1 else left[0]
        if answer is None:
            return "close"
        send(answer)
        return "keep"

    upstream.script = script


# -- what is sent ----------------------------------------------------------------------------------


def head_of(raw):
    head, _, body = raw.partition(b"\r\n\r\n")
    line, *lines = head.decode().split("\r\n")
    return line, {n.lower(): v for n, v in (line.split(": ", 1) for line in lines)}, body


@pytest.mark.parametrize("service", CALLS)
@pytest.mark.parametrize("session", [SESSION, ""], ids=["session", "none"])
def test_what_is_sent_is_signed_as_botocore_signs_it(api, upstream, service, session):
    upstream.answers(said(200, {}))
    api(service, AWS_SESSION_TOKEN=session).call(*CALLS[service])
    line, headers, body = head_of(upstream.raws[-1])
    fields = dict(
        part.split("=", 1) for part in headers["authorization"].split(" ", 1)[1].split(", ")
    )
    request = AWSRequest(
        method="POST",
        url=f"http://{headers['host']}{line.split()[1]}",
        headers={name: headers[name] for name in fields["SignedHeaders"].split(";")},
        data=body,
    )
    request.context["timestamp"] = headers["x-amz-date"]
    auth = SigV4Auth(Credentials(ACCESS, SECRET, session or None), service, "eu-central-1")
    text = auth.string_to_sign(request, auth.canonical_request(request))
    assert auth.signature(text, request) == fields["Signature"]
    assert headers.get("x-amz-security-token", "") == session


def test_every_service_that_is_called_by_target_has_a_call_here():
    assert set(CALLS) == {name for name, wire in PROTOCOLS.items() if wire.target}


@pytest.mark.parametrize("service", CALLS)
def test_botocore_sends_the_same(api, upstream, service):
    upstream.answers(said(200, {}))
    operation, body = CALLS[service]
    api(service).call(operation, body)
    theirs = boto3.Session(ACCESS, SECRET, SESSION).client(
        service, "eu-central-1", endpoint_url=upstream.url.removesuffix("/v1")
    )
    method = "".join(f"_{c.lower()}" if c.isupper() else c for c in operation).removeprefix("_")
    theirs.meta.events.register(
        "before-parameter-build", lambda params, **_: params.get("Record", {}).update(Data=b"x")
    ) if service == "firehose" else None
    getattr(theirs, method)(**body)
    theirs.close()
    (line, ours, sent), (their_line, their_headers, their_sent) = map(head_of, upstream.raws)
    assert line == their_line
    for name in ("host", "content-type", "x-amz-target", "x-amz-security-token"):
        assert ours[name] == their_headers[name]
    names = [
        h["authorization"].split("SignedHeaders=")[1].split(",")[0] for h in (ours, their_headers)
    ]
    assert names[0] == names[1]
    assert json.loads(sent) == json.loads(their_sent)


@pytest.mark.parametrize("service", PROTOCOLS)
def test_every_region_has_the_host_that_botocore_calls(service):
    session = boto3.Session("a", "b")
    for partition in session.get_available_partitions():
        for region in session.get_available_regions(service, partition)[:3]:
            theirs = session.client(service, region)
            assert Api(service, region, ENVIRONMENT).endpoint == theirs.meta.endpoint_url
            theirs.close()


def test_a_transaction_sent_again_has_the_same_token_and_another_has_its_own(api, upstream):
    played(upstream, said(500, {}), said(200, {}))
    ours = api()
    ours.call("TransactWriteItems", {"TransactItems": []})
    ours.call("TransactWriteItems", {"TransactItems": []})
    first, again, other = (body["ClientRequestToken"] for body in upstream.bodies)
    assert first == again != other


# -- where it is sent ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "endpoint"),
    [
        ({"AWS_ENDPOINT_URL": "http://a", "AWS_ENDPOINT_URL_DYNAMODB": "http://b:1"}, "http://b:1"),
        ({"AWS_ENDPOINT_URL": "http://a", "AWS_ENDPOINT_URL_FIREHOSE": "http://b"}, "http://a"),
        ({"AWS_REGION": "cn-north-1"}, "https://dynamodb.cn-north-1.amazonaws.com.cn"),
        ({"AWS_DEFAULT_REGION": "us-east-2"}, "https://dynamodb.us-east-2.amazonaws.com"),
    ],
)
def test_the_endpoint_is_the_environments_else_the_regions(environment, endpoint):
    region = None if {"AWS_REGION", "AWS_DEFAULT_REGION"} & environment.keys() else "us-east-1"
    assert Api("dynamodb", region, {**ENVIRONMENT, **environment}).endpoint == endpoint


@pytest.mark.parametrize(
    ("environment", "wrong"),
    [
        ({"AWS_ENDPOINT_URL": "localhost:8000"}, "`localhost:8000` is no URL of a service"),
        ({"AWS_ENDPOINT_URL": "http://u:p@host"}, "is no URL of a service"),
        ({"AWS_ENDPOINT_URL": "http://host/?a=b"}, "more than a host and a path"),
        ({"AWS_ENDPOINT_URL": "http://host:99999"}, "Port out of range"),
        ({"AWS_USE_FIPS_ENDPOINT": "true"}, "say which endpoint by AWS_ENDPOINT_URL_DYNAMODB"),
        ({"AWS_USE_DUALSTACK_ENDPOINT": "True"}, "AWS_USE_DUALSTACK_ENDPOINT is not followed"),
        ({"AWS_CA_BUNDLE": "/nowhere.pem"}, "`AWS_CA_BUNDLE` can't be read: No such file"),
        ({"AWS_SESSION_TOKEN": "a\r\nx: 1"}, "characters that no header may have"),
    ],
)
def test_a_setting_that_cant_be_followed_is_told(environment, wrong):
    with pytest.raises(Misset, match=wrong):
        Api("dynamodb", "us-east-1", {**ENVIRONMENT, **environment})


@pytest.mark.parametrize("region", ["", "evil.example.com/", "a b"])
def test_a_region_that_is_none_is_told(region):
    with pytest.raises(NoRegion, match="region"):
        Api("dynamodb", None, {**ENVIRONMENT, "AWS_REGION": region})


# -- credentials -----------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """A profile in place of the environment; yields what writes it."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))

    def write(access):
        file.write_text(f"[default]\naws_access_key_id = {access}\naws_secret_access_key = s\n")

    return write


def used(upstream):
    return [raw.split(b"Credential=")[1].split(b"/")[0].decode() for raw in upstream.raws]


def test_credentials_that_are_elsewhere_are_found_by_botocore(api, upstream, elsewhere):
    elsewhere("PROFILE")
    upstream.answers(said(200, {}))
    api(AWS_ACCESS_KEY_ID="").call("GetItem", {})
    assert used(upstream) == ["PROFILE"]


@pytest.mark.parametrize("code", ["ExpiredTokenException", "ExpiredToken"])
def test_credentials_that_ended_are_read_anew_once(api, upstream, elsewhere, waits, code):
    elsewhere("OLD")
    ours = api(AWS_ACCESS_KEY_ID="", limits=Limits(30, 30, attempts=1))
    upstream.answers(said(200, {}))
    ours.call("GetItem", {})
    elsewhere("NEW")
    played(upstream, error(code), said(200, {"Item": {}}))
    assert ours.call("GetItem", {}) == {"Item": {}}
    assert used(upstream) == ["OLD", "OLD", "NEW"]
    played(upstream, error(code))
    elsewhere("NEWER")
    with pytest.raises(ApiError, match=code):
        ours.call("GetItem", {})
    assert used(upstream)[3:] == ["NEW", "NEWER"]
    assert waits == []


def test_credentials_of_the_environment_that_ended_are_not_tried_again(api, upstream):
    upstream.answers(error("ExpiredTokenException", "too old"))
    with pytest.raises(ApiError, match="ExpiredTokenException: too old"):
        api().call("GetItem", {})
    assert len(upstream.raws) == 1


def test_no_credentials_are_told_with_the_first_call(api, upstream, elsewhere):
    ours = api(AWS_ACCESS_KEY_ID="")
    with pytest.raises(NoCredentials, match="no AWS credentials are found"):
        ours.call("GetItem", {})
    assert upstream.raws == []


def test_credentials_that_cant_be_had_are_told_by_their_kind(api, elsewhere, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "secret-name")
    with pytest.raises(Misset, match="ProfileNotFound") as told:
        api(AWS_ACCESS_KEY_ID="").call("GetItem", {})
    assert "secret-name" not in str(told.value)


def test_without_botocore_they_have_to_be_in_the_environment(api, monkeypatch):
    monkeypatch.setitem(sys.modules, "botocore", None)
    api()
    with pytest.raises(MissingPart, match=r"doesn't hold needs the extra `aws`: install"):
        api(AWS_ACCESS_KEY_ID="")


# -- what is answered ------------------------------------------------------------------------------


def test_an_answer_is_checked_by_its_sum(api, upstream, waits):
    body = b'{"Item": {}}'
    right = said(200, body, f"x-amz-crc32: {zlib.crc32(body)}")
    wrong = said(200, body, "x-amz-crc32: 1")
    played(upstream, wrong, right)
    assert api().call("GetItem", {}) == {"Item": {}}
    assert len(waits) == 1
    upstream.answers(wrong)
    with pytest.raises(ApiUnreachable, match="came damaged"):
        api().call("GetItem", {})


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (said(200, b"no json"), "no JSON object"),
        (said(200, b"[]"), "no JSON object"),
        (b"SSH-2.0-OpenSSH\r\n", "no HTTP/1.1"),
        (said(200, b"x" * 50)[:-10], "no answer within 0.2 s"),
    ],
)
def test_what_is_no_answer_is_told(api, upstream, answer, wrong):
    upstream.answers(answer)
    limits = Limits(30, 0.2) if "within" in wrong else SOFT
    with pytest.raises(ApiUnreachable, match=wrong):
        api(limits=limits).call("GetItem", {"TableName": "PROMPT"})


def test_an_answer_that_ends_early_is_told(api, upstream):
    upstream.answers(said(200, b"x" * 50)[:-10], then="close")
    with pytest.raises(ApiUnreachable, match="closed early"):
        api().call("GetItem", {})


def test_an_answer_without_end_is_cut(api, upstream):
    def script(body, send, gone):
        send(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                send(b"x" * 65536)
        return "close"

    upstream.script = script
    with pytest.raises(ApiUnreachable, match="more than 25,165,824 bytes"):
        api(limits=Limits(30, 30, attempts=1)).call("GetItem", {})


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (error("Nope", "why"), "Nope", "why"),
        (said(400, {"__type": "Nope:http://x", "Message": "why"}), "Nope", "why"),
        (said(400, {"code": "Nope"}), "Nope", ""),
        (said(413, b"<html>"), "413", ""),
        (error("Nope", "line 1\nx-amz-security-token:FwoG"), "Nope", "line 1"),
        (error("Nope", "x" * 1000), "Nope", "x" * 300),
    ],
)
def test_an_error_has_the_services_code(api, upstream, answer, code, message):
    upstream.answers(answer)
    with pytest.raises(ApiError) as told:
        api().call("PutItem", {"Item": {"text": {"S": "PROMPT"}}})
    assert (told.value.code, told.value.message) == (code, message)
    assert str(told.value) == (f"{code}: {message}" if message else code)


def test_an_error_keeps_what_else_was_said(api, upstream):
    upstream.answers(error("ConditionalCheckFailedException", Item={"a": {"N": "1"}}))
    with pytest.raises(ApiError) as told:
        api().call("PutItem", {})
    assert (told.value.status, told.value.body["Item"]) == (400, {"a": {"N": "1"}})
    assert "Item" not in str(told.value)


# -- again -----------------------------------------------------------------------------------------

THROTTLES = ["ThrottlingException", "ProvisionedThroughputExceededException", "SlowDown"]


@pytest.mark.parametrize(
    ("failure", "longest_s"),
    [
        *[(error(code), 1.0) for code in THROTTLES],
        (said(429, {}), 1.0),
        (error("RequestTimeout"), 0.025),
        *[(said(status, b"gone"), 0.025) for status in (500, 502, 503, 504)],
        (SILENCE, 0.025),
        (None, 0.025),
    ],
)
def test_what_may_pass_is_tried_three_times(api, upstream, waits, failure, longest_s):
    played(upstream, failure, failure, said(200, {"a": 1}))
    limits = Limits(30, 1.5) if failure == SILENCE else SOFT
    assert api(limits=limits).call("GetItem", {}) == {"a": 1}
    assert len(upstream.raws) == 3
    assert 0 <= waits[0] <= longest_s
    assert 0 <= waits[1] <= 2 * longest_s
    played(upstream, failure)
    with pytest.raises((ApiError, ApiUnreachable)):
        api(limits=limits).call("GetItem", {})
    assert len(upstream.raws) == 6


@pytest.mark.parametrize(
    "answer",
    [error("ConditionalCheckFailedException"), error("ValidationException"), said(501, {})],
)
def test_what_would_be_the_same_again_is_not_tried_again(api, upstream, waits, answer):
    upstream.answers(answer)
    with pytest.raises(ApiError):
        api().call("GetItem", {})
    assert (len(upstream.raws), waits) == (1, [])


def test_every_request_of_a_call_is_signed_anew(api, upstream):
    played(upstream, said(500, {}), said(200, {}))
    api().call("GetItem", {})
    assert all(b"authorization: AWS4-HMAC-SHA256 " in raw for raw in upstream.raws)


def test_nobody_there_is_told_with_the_address(closed_port, waits):
    there = f"http://127.0.0.1:{closed_port}"
    ours = Api(
        "dynamodb", "eu-central-1", {**ENVIRONMENT, "AWS_ENDPOINT_URL": there}, SOFT,
        sleep=waits.append,
    )  # fmt: skip
    with pytest.raises(ApiUnreachable, match=rf"{there}: no connection \(refused\)"):
        ours.call("GetItem", {})
    assert len(waits) == 2


def test_a_host_without_address_is_told():
    said = {**ENVIRONMENT, "AWS_ENDPOINT_URL": "http://no-such-host.invalid"}
    with pytest.raises(ApiUnreachable, match="the host has no address"):
        Api("dynamodb", "eu-central-1", said, Limits(attempts=1)).call("GetItem", {})


# -- connections -----------------------------------------------------------------------------------


class Counting:
    """A server that counts its connections; `keep` says for how many answers each is good."""

    def __init__(self, keep, answer=None):
        self.keep, self.answer, self.connections, self.requests = keep, answer, 0, 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self.connections += 1
                threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection):
        with connection, contextlib.suppress(OSError):
            for _ in range(self.keep):
                if not connection.recv(65536):
                    return
                self.requests += 1
                connection.sendall(self.answer or said(200, {}))
            connection.recv(
                65536
            )  # the next one comes, and the connection is closed without a word

    def close(self):
        self._listening.close()


class Silent(Counting):
    """Its first `since` connections, all of them three at once, are answered no more, without being
    closed: as a network does that forgot them.
    """

    def __init__(self):
        self.since, self.three = 0, threading.Barrier(3)
        super().__init__(100)

    def _one(self, connection):
        number = self.connections
        with connection, contextlib.suppress(OSError):
            while connection.recv(65536):
                if number > self.since:
                    if not self.since:
                        self.three.wait(60)
                    connection.sendall(said(200, {}))


@pytest.fixture
def silent():
    with contextlib.closing(Silent()) as server:
        yield server


@pytest.fixture
def counting():
    with contextlib.ExitStack() as stack:

        def made(keep, answer=None):
            return stack.enter_context(contextlib.closing(Counting(keep, answer)))

        yield made


def at(server, waits, limits=SOFT):
    said = {**ENVIRONMENT, "AWS_ENDPOINT_URL": server.url}
    return contextlib.closing(Api("dynamodb", "us-east-1", said, limits, sleep=waits.append))


def test_calls_share_a_connection(counting, waits):
    server = counting(keep=100)
    with at(server, waits) as ours:
        for _ in range(5):
            ours.call("GetItem", {})
    assert (server.connections, server.requests) == (1, 5)


def test_an_answer_that_closes_is_followed_by_a_new_connection(counting, waits):
    server = counting(1, said(200, {}, "connection: close"))
    with at(server, waits) as ours:
        ours.call("GetItem", {})
        ours.call("GetItem", {})
    assert server.connections == 2


def test_a_kept_connection_that_was_closed_costs_no_try(counting, waits):
    server = counting(keep=1)
    with at(server, waits, Limits(30, 30, attempts=1)) as ours:
        for _ in range(4):
            ours.call("GetItem", {})
    assert (server.connections, waits) == (4, [])


def test_connections_that_fell_silent_cost_one_try_however_many_are_kept(silent, waits):
    with at(silent, waits, Limits(30, 2.5, attempts=2)) as ours, ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: ours.call("GetItem", {}), range(3)))
        assert silent.connections == 3
        silent.since = silent.connections
        assert ours.call("GetItem", {}) == {}
    assert (silent.connections, len(waits)) == (4, 1)


def test_a_connection_kept_while_the_clock_stood_still_is_not_used_again(counting, waits):
    server = counting(keep=100)
    with at(server, waits) as ours:
        ours.call("GetItem", {})
        kept = ours._origin._idle
        connection, since_s, at_s = kept.pop()
        kept.append((connection, since_s, at_s - 60))  # a minute by the wall clock alone
        ours.call("GetItem", {})
    assert server.connections == 2


def test_threads_have_a_connection_each_and_all_are_kept(counting, waits):
    server = counting(keep=1000)
    with at(server, waits, Limits(30, 30)) as ours, ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert list(pool.map(lambda _: ours.call("GetItem", {}), range(64))) == [{}] * 64
    assert server.requests == 3 * 64
    assert server.connections <= 8


def test_one_that_is_forgotten_closes_its_connections(counting, waits):
    server = counting(keep=100)
    said = {**ENVIRONMENT, "AWS_ENDPOINT_URL": server.url}
    Api("dynamodb", "us-east-1", said, sleep=waits.append).call("GetItem", {})


def test_a_certificate_of_nobody_known_is_told(upstream, waits):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        there = f"https://127.0.0.1:{listening.getsockname()[1]}"

        def garble():
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 400 no TLS here\r\n\r\n")

        threading.Thread(target=garble, daemon=True).start()
        said = {**ENVIRONMENT, "AWS_ENDPOINT_URL": there}
        with pytest.raises(ApiUnreachable, match=r"no connection \(SSL"):
            Api("dynamodb", "us-east-1", said, Limits(attempts=1)).call("GetItem", {})


@pytest.fixture
def certificate(tmp_path):
    """One of this machine's that nobody signed."""
    key, made = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = [*command.split(), *subject, "-keyout", key, "-out", made]
    subprocess.run(command, check=True, capture_output=True)
    return made, key


class Secure(Counting):
    def __init__(self, certificate):
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(*certificate)
        super().__init__(keep=100)
        self.url = self.url.replace("http:", "https:")

    def _one(self, connection):
        with contextlib.suppress(OSError):
            super()._one(self.tls.wrap_socket(connection, server_side=True))
        connection.close()


def test_over_tls_connections_are_kept_too_and_the_bundle_is_believed(certificate):
    with contextlib.closing(Secure(certificate)) as server:
        said = {**ENVIRONMENT, "AWS_ENDPOINT_URL": server.url, "AWS_CA_BUNDLE": str(certificate[0])}
        with contextlib.closing(Api("dynamodb", "us-east-1", said, SOFT)) as ours:
            assert [ours.call("GetItem", {}) for _ in range(3)] == [{}] * 3
        assert (server.connections, server.requests) == (1, 3)


def test_a_certificate_that_nobody_vouches_for_is_refused(certificate):
    with contextlib.closing(Secure(certificate)) as server:
        said = {**ENVIRONMENT, "AWS_ENDPOINT_URL": server.url}
        with (
            contextlib.closing(Api("dynamodb", "us-east-1", said, Limits(attempts=1))) as ours,
            pytest.raises(ApiUnreachable, match="the certificate can't be verified: self"),
        ):
            ours.call("GetItem", {})
        assert server.requests == 0
