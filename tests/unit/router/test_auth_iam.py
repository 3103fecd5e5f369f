import asyncio
import json

import pytest

from router.auth.arn import pattern
from router.auth.iam import Principals
from router.auth.rules import IamRules
from router.errors import Refusal
from router.identity import Key

ACCOUNT = "111122223333"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/search-batch/i-0123"
RULES = IamRules(
    (
        (pattern(f"arn:aws:iam::{ACCOUNT}:role/search-admin"), Key("", "acme", admin=True)),
        (pattern(f"arn:aws:iam::{ACCOUNT}:role/search-*"), Key("", "acme", "search")),
        (pattern(f"arn:aws:iam::{ACCOUNT}:user/bob"), Key("", "acme", "ops", lanes=("cpu",))),
    )
)


def rest_api(arn):
    """The context of a REST API with IAM auth; without it these fields are null."""
    identity = {"accountId": ACCOUNT, "caller": "AROA:x", "userArn": arn, "sourceIp": "10.0.0.1"}
    return {"apiId": "a1", "stage": "prod", "identity": identity}


def http_api(arn):
    """The context of an HTTP API or a function URL with IAM auth."""
    return {"apiId": "a1", "authorizer": {"iam": {"accountId": ACCOUNT, "userArn": arn}}}


def answer(context):
    raw = context if isinstance(context, bytes) else json.dumps(context).encode()
    headers = {b"x-amzn-request-context": raw}
    return asyncio.run(Principals(RULES).verify(headers, "2026-01-01T00:00:00.000Z"))


@pytest.mark.parametrize("form", [rest_api, http_api])
def test_who_signed_is_the_caller(form):
    key = answer(form(SESSION))
    assert (key.tenant, key.team, key.admin) == ("acme", "search", False)
    assert key.id == f"iam:arn:aws:iam::{ACCOUNT}:role/search-batch"
    assert answer(form(f"arn:aws:iam::{ACCOUNT}:user/path/bob")).lanes == ("cpu",)


def test_the_first_that_matches_decides():
    assert answer(rest_api(f"arn:aws:sts::{ACCOUNT}:assumed-role/search-admin/x")).admin


def test_another_name_of_a_session_is_no_other_identity():
    one, two = (answer(rest_api(f"{SESSION[:-6]}{name}")) for name in ("i-0001", "i-0002"))
    assert one == two


@pytest.mark.parametrize(
    "arn",
    [
        f"arn:aws:sts::{ACCOUNT}:assumed-role/other/x",
        "arn:aws:sts::999922223333:assumed-role/search-batch/x",
        f"arn:aws:iam::{ACCOUNT}:user/search-batch",
        f"arn:aws:iam::{ACCOUNT}:root",
        "something else",
    ],
)
def test_a_principal_that_is_not_listed_is_refused(arn):
    said = answer(rest_api(arn))
    assert isinstance(said, Refusal)
    assert (said.status, said.code) == (403, "identity_not_mapped")
    assert "`iam.principals`" in said.message


@pytest.mark.parametrize(
    "context",
    [
        b"",
        b"nonsense",
        b"[]",
        b"5",
        b"\xff",
        b" " * 70_000,
        {},
        {"identity": None},
        {"identity": {"userArn": None}},
        {"identity": {"userArn": ["a"]}},
        {"authorizer": {"iam": None}},
        {"authorizer": {"jwt": {"claims": {"userArn": SESSION}}}},
        {"authorizer": {"userArn": SESSION}},
    ],
)
def test_without_iam_auth_nobody_signed(context):
    assert answer(context) is None
