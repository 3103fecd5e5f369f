"""tools/smoke.py against a real router over HTTP: what is well, and what it must notice."""

import json
import os
import subprocess
import sys

import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from support import DONE, EVENTS, USAGE_EVENT, catalogue, chunk, fleet, plain, policy, stream_head

from backends.sigv4 import Credentials
from tools import smoke as tools_smoke

BUDGETS = "budgets:\n  - {id: none, match: {team: poor}, usd: 0.000000001, per: day, when_spent: reject}\n"  # noqa: E501 (one line of YAML)
OURS = ("SLUICE_", "AWS_")
SIGNS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}


def smoke(router, *options, key=None, **environment):
    command = [sys.executable, "tools/smoke.py", *options, router.url]
    secrets = {"SLUICE_KEY": key or router.key, **environment}
    clean = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env=clean | secrets
    )


def failed(ended):
    lines = ended.stdout.splitlines()
    return [line[8:28].strip() for line in lines if line.startswith("FAILED")]


def answering(upstream, pause_s=0.5):
    """Have the model server answer plainly, and stream a token now and then."""

    def script(body, send, gone):
        if not body.get("stream"):
            send(plain())
            return "keep"
        send(stream_head())
        for word in ("one", "two", "three", "four"):
            send(chunk(word))
            gone(pause_s)
        send(USAGE_EVENT + DONE)
        return "close"

    upstream.script = script


@pytest.fixture
def router(start_router, upstream):
    answering(upstream)
    return start_router(catalogue(fleet("one", upstream.url)), policy() + BUDGETS)


def test_a_router_that_does_what_it_should_passes(router):
    ended = smoke(router)
    assert ended.returncode == 0, ended.stdout
    assert ended.stdout.count("ok ") == 6
    assert "not tried: a refusal by budget" in ended.stdout
    assert "all well" in ended.stdout


def test_a_stream_that_comes_at_once_is_noticed(router, upstream):
    words = b"".join(chunk(word) for word in ("one", "two", "three", "four"))
    whole = stream_head() + words + USAGE_EVENT + DONE

    def script(body, send, gone):
        send(whole if body.get("stream") else plain())
        return "close"

    upstream.script = script
    ended = smoke(router)
    assert ended.returncode == 1
    assert failed(ended) == ["streamed answer"]
    assert "something buffers the stream" in ended.stdout


def test_a_stream_without_its_end_is_noticed(router, upstream):
    def script(body, send, gone):
        if body.get("stream"):
            send(stream_head() + EVENTS[1])
            gone(0.05)
            return "close"
        send(plain())
        return "keep"

    upstream.script = script
    assert failed(smoke(router)) == ["streamed answer"]


def test_an_answer_without_a_model_is_noticed(router, upstream):
    upstream.answers(plain({"error": {"message": "no"}}, 500))
    ended = smoke(router)
    assert failed(ended) == ["plain answer", "receipt's headers", "streamed answer", "Chinese"]
    assert router.key not in ended.stdout + ended.stderr


def test_a_key_that_is_good_where_a_wrong_one_is_wanted_is_noticed(router):
    assert failed(smoke(router, SLUICE_SPENT_KEY=router.key)) == ["spent budget"]


def test_a_spent_budget_is_refused(start_router, upstream):
    answering(upstream)
    poor = start_router(catalogue(fleet("one", upstream.url)), policy() + BUDGETS, team="poor")
    ended = smoke(poor, SLUICE_SPENT_KEY=poor.key)
    assert "ok      spent budget" in ended.stdout


def test_nobody_there_is_told_for_every_check():
    command = [sys.executable, "tools/smoke.py", "http://127.0.0.1:1"]
    environment = {**os.environ, "SLUICE_KEY": "sk-sluice-x"}
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env=environment
    )
    assert ended.returncode == 1
    assert "ConnectError" in ended.stdout


def test_without_a_key_it_says_how_to_get_one():
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    command = [sys.executable, "tools/smoke.py", "http://127.0.0.1:1"]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env=clean
    )
    assert ended.returncode == 3
    assert "sluice keys create" in ended.stderr


def asked_with(url, key):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    return subprocess.run(
        [sys.executable, "tools/smoke.py", url], capture_output=True, text=True, check=False,
        timeout=60, env=clean | {"SLUICE_KEY": key},
    )  # fmt: skip


@pytest.mark.parametrize("more", ["\n", " ", "\r\n"])
def test_a_key_copied_with_its_line_break_is_taken_and_not_shown(router, more):
    ended = asked_with(router.url, router.key + more)
    assert ended.returncode == 0, ended.stdout.replace(router.key, "THE KEY")
    assert router.key not in ended.stdout + ended.stderr


@pytest.mark.parametrize("key", ["sk-sluice-钥匙", "sk-sluice-a\nb"])
def test_what_is_no_key_is_told_by_its_variable_alone(key):
    ended = asked_with("http://127.0.0.1:1", key)
    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr.startswith("SLUICE_KEY is no key: ")
    assert "sk-sluice-a" not in ended.stderr
    assert "钥匙" not in ended.stderr


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "llm.example.com/api", "ftp://here", ""])
def test_what_is_no_url_is_told_once_with_one_that_would_do(url):
    ended = asked_with(url, "sk-sluice-x")
    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr == f"{url}: this is no url (as https://llm.example.com)\n"


# -- signed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/v1/chat/completions", "/api/v1/files?limit=2&after=a%2Fb"])
def test_a_request_is_signed_as_aws_s_own_library_signs_it(path):
    known = Credentials("AKIDEXAMPLE", "secret", "token")
    body = json.dumps({"说": "你好"}).encode()
    url = f"https://abc.execute-api.cn-northwest-1.amazonaws.com.cn{path}"
    request = httpx.Request("POST", url, content=body)
    next(tools_smoke.Signed(lambda: known, "cn-northwest-1").auth_flow(request))
    theirs = AWSRequest("POST", url, data=body, headers={"host": request.headers["host"]})
    theirs.context["timestamp"] = request.headers["x-amz-date"]
    signer = SigV4Auth(
        BotoCredentials("AKIDEXAMPLE", "secret", "token"), "execute-api", "cn-northwest-1"
    )
    theirs.headers["X-Amz-Date"] = request.headers["x-amz-date"]
    theirs.headers["X-Amz-Security-Token"] = "token"
    string = signer.string_to_sign(theirs, signer.canonical_request(theirs))
    wanted = signer.signature(string, theirs)
    assert request.headers["authorization"].endswith(f"Signature={wanted}")
    assert "/cn-northwest-1/execute-api/aws4_request" in request.headers["authorization"]


def test_the_key_goes_beside_a_signature_and_what_is_unsigned_must_be_refused(router):
    ended = smoke(router, "--sign", AWS_REGION="us-east-1", **SIGNS)
    assert failed(ended) == ["no signature"], ended.stdout  # no API Gateway is before this router
    assert ended.stdout.count("ok ") == 6


def test_without_a_key_the_signature_alone_asks(router):
    ended = smoke(router, "--sign", SLUICE_KEY="", AWS_REGION="us-east-1", **SIGNS)
    assert "wrong key" not in ended.stdout
    assert "wanted 200, got 401: no key" in ended.stdout  # nobody before it says who signed
    assert ended.returncode == 1


def test_a_region_that_nobody_names_is_asked_for(router):
    ended = smoke(router, "--sign", **SIGNS)
    assert ended.returncode == 3
    assert "set AWS_REGION: the url names no region to sign for" in ended.stderr
    assert "secret" not in ended.stderr + ended.stdout
