"""Why a request got no answer, as the status and the reasons that its caller is told. Pure.

* a verdict without candidates   400 too long or asks for what no model has; 402 over the caller's
                                 cap; 403 the key or the policy forbids it; 503 + Retry-After else
* attempts that all failed       the upstream's own 4xx; 400 too long; 503 all overloaded; 504 out
                                 of time; 502 else
"""

import math

from backends.base import ContextExceeded, Overloaded, Rejected, TimedOut
from router.decide import Decision
from router.errors import Refusal
from router.flow import Failed

PASSING = frozenset({"open_circuit", "cold", "draining", "slo_ttft", "slo_e2e"})
OVER_CAP = frozenset({"max_usd", "unknown_cost"})


def no_candidate(decision: Decision, retry_after_s: float | None) -> Refusal:
    """Return the answer to a request that no fleet may serve."""
    verdict = decision.verdict
    reasons = [
        {"fleet": r.candidate.fleet, "code": r.code, "detail": r.detail}
        for r in verdict.refused
        if r.code != "not_in_use"
    ]
    codes = {reason["code"] for reason in reasons}
    told = "; ".join(f"{r['fleet']}: {r['detail']}" for r in reasons)
    extra: dict[str, object] = {"reasons": reasons}
    if verdict.rule is None:
        return Refusal(403, "no rule of the policy matches this request", "no_rule")
    rule = f"rule `{verdict.rule.id}`"
    if not reasons:
        said = f"{rule} uses no fleet that this request may go to"
        return Refusal(403, said, "key_not_allowed", extra=extra)
    if codes == {"context"}:
        said = f"the request is longer than every context: {told}"
        return Refusal(400, said, "context_length_exceeded", "messages", extra=extra)
    if codes <= {"context", "needs"}:
        said = f"no fleet of {rule} can do what the request asks for: {told}"
        return Refusal(400, said, "unsupported", extra=extra)
    if codes == {"not_allowed"}:
        return Refusal(403, f"this key may not do that: {told}", "key_not_allowed", extra=extra)
    if codes & OVER_CAP and not codes & PASSING:
        said = f"no fleet of {rule} stays under `x-sluice-max-usd`: {told}"
        return Refusal(402, said, "max_usd_exceeded", "x-sluice-max-usd", extra=extra)
    said = f"no fleet of {rule} is feasible: {told}"
    if not codes & PASSING:
        return Refusal(403, said, "policy_refused", extra=extra)
    return Refusal(503, said, "no_fleet", headers=_retry_after(retry_after_s), extra=extra)


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
    errors = [failure.error for failure in failed.failures]
    told = "; ".join(f"{r['fleet']}: {r['code']} ({r['detail']})" for r in reasons)
    extra: dict[str, object] = {"reasons": reasons}
    if errors and all(isinstance(error, ContextExceeded) for error in errors):
        said = f"the request is longer than every context that was tried: {told}"
        return Refusal(400, said, "context_length_exceeded", "messages", extra=extra)
    if failed.out_of_time or (errors and all(isinstance(error, TimedOut) for error in errors)):
        said = f"no fleet answered in time: {told}"
        return Refusal(504, said, "upstream_timed_out", extra=extra)
    if errors and all(isinstance(error, Overloaded) for error in errors):
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
