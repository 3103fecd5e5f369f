"""Which status and which words a caller gets for which reasons."""

from types import SimpleNamespace

import pytest

from backends.base import (
    AtLimit,
    Broken,
    CircuitOpen,
    ContextExceeded,
    Overloaded,
    Rejected,
    ServerFailed,
    TimedOut,
    Unreachable,
)
from router.flow import Failed, Failure, NotAccepted
from router.refusals import all_failed, no_candidate, rejected


def decision(*codes, rule="r", details=None, tokens_in=100, max_tokens=None):
    refused = [
        SimpleNamespace(
            candidate=SimpleNamespace(fleet=f"f{i}", context_tokens=50 + 50 * i),
            code=code,
            detail=details[i] if details else f"d{i}",
        )
        for i, code in enumerate(codes)
    ]
    rule = SimpleNamespace(id=rule) if rule else None
    facts = SimpleNamespace(tokens_in=tokens_in, max_tokens=max_tokens)
    return SimpleNamespace(verdict=SimpleNamespace(rule=rule, refused=refused), facts=facts)


@pytest.mark.parametrize(
    ("codes", "status", "code"),
    [
        ((), 403, "key_not_allowed"),
        (("not_in_use", "not_in_use"), 403, "key_not_allowed"),
        (("not_allowed", "not_in_use"), 403, "key_not_allowed"),
        (("context", "context"), 400, "context_length_exceeded"),
        (("context", "needs"), 400, "unsupported"),
        (("needs",), 400, "unsupported"),
        (("max_usd", "needs"), 402, "max_usd_exceeded"),
        (("unknown_cost",), 402, "max_usd_exceeded"),
        (("residency", "quality_floor"), 403, "policy_refused"),
        (("open_circuit", "context"), 503, "no_fleet"),
        (("slo_ttft",), 503, "no_fleet"),
        (("max_usd", "open_circuit"), 503, "no_fleet"),
        (("cold", "draining"), 503, "no_fleet"),
        (("at_limit", "quality_floor"), 503, "no_fleet"),
    ],
)
def test_a_request_that_no_fleet_may_serve(codes, status, code):
    refusal = no_candidate(decision(*codes), 4.2)
    assert (refusal.status, refusal.code) == (status, code)
    told = [reason["code"] for reason in refusal.extra.get("reasons", [])]
    assert told == [code for code in codes if code != "not_in_use"]
    assert (refusal.headers == ((b"retry-after", b"5"),)) == (status == 503)


@pytest.mark.parametrize(
    ("tokens_in", "max_tokens", "param"),
    [
        (99, 100_000, "max_tokens"),
        (99, None, "messages"),  # no limit of the caller's
        (100, 100_000, "messages"),  # no room for a single token of an answer
        (200, 1, "messages"),
    ],
)
def test_too_long_a_request_blames_what_is_too_long(tokens_in, max_tokens, param):
    found = decision("context", "context", tokens_in=tokens_in, max_tokens=max_tokens)
    refusal = no_candidate(found, None)
    assert (refusal.status, refusal.code) == (400, "context_length_exceeded")
    assert refusal.param == param
    assert ("`max_tokens`" in refusal.message) == (param == "max_tokens")


def test_a_reason_that_several_fleets_share_is_told_once():
    same, other = "the key lacks the right `best`", "too weak"
    codes = ("not_allowed", "quality_floor", "not_allowed")
    refusal = no_candidate(decision(*codes, details=(same, other, same)), None)
    assert refusal.message.endswith(f": f0, f2: {same}; f1: {other}")
    assert [reason["fleet"] for reason in refusal.extra["reasons"]] == ["f0", "f1", "f2"]


def test_a_request_that_no_rule_matches():
    refusal = no_candidate(decision("no_rule", rule=None), None)
    assert (refusal.status, refusal.code) == (403, "no_rule")


def test_a_wait_that_nobody_knows_is_a_second():
    assert no_candidate(decision("slo_e2e"), None).headers == ((b"retry-after", b"1"),)


def failed(*errors, out_of_time=False):
    attempt = SimpleNamespace(candidate=SimpleNamespace(fleet="f"))
    return Failed(tuple(Failure(attempt, error, 1.0) for error in errors), out_of_time)


@pytest.mark.parametrize(
    ("errors", "out_of_time", "status", "code"),
    [
        ([Unreachable("x"), ServerFailed("x")], False, 502, "upstream_failed"),
        ([Broken("x", received=True)], False, 502, "upstream_failed"),
        ([ContextExceeded("x"), ContextExceeded("x")], False, 400, "context_length_exceeded"),
        ([ContextExceeded("x"), Unreachable("x")], False, 502, "upstream_failed"),
        ([TimedOut("x")], False, 504, "upstream_timed_out"),
        ([Unreachable("x")], True, 504, "upstream_timed_out"),
        ([Overloaded("x", retry_after_s=9), Overloaded("x")], False, 503, "overloaded"),
        ([Overloaded("x"), TimedOut("x")], False, 502, "upstream_failed"),
        ([NotAccepted("json_valid"), Overloaded("x")], False, 503, "overloaded"),
        ([AtLimit("x"), Overloaded("x", retry_after_s=9)], False, 503, "overloaded"),
        ([AtLimit("x"), Unreachable("x")], False, 502, "upstream_failed"),
        ([CircuitOpen("x"), CircuitOpen("x")], False, 503, "no_fleet"),
        ([NotAccepted("json_valid"), CircuitOpen("x")], False, 503, "no_fleet"),
        ([CircuitOpen("x"), AtLimit("x")], False, 503, "overloaded"),
        ([CircuitOpen("x"), Unreachable("x")], False, 502, "upstream_failed"),
        ([CircuitOpen("x")], True, 504, "upstream_timed_out"),
        ([NotAccepted("json_valid"), TimedOut("x")], False, 504, "upstream_timed_out"),
        ([NotAccepted("json_valid")], True, 504, "upstream_timed_out"),
        ([NotAccepted("json_valid")], False, 502, "upstream_failed"),
    ],
)
def test_attempts_that_all_failed(errors, out_of_time, status, code):
    refusal = all_failed(failed(*errors, out_of_time=out_of_time))
    assert (refusal.status, refusal.code) == (status, code)
    assert len(refusal.extra["reasons"]) == len(errors)
    assert bool(refusal.headers) == (status == 503)


def test_an_answer_that_was_not_kept_is_told_with_the_test_that_it_failed():
    refusal = all_failed(failed(NotAccepted("json_valid"), Unreachable("refused")))
    assert [reason["code"] for reason in refusal.extra["reasons"]] == [
        "not_accepted",
        "unreachable",
    ]
    assert refusal.message.startswith("no fleet answered: f: not_accepted (json_valid); ")


def test_only_the_fleets_own_refusal_of_the_request_is_relayed():
    wrong = Rejected("400", status=400, body=b"{}")
    assert rejected(failed(Unreachable("x"), wrong)) is wrong
    assert rejected(failed(Unreachable("x"))) is None
    assert rejected(failed()) is None
