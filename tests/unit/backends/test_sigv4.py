"""Our signatures are botocore's, over whatever is signed."""

import datetime as dt
import hashlib

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Theirs
from hypothesis import given
from hypothesis import strategies as st

from backends.sigv4 import Credentials, Signer

NOW = 1_795_255_200.0  # 2026-11-21T10:00:00Z
HOST = "runtime.sagemaker.us-east-1.amazonaws.com"


def theirs(credentials, region, path, headers, body, at):
    request = AWSRequest("POST", f"https://{HOST}{path}", headers=headers, data=body)
    request.headers["X-Amz-Date"] = request.context["timestamp"] = at
    if credentials.token:
        request.headers["X-Amz-Security-Token"] = credentials.token
    auth = SigV4Auth(credentials, "sagemaker", region)
    text = auth.string_to_sign(request, auth.canonical_request(request))
    return auth.signature(text, request)


def at_of(now_s):
    return dt.datetime.fromtimestamp(now_s, dt.UTC).strftime("%Y%m%dT%H%M%SZ")


tokens = st.sampled_from([None, "FwoG/+==", "short"])
paths = st.sampled_from(
    [
        "/endpoints/e/invocations",
        "/endpoints/e-1/invocations-response-stream",
        "/base/endpoints/E/invocations",
        "/a%20b/endpoints/e/invocations",
        "/~u/endpoints/e.f/invocations",
    ]
)
values = st.dictionaries(
    st.sampled_from(["content-type", "x-amzn-sagemaker-target-variant", "x-a", "x-amz-z", "a"]),
    st.sampled_from(["application/json", "a", "a b", "=/+"]),
)


@given(
    token=tokens,
    path=paths,
    headers=values,
    body=st.binary(max_size=40),
    moments=st.lists(st.sampled_from([NOW, NOW + 3600, NOW + 86_400]), min_size=1, max_size=4),
)
def test_a_request_is_signed_as_botocore_signs_it(token, path, headers, body, moments):
    ours = Signer(Credentials("AKID", "secret/+", token), "us-east-1", "sagemaker")
    for now_s in moments:
        added = ours.signed("POST", path, {**headers, "host": HOST}, body, now_s)
        wanted = theirs(
            Theirs("AKID", "secret/+", token), "us-east-1", path, headers, body, at_of(now_s)
        )
        scope = f"AKID/{at_of(now_s)[:8]}/us-east-1/sagemaker/aws4_request"
        assert added["authorization"].endswith(f"Signature={wanted}")
        assert f"Credential={scope}, " in added["authorization"]
        assert added.get("x-amz-security-token") == token


@pytest.mark.parametrize("token", [None, "FwoG/+=="])
@pytest.mark.parametrize("region", ["us-east-1", "cn-north-1"])
def test_a_url_is_presigned_as_botocore_presigns_it(token, region):
    host = "sagemaker.amazonaws.com"
    signer = Signer(Credentials("AKID", "secret/+", token), region, "sagemaker")
    url = signer.presigned("POST", host, {"Action": "CallWithBearerToken"}, 900, NOW)
    signed, _, signature = url.partition("&X-Amz-Signature=")
    request = AWSRequest("POST", f"https://{signed}")
    request.context["timestamp"] = at_of(NOW)
    auth = SigV4QueryAuth(Theirs("AKID", "secret/+", token), "sagemaker", region, expires=900)
    text = auth.string_to_sign(request, auth.canonical_request(request))
    assert auth.signature(text, request) == signature
    assert f"X-Amz-Date={at_of(NOW)}&X-Amz-Expires=900" in url


def test_nothing_of_the_credentials_is_shown():
    credentials = Credentials("AKID", "secret", "token")
    shown = f"{credentials!r} {Signer(credentials, 'us-east-1', 'sagemaker')!r}"
    assert not any(part in shown for part in ("AKID", "secret", "token="))


def test_the_body_is_part_of_what_is_signed():
    signer = Signer(Credentials("AKID", "secret"), "us-east-1", "sagemaker")
    bodies = [hashlib.sha256(bytes([i])).digest() for i in range(3)]
    proofs = {signer.signed("POST", "/", {"host": HOST}, b, NOW)["authorization"] for b in bodies}
    assert len(proofs) == 3
