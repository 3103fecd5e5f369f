"""A caller of an API in China: AWS's signature is in `Authorization`, our key beside it."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from support import catalogue, fleet, policy

BODY = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "你好"}]})
SIGNED_IN = json.dumps(  # what API Gateway tells of the signature, as the adapter hands it on
    {"identity": {"userArn": "arn:aws-cn:sts::111122223333:assumed-role/shop/one"}}
)


@pytest.fixture
def router(start_router, upstream):
    return start_router(catalogue(fleet("one", upstream.url)), policy())


def called(router, **headers):
    """Send what `curl --aws-sigv4 aws:amz:cn-northwest-1:execute-api` sends."""
    url = f"{router.url}/v1/chat/completions"
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = AWSRequest("POST", url, {"content-type": "application/json", **headers}, BODY)
    who = Credentials("AKIDEXAMPLE", "secret", "session")
    SigV4Auth(who, "execute-api", "cn-northwest-1").add_auth(request)
    handed_on = {**dict(request.headers), "x-amzn-request-context": SIGNED_IN}
    return httpx.post(url, content=BODY, headers=handed_on)


def test_the_key_beside_the_signature_says_who_asks(router, upstream):
    response = called(router, x_sluice_key=router.key)
    assert response.status_code == 200
    facts = router.receipt(response)["facts"]
    assert facts["key"] == router.key.split("-")[2]
    assert "Credential=" not in "".join(str(raw) for raw in upstream.raws)


def test_a_wrong_key_is_refused_whoever_signed(router, upstream):
    for wrong in ("sk-sluice-nobody-nothing", router.key[:-1] + "~", "AWS4"):
        response = called(router, x_sluice_key=wrong)
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "invalid_api_key"
        assert wrong not in response.text + router.log()
    assert upstream.bodies == []


def test_a_signature_alone_is_nobody_and_is_told_where_the_key_goes(router, upstream):
    response = called(router)
    assert response.status_code == 401
    assert "the key goes in `x-sluice-key` beside it" in response.json()["error"]["message"]
    assert upstream.bodies == []


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is what the pages show")
@pytest.mark.parametrize("page", ["deploy.md", "zh.md"])
def test_the_call_on_the_page_is_answered(router, page):
    text = Path("docs", page).read_text("utf-8")
    [command] = re.findall(r"```sh\n(curl -N --aws-sigv4 .*?)\n```", text, re.DOTALL)
    url = r"https://ID\.execute-api\.cn-northwest-1\.amazonaws\.com\.cn/api"
    command, found = re.subn(url, router.url, command)
    assert found == 1
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    environment = {**dict.fromkeys(names, "example"), "SLUICE_KEY": router.key}
    ended = subprocess.run(
        ["sh", "-c", command], env=environment, capture_output=True, check=True, timeout=30
    )
    assert json.loads(ended.stdout)["choices"]
    assert router.receipts()[-1]["facts"]["key"] == router.key.split("-")[2]
