"""What the router says of a table that it can't use at its start."""

import json

import pytest
from sagemaker_support import ENVIRONMENT

from router.faults import NoSuchLedger
from router.ledger.dynamo_table import definition
from router.ledger.port import LedgerUnavailable
from router.store import open_table


def answering(upstream, status, body):
    text = json.dumps(body).encode()
    upstream.answers(f"HTTP/1.1 {status} X\r\ncontent-length: {len(text)}\r\n\r\n".encode() + text)


def opened(upstream):
    there = upstream.url.removesuffix("/v1")
    said = {**ENVIRONMENT, "AWS_REGION": "eu-central-1", "AWS_ENDPOINT_URL": there}
    return open_table("ledger `dynamodb:books`", "books", said)


@pytest.mark.parametrize(
    ("status", "code", "error", "said"),
    [
        (400, "AccessDeniedException", NoSuchLedger, "can't be used: AccessDeniedException: no"),
        (400, "UnrecognizedClientException", NoSuchLedger, "can't be used: Unrecognized"),
        (400, "ThrottlingException", LedgerUnavailable, "can't be used now: ThrottlingException"),
        (500, "InternalServerError", LedgerUnavailable, "can't be used now: InternalServerError"),
        (501, "Whatever", LedgerUnavailable, "can't be used now: Whatever"),
    ],
)
def test_a_refusal_is_the_settings_or_the_moments(upstream, status, code, error, said):
    answering(upstream, status, {"__type": f"com.amazon#{code}", "message": "no"})
    with pytest.raises(error, match=said) as told:
        opened(upstream)
    assert str(told.value).startswith("ledger `dynamodb:books` in eu-central-1 (http://127.0.0.1:")


@pytest.mark.parametrize("status", ["CREATING", "DELETING", "ARCHIVED"])
def test_a_table_that_is_not_there_yet_or_any_more_is_told(upstream, status):
    answering(upstream, 200, {"Table": {**definition("books"), "TableStatus": status}})
    with pytest.raises(LedgerUnavailable, match=f"can't be used while it is {status}"):
        opened(upstream)


def test_a_table_of_ours_is_taken(upstream):
    answering(upstream, 200, {"Table": {**definition("books"), "TableStatus": "ACTIVE"}})
    opened(upstream).close()
