"""SageMaker endpoints under a real router: a server that speaks their wire and checks every proof.

That the server itself is right is shown by boto3, which calls it as it would call AWS.
"""

import asyncio
import json
import subprocess
import sys

import boto3
import pytest
import sagemaker_support as aws
from botocore.config import Config
from support import (
    BOTH,
    DONE,
    EVENTS,
    ROLE,
    USAGE_EVENT,
    catalogue,
    fleet,
    plain,
    policy,
    sluice,
    stream_head,
    wait_until,
)

from backends.base import Broken, Call, Garbled, Misconfigured, SageMakerTarget
from backends.sagemaker import SageMaker
from backends.sagemaker_identity import Identity
from backends.sigv4 import Credentials

SSE = b"".join([*EVENTS, USAGE_EVENT, DONE])
WAYS = {"openai": "", "invoke_endpoint": aws.INVOKE}


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    for name, value in aws.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(params=WAYS)
def way(request):
    return request.param


def answering(server, raw, then="keep"):
    def script(body, send, gone):
        send(raw)
        return then

    aws.proving(server, script)


def streaming(server, way, *parts, end=b""):
    if way == "openai":
        answering(server, stream_head() + b"".join(parts), "close")
    else:
        answering(server, aws.streamed(*parts, end=end), "close")


def origin(server):
    return server.url.removesuffix("/v1")


def one(start_router, upstream, way):
    return start_router(
        catalogue(aws.fleet("one", origin(upstream), more=WAYS[way])), policy(baseline="m@one")
    )


def two(start_router, upstream, second_upstream, way):
    fleets = catalogue(
        aws.fleet("one", origin(upstream), more=WAYS[way]),
        fleet("two", second_upstream.url, lane="accelerator"),
    )
    return start_router(fleets, policy(BOTH))


def line(server):
    return server.raws[-1].partition(b" HTTP/1.1\r\n")[0]


def without_comments(content):
    events = [e + b"\n\n" for e in content.split(b"\n\n") if e]
    return b"".join(e for e in events if not e.startswith(b":"))


# -- the server is right ---------------------------------------------------------------------------


@pytest.fixture
def theirs(upstream):
    client = boto3.Session().client(
        "sagemaker-runtime",
        region_name=aws.REGION,
        endpoint_url=origin(upstream),
        config=Config(retries={"total_max_attempts": 2}),  # the server closes: it may meet that
    )
    yield client
    client.close()


def test_boto3_is_believed_and_reads_what_the_server_says(upstream, theirs):
    answering(upstream, plain(), "close")
    asked = {
        "EndpointName": aws.ENDPOINT,
        "ContentType": "application/json",
        "Body": b"{}",
        "InferenceComponentName": "part-1",
        "TargetVariant": "blue",
        "PrefixAwareId": "sluice 1",
    }
    with theirs.invoke_endpoint(**asked)["Body"] as body:
        assert json.loads(body.read())["model"] == "theirs"
    assert line(upstream) == b"POST /endpoints/chat-endpoint/invocations"
    head = upstream.raws[-1].lower()
    for said in (b"inference-component: part-1", b"target-variant: blue"):
        assert b"\r\nx-amzn-sagemaker-%b\r\n" % said in head
    assert b"\r\nx-amzn-sagemaker-prefix-aware-id: sluice 1\r\n" in head


def test_boto3_reads_the_servers_events(upstream, theirs):
    answering(upstream, aws.streamed(SSE[:7], SSE[7:]), "close")
    said = theirs.invoke_endpoint_with_response_stream(EndpointName=aws.ENDPOINT, Body=b"{}")
    assert said["ContentType"].startswith("text/event-stream")
    assert b"".join(event["PayloadPart"]["Bytes"] for event in said["Body"]) == SSE
    assert line(upstream) == b"POST /endpoints/chat-endpoint/invocations-response-stream"


def test_boto3_reads_the_servers_errors(upstream, theirs):
    answering(upstream, aws.model_error(400, "no"), "close")
    with pytest.raises(theirs.exceptions.ModelError) as caught:
        theirs.invoke_endpoint(EndpointName=aws.ENDPOINT, Body=b"{}")
    assert caught.value.response["OriginalStatusCode"] == 400
    broken = aws.exception("ModelStreamError", ErrorCode="StreamBroken", Message="gone")
    answering(upstream, aws.streamed(b"x", end=broken), "close")
    said = theirs.invoke_endpoint_with_response_stream(EndpointName=aws.ENDPOINT, Body=b"{}")
    with pytest.raises(theirs.exceptions.ClientError, match="ModelStreamError"):
        list(said["Body"])
    said["Body"].close()


PARTS = {
    "AWS_ACCESS_KEY_ID": "credential another",
    "AWS_SECRET_ACCESS_KEY": "wrong signature",
    "AWS_SESSION_TOKEN": "another session",
}


@pytest.mark.parametrize("name", PARTS)
def test_the_server_believes_nobody_else(upstream, monkeypatch, name):
    monkeypatch.setenv(name, "another")
    answering(upstream, plain(), "close")
    at = {"region_name": aws.REGION, "endpoint_url": origin(upstream)}
    client = boto3.Session().client("sagemaker-runtime", **at)
    with pytest.raises(client.exceptions.ClientError, match=PARTS[name]):
        client.invoke_endpoint(EndpointName=aws.ENDPOINT, Body=b"{}")
    client.close()


# -- through the router ----------------------------------------------------------------------------


def test_a_plain_answer_comes_through(start_router, upstream, way):
    answering(upstream, plain())
    router = one(start_router, upstream, way)
    response = router.chat()
    assert response.status_code == 200, response.text
    assert response.json()["choices"][0]["message"]["content"] == "ok"
    path = "/openai/v1/chat/completions" if way == "openai" else "/invocations"
    assert line(upstream).decode() == f"POST /endpoints/chat-endpoint{path}"
    assert upstream.bodies[0]["model"] == ""  # the endpoint is the model
    assert upstream.refused == []
    assert aws.SECRET not in router.log()


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_stream_comes_through_byte_for_byte_however_its_parts_are_cut(
    start_router, upstream, way, size
):
    parts = [SSE[i : i + size] for i in range(0, len(SSE), size)]
    streaming(upstream, way, *parts)
    response = one(start_router, upstream, way).chat(stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert without_comments(response.content) == b"".join([*EVENTS, DONE])
    assert upstream.refused == []
    if way == "invoke_endpoint":
        assert line(upstream).endswith(b"/invocations-response-stream")


def test_the_part_of_an_endpoint_that_is_meant_is_named(start_router, upstream, way):
    answering(upstream, plain())
    more = WAYS[way] + ", inference_component: part-1, upstream_model: qwen"
    if way == "invoke_endpoint":
        more += ", variant: blue, prefix_aware_id: sluice"
    router = start_router(catalogue(aws.fleet("one", origin(upstream), more=more)), policy())
    assert router.chat().status_code == 200
    assert upstream.bodies[0]["model"] == "qwen"
    if way == "openai":
        assert b"/chat-endpoint/inference-components/part-1/openai/v1/chat" in line(upstream)
    else:
        for said in ("inference-component: part-1", "target-variant: blue"):
            assert f"\r\nx-amzn-sagemaker-{said}\r\n".encode() in upstream.raws[0]
        assert b"\r\nx-amzn-sagemaker-prefix-aware-id: sluice\r\n" in upstream.raws[0]


NO_CAPACITY = "Inference Component has no capacity to process this request. Auto"
FAULTS = {
    "a model error": aws.model_error(500, "CUDA out of memory"),
    "throttled": aws.failed(429, "ThrottlingException", message="Rate exceeded"),
    "not ready": aws.failed(429, "ModelNotReadyException", Message="loading"),
    "unavailable": aws.failed(503, "ServiceUnavailable", Message="later"),
    "scaled to zero": aws.failed(400, "ValidationError", Message=NO_CAPACITY),
    "no endpoint": aws.failed(400, "ValidationError", Message="Endpoint x of account 1 not found."),
    "denied": aws.failed(403, "AccessDeniedException", Message="no"),
    "html": b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 4\r\n\r\n<p/>",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_next_fleet_answers_when_an_endpoint_fails(
    start_router, upstream, second_upstream, way, fault
):
    answering(upstream, FAULTS[fault])
    router = two(start_router, upstream, second_upstream, way)
    plainly = router.chat()
    second_upstream.streams(*EVENTS, USAGE_EVENT, DONE)
    for response in (plainly, router.chat(stream=True)):
        assert response.status_code == 200
        assert response.headers["x-sluice-fleet"] == "two"
        *before, last = router.receipt(response)["attempts"]
        assert [attempt["outcome"] for attempt in before] not in (["ok"], ["bug"])
        assert last["outcome"] == "ok"
    assert len(upstream.raws) > 0


def test_what_the_container_refuses_goes_to_the_caller_as_the_container_said_it(
    start_router, upstream, way
):
    said = json.dumps({"error": {"message": "`top_p` is too high", "code": 400}})
    answering(upstream, aws.model_error(400, said))
    router = one(start_router, upstream, way)
    response = router.chat()
    assert response.status_code == 400
    assert response.json()["error"]["message"] == "`top_p` is too high"
    assert "top_p" not in router.log()


def test_an_error_in_a_stream_before_the_first_token_is_followed_by_the_next_fleet(
    start_router, upstream, second_upstream
):
    broken = aws.exception("ModelStreamError", ErrorCode="StreamBroken", Message="gone")
    streaming(upstream, "invoke_endpoint", ROLE, end=broken)
    second_upstream.streams(*EVENTS, USAGE_EVENT, DONE)
    router = two(start_router, upstream, second_upstream, "invoke_endpoint")
    response = router.chat(stream=True)
    assert response.headers["x-sluice-fleet"] == "two"
    assert without_comments(response.content) == b"".join([*EVENTS, DONE])
    assert router.receipt(response)["attempts"][0]["outcome"] == "broken"


@pytest.mark.parametrize(
    "end",
    [
        aws.exception("ModelStreamError", ErrorCode="ModelInvocationTimeExceeded"),
        aws.exception("InternalStreamFailure", Message="oh"),
        aws.part(b"data: {}\n\n")[:-1],
        aws.part(b"data: {}\n\n")[:-1] + b"\x00",
        b"\x00" * 16,
    ],
)
def test_an_error_in_a_stream_after_content_is_told_and_ends_it_without_done(
    start_router, upstream, end
):
    streaming(upstream, "invoke_endpoint", *EVENTS[:2], end=end)
    response = one(start_router, upstream, "invoke_endpoint").chat(stream=True)
    events = without_comments(response.content).split(b"\n\n")
    assert events[0] + b"\n\n" == ROLE
    assert b"stream_broken" in events[-2]
    assert DONE not in response.content


def test_a_container_that_streams_something_else_is_told(start_router, upstream):
    lines = aws.streamed(b'{"token": 1}\n').replace(b"text/event-stream", b"application/jsonlines")
    answering(upstream, lines, "close")
    response = one(start_router, upstream, "invoke_endpoint").chat(stream=True)
    assert response.status_code == 502
    assert "the container's answer is not an event stream" in response.json()["error"]["message"]


def test_a_caller_that_hangs_up_stops_the_generation(start_router, upstream):
    def script(body, send, gone):
        send(aws.streamed(*EVENTS[:2]))
        gone(10)
        return "close"

    aws.proving(upstream, script)
    router = one(start_router, upstream, "invoke_endpoint")
    body = {"model": "auto", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    with router.http.stream("POST", "/v1/chat/completions", json=body) as response:
        next(response.iter_raw())
    wait_until(lambda: upstream.hung_up)


def test_without_credentials_the_reason_is_told(start_router, upstream, monkeypatch, way):
    for name in PARTS:
        monkeypatch.delenv(name)
    response = one(start_router, upstream, way).chat()
    assert response.status_code == 502
    assert "no AWS credentials are found" in response.json()["error"]["message"]
    assert upstream.raws == []


# -- renewal ---------------------------------------------------------------------------------------


class Rotating:
    """Credentials that end; whoever forgets the old ones finds the new ones."""

    def __init__(self):
        self.given = Credentials(aws.ACCESS, aws.SECRET, "ended")

    def read(self):
        return self.given

    def forget(self):
        self.given = Credentials(aws.ACCESS, aws.SECRET, aws.SESSION)


@pytest.mark.parametrize("stream", [False, True])
def test_credentials_that_ended_are_renewed_once_within_the_request(upstream, way, stream):
    expired = aws.failed(403, "ExpiredTokenException", message="The security token is expired")

    def script(body, send, gone):
        if aws.complaint(upstream.raws[-1]) is not None:
            return send(expired)
        if not stream:
            return send(plain())
        send(aws.streamed(SSE) if way == "invoke_endpoint" else stream_head() + SSE)
        return "close"

    async def main():
        upstream.script = script
        seconds = [0.0]
        identity = Identity(aws.REGION, Rotating(), clock=lambda: seconds[0])
        target = SageMakerTarget(aws.ENDPOINT, aws.REGION, invoke=way == "invoke_endpoint")
        backend = SageMaker([origin(upstream)], target, identity)
        ask = backend.stream if stream else backend.send
        try:
            with pytest.raises(Misconfigured, match="ExpiredToken"):
                await ask(Call(b"{}", timeout_s=10))
            assert len(upstream.raws) == 1  # just read: read again they would be the same
            seconds[0] += 61
            answer = await ask(Call(b"{}", timeout_s=10))
            assert len(upstream.raws) == 3
            if stream:
                assert await answer.read(10) == SSE
                await answer.aclose()
            upstream.script = lambda body, send, gone: send(expired)
            seconds[0] += 61
            with pytest.raises(Misconfigured):
                await ask(Call(b"{}", timeout_s=10))
            assert len(upstream.raws) == 5  # once more, and no third time
        finally:
            await backend.aclose()

    asyncio.run(main())


# -- a stream alone --------------------------------------------------------------------------------

ENDS = {
    "within an event": (aws.part(b"data: {}\n\n")[:-1], Broken, "closed within an event"),
    "within lengths": (aws.part(b"data: {}\n\n")[:5], Broken, "closed within an event"),
    "damaged": (aws.part(b"x")[:-1] + b"\x00", Garbled, "checksum is wrong"),
    "no event": (b"\x00" * 16, Garbled, "the checksum of an event's lengths is wrong"),
    "broken": (aws.exception("ModelStreamError", ErrorCode="StreamBroken"), Broken, "lost"),
    "failed": (aws.exception("InternalStreamFailure"), Broken, "stream failed"),
}


@pytest.mark.parametrize("end", ENDS)
def test_what_came_before_the_end_of_a_stream_is_read_and_then_the_reason(upstream, end):
    raw, kind, said = ENDS[end]

    def script(body, send, gone):
        body = b"".join(map(aws.part, EVENTS)) + aws.frame({":message-type": "event"}, b"?") + raw
        head = aws.streamed().replace(b"connection: close", b"content-length: %d" % len(body))
        send(head + body if end.startswith("within") else aws.streamed() + body)
        gone(10)
        return "close"

    async def main():
        aws.proving(upstream, script)
        source = Rotating()
        source.forget()
        target = SageMakerTarget(aws.ENDPOINT, aws.REGION, invoke=True)
        backend = SageMaker([origin(upstream)], target, Identity(aws.REGION, source))
        stream = await backend.stream(Call(b"{}", timeout_s=10))
        got, wanted = b"", b"".join(EVENTS)
        while len(got) < len(wanted):
            got += await stream.read(10)
        assert got == wanted
        for _ in range(2):
            with pytest.raises(kind, match=said):
                await stream.read(10)
        if not end.startswith("within"):  # its body was whole: the connection may be kept
            await asyncio.to_thread(wait_until, lambda: upstream.hung_up)
        await stream.aclose()
        await backend.aclose()

    asyncio.run(main())


# -- commands --------------------------------------------------------------------------------------


def doctor(tmp_path, fleets):
    (tmp_path / "f.yaml").write_text(catalogue(fleets), "utf-8")
    (tmp_path / "p.yaml").write_text(policy(), "utf-8")
    options = ("--fleets", tmp_path / "f.yaml", "--policy", tmp_path / "p.yaml")
    result = sluice("doctor", *options, "--state", tmp_path, "--json")
    (found,) = (f for f in json.loads(result.stdout) if f["what"] == "fleet one")
    return found


DOCTOR = [
    (aws.model_error(400, '{"error": {"message": "messages is missing"}}'), "ok", ""),
    (plain(), "ok", ""),
    (aws.model_error(400, "<html>"), "warning", "no JSON object"),
    (aws.failed(400, "ValidationError", Message=NO_CAPACITY), "warning", "scaled to zero"),
    (FAULTS["no endpoint"], "failed", "no endpoint of this name"),
    (FAULTS["denied"], "failed", "AccessDenied"),
    (FAULTS["a model error"], "failed", "the container: status 500"),
]


@pytest.mark.parametrize(("answer", "verdict", "said"), DOCTOR)
def test_doctor_says_whether_the_endpoint_answers(tmp_path, upstream, way, answer, verdict, said):
    answering(upstream, answer)
    found = doctor(tmp_path, aws.fleet("one", origin(upstream), more=WAYS[way]))
    assert found["verdict"] == verdict
    assert said in found["detail"]
    assert "endpoint chat-endpoint" in found["detail"]
    assert upstream.bodies == [{}]
    assert upstream.refused == []


def test_a_router_without_botocore_says_what_to_install(tmp_path, closed_port):
    fleets = catalogue(aws.fleet("one", f"http://127.0.0.1:{closed_port}"))
    (tmp_path / "f.yaml").write_text(fleets, "utf-8")
    (tmp_path / "p.yaml").write_text(policy(), "utf-8")
    options = ["--fleets", tmp_path / "f.yaml", "--policy", tmp_path / "p.yaml", "--port", "0"]
    code = "import sys; sys.modules['botocore'] = None; from router.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", *options, "--state", tmp_path / "s"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 2
    said = "fleet one: `kind: sagemaker` needs the extra `aws`: install `sluice[aws]`"
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_running_router_without_botocore_refuses_the_change(
    start_router, upstream, tmp_path, monkeypatch
):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['botocore'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    router = start_router(catalogue(fleet("one", upstream.url)), policy())
    changed = catalogue(aws.fleet("one", origin(upstream)))
    (tmp_path / "fleets.yaml").write_text(changed, "utf-8")
    wait_until(lambda: "install `sluice[aws]`" in router.log())
    assert "the change is refused" in router.log()
    assert "Traceback" not in router.log()
    assert router.chat().status_code == 200


def test_a_router_without_such_a_fleet_imports_no_botocore():
    script = (
        "import sys\n"
        "from backends.base import Endpoint\n"
        "from backends.kinds import KINDS\n"
        "import router.entry\n"
        "KINDS['openai_http'](Endpoint(('http://127.0.0.1:1/v1',)))\n"
        "print([name for name in sys.modules if name.startswith('boto')])\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout.strip() == "[]"
