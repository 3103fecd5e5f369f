"""What the doctor says to do about a server that can't be used."""

from types import SimpleNamespace

import pytest

from backends.aws_credentials import NONE_FOUND
from backends.base import Broken, Garbled, Misconfigured, Unreachable
from router.cli import advice

KEYLESS = SimpleNamespace(api_key=None)
KEYED = SimpleNamespace(api_key=SimpleNamespace(name="VLLM_KEY"))


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (301, "redirects are not followed: write the url that it leads to"),
        (308, "redirects are not followed"),
        (401, "check the key in `VLLM_KEY`"),
        (403, "check the key in `VLLM_KEY`"),
        (404, "the url ends where `/models`"),
        (405, "the url ends where `/models`"),
        (429, "try again"),
        (503, "loads its model: try again"),
        (500, "the server's log"),
        (502, "the server's log"),
    ],
)
def test_what_to_do_follows_from_the_status(status, words):
    assert words in advice.of_status(KEYED, status)
    assert ("VLLM_KEY" in advice.of_status(KEYED, status)) == (status in {401, 403})


def test_a_server_that_asks_for_a_key_that_the_catalogue_has_not_is_given_the_line():
    assert "`api_key: ${env:NAME}`" in advice.of_status(KEYLESS, 401)


@pytest.mark.parametrize(
    ("url", "exc", "words"),
    [
        ("https://h/v1", Unreachable("the TLS handshake failed"), "write `http://`"),
        ("https://h/v1", Unreachable("no connection in time"), "write `http://`"),
        ("HTTPS://h/v1", Misconfigured("the certificate can't be verified"), "certificate"),
        ("http://h/v1", Garbled("not an HTTP/1.1 answer"), "write `https://`"),
        ("http://h/v1", Broken("closed before the answer", received=False), "write `https://`"),
        ("https://h/v1", Unreachable("connection refused"), None),
        ("http://h/v1", Unreachable("no connection in time"), None),
    ],
)
def test_a_scheme_that_may_be_wrong_is_named_and_no_other(url, exc, words):
    said = advice.of_error(url, exc)
    assert said is None if words is None else words in said


@pytest.mark.parametrize(
    ("exc", "words"),
    [
        (Misconfigured(NONE_FOUND), "aws sts get-caller-identity"),
        (Misconfigured("the AWS credentials can't be had (ProfileNotFound)"), "aws sts"),
        (Unreachable("the host name has no address"), "check the region, or the url"),
        (Unreachable("no connection in time"), "write `http://`"),
        (Misconfigured("status 403"), "`sagemaker:InvokeEndpoint`"),
    ],
)
def test_what_to_do_about_an_endpoint_follows_from_what_went_wrong(exc, words):
    assert words in advice.of_invoked("https://runtime.sagemaker.us-east-1.amazonaws.com", exc)
