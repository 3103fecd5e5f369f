"""Why a request got no answer, as the status and the reasons that its caller is told. Pure.

* a verdict without candidates   400 too long or asks for what no model has; 402 over the caller's
                                 cap; 403 the key or the policy forbids it; 503 + Retry-After else
* attempts that all failed       the upstream's own 4xx; 400 too long; 503 all overloaded, or closed
                                 before anything was sent; 504 out of time; 502 else
"""

import math

from backends.base import (
    AtLimit,
    CircuitOpen,
    ContextExceeded,
    Overloaded,
    Rejected,
    TimedOut,
)
from router.decide import Decision
from router.errors import Refusal
from router.flow import Failed, NotAccepted

PASSING = frozenset({"open_circuit", "cold", "draining", "at_limit", "slo_ttft", "slo_e2e"})
OVER_CAP = frozenset({"max_usd", "unknown_cost"})
TOO_LONG = frozenset({"context"})
RETRY_LATER = 503
NO_FLEET = "no_fleet"  # feasible now: one of the reasons is in PASSING


def no_candidate(decision: Decision, retry_after_s: float | None) -> Refusal:
    """Return the answer to a request that no fleet may serve, with every fleet's reason."""
    verdict = decision.verdict
    if verdict.rule is None:
        return Refusal(403, "no rule of the policy matches this request", "no_rule")
    reasons = _reasons(decision)
    codes = frozenset(reason["code"] for reason in reasons)
    fleets_of: dict[str, list[str]] = {}
    for reason in reasons:
        fleets_of.setdefault(reason["detail"], []).append(reason["fleet"])
    told = "; ".join(f"{', '.join(fleets)}: {detail}" for detail, fleets in fleets_of.items())
    status, code, param, said = _verdict(codes)
    if codes == TOO_LONG and _fits_but_for_the_limit(decision):
        param, said = "max_tokens", "prompt and `max_tokens` together are longer than every context"
    rule = f"rule `{verdict.rule.id}`"
    headers = _retry_after(retry_after_s) if status == RETRY_LATER else ()
    message = f"{said.format(rule=rule)}{': ' if told else ''}{told}"
    return Refusal(status, message, code, param, headers, {"reasons": reasons})


def overloaded(decision: Decision, said: str, retry_after_s: float) -> Refusal:
    """Return the answer to a request that found no place on a full fleet."""
    extra: dict[str, object] = {"reasons": _reasons(decision)}
    told = f"every fleet that may serve is at its limit: {said}"
    return Refusal(503, told, "overloaded", headers=_retry_after(retry_after_s), extra=extra)


def shutting_down() -> Refusal:
    headers = (*_retry_after(None), (b"connection", b"close"))
    return Refusal(503, "this router shuts down: try again", "shutting_down", headers=headers)


def _reasons(decision: Decision) -> list[dict[str, str]]:
    return [
        {"fleet": r.candidate.fleet, "code": r.code, "detail": r.detail}
        for r in decision.verdict.refused
        if r.code != "not_in_use"
    ]


def _verdict(codes: frozenset[str]) -> tuple[int, str, str | None, str]:
    """Return status, code, field and words for the reasons that fleets were refused for."""
    for fits, status, code, param, said in (
        (
            not codes,
            403,
            "key_not_allowed",
            None,
            "{rule} uses no fleet that the request may go to",
        ),
        (codes == {"not_allowed"}, 403, "key_not_allowed", None, "this key may not do that"),
        (
            codes == TOO_LONG,
            400,
            "context_length_exceeded",
            "messages",
            "the request is longer than every context",
        ),
        (
            codes <= {"context", "needs"},
            400,
            "unsupported",
            None,
            "no fleet of {rule} can do what the request asks for",
        ),
        (
            bool(codes & OVER_CAP) and not codes & PASSING,
            402,
            "max_usd_exceeded",
            "x-sluice-max-usd",
            "no fleet of {rule} stays under `x-sluice-max-usd`",
        ),
        (not codes & PASSING, 403, "policy_refused", None, "no fleet of {rule} is feasible"),
    ):
        if fits:
            return status, code, param, said
    return RETRY_LATER, NO_FLEET, None, "no fleet of {rule} is feasible now"


def _fits_but_for_the_limit(decision: Decision) -> bool:
    """Tell whether the prompt alone has room somewhere: then the caller's limit is at fault."""
    if decision.facts.max_tokens is None:
        return False
    rooms = [r.candidate.context_tokens for r in decision.verdict.refused if r.code in TOO_LONG]
    return decision.facts.tokens_in < max(rooms)


def all_failed(failed: Failed) -> Refusal:
    """Return the answer to a request whose attempts failed, every one with its reason."""
    reasons: list[dict[str, object]] = [
        {
            "fleet": failure.attempt.candidate.fleet,
            "code": failure.error.code,
            "detail": failure.error.detail,
        }
        for failure in failed.failures
    ]
    # An answer that was not kept says nothing of why nobody else gave one.
    found = [failure.error for failure in failed.failures]
    # Nor does a circuit that others opened while this request waited.
    errors = [error for error in found if not isinstance(error, NotAccepted)]
    closed = bool(errors) and all(isinstance(error, CircuitOpen) for error in errors)
    errors = [error for error in errors if not isinstance(error, CircuitOpen)] or errors
    told = "; ".join(f"{r['fleet']}: {r['code']} ({r['detail']})" for r in reasons)
    extra: dict[str, object] = {"reasons": reasons}
    if closed and not failed.out_of_time:  # as if it were decided a moment later
        said = f"no fleet is feasible any more: {told}"
        return Refusal(503, said, "no_fleet", headers=_retry_after(None), extra=extra)
    if errors and all(isinstance(error, ContextExceeded) for error in errors):
        said = f"the request is longer than every context that was tried: {told}"
        return Refusal(400, said, "context_length_exceeded", "messages", extra=extra)
    if failed.out_of_time or (errors and all(isinstance(error, TimedOut) for error in errors)):
        said = f"no fleet answered in time: {told}"
        return Refusal(504, said, "upstream_timed_out", extra=extra)
    if errors and all(isinstance(error, Overloaded | AtLimit) for error in errors):
        waits = [error.retry_after_s for error in errors if error.retry_after_s is not None]
        wait_s = min(waits) if waits else None
        said = f"every fleet is overloaded: {told}"
        return Refusal(503, said, "overloaded", headers=_retry_after(wait_s), extra=extra)
    return Refusal(502, f"no fleet answered: {told}", "upstream_failed", extra=extra)


def rejected(failed: Failed) -> Rejected | None:
    """Return the upstream's refusal of the request itself, which is relayed as it is."""
    last = failed.failures[-1].error if failed.failures else None
    return last if isinstance(last, Rejected) else None


def _retry_after(seconds: float | None) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"retry-after", b"%d" % max(1, math.ceil(seconds or 1.0))),)
