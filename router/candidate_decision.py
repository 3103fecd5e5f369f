"""What a candidate would have decided of a request, from the same facts at the same loads. Pure."""

from typing import Final

from backends.cost import NANO
from router.decide import Attempt, Decision, decide
from router.receipt import Json
from router.world import World

OUTCOMES: Final = (
    "same",
    "other_fleet",
    "only_in_force_serves",
    "only_candidate_serves",
    "both_refuse",
)


def compared(candidate: World, decision: Decision) -> Json:
    """Return what the candidate decides, beside what was decided; unknown is None."""
    other = decide(candidate, decision.facts, decision.loads, stream=decision.plan.stream)
    ours, theirs = _first(decision), _first(other)
    rule, policy = other.verdict.rule, candidate.policy
    usd, usd_in_force = _usd(theirs), _usd(ours)
    more = None if usd is None or usd_in_force is None else usd - usd_in_force
    return {
        "policy": {"name": policy.name, "hash": policy.hash},
        "rule": None if rule is None else rule.id,
        "fleet": None if theirs is None else theirs.candidate.fleet,
        "outcome": _outcome(ours, theirs),
        "usd": usd,
        "usd_in_force": usd_in_force,
        "usd_more": more,
    }


def _first(decision: Decision) -> Attempt | None:
    return decision.plan.attempts[0] if decision.plan.attempts else None


def _outcome(ours: Attempt | None, theirs: Attempt | None) -> str:
    same, other, only_ours, only_theirs, none = OUTCOMES
    if ours is None:
        return none if theirs is None else only_theirs
    if theirs is None:
        return only_ours
    return same if ours.candidate.fleet == theirs.candidate.fleet else other


def _usd(attempt: Attempt | None) -> float | None:
    """Return what an attempt is expected to be charged at its fleet's rate card."""
    if attempt is None or attempt.candidate.on.card is None:
        return None
    facts = attempt.candidate.facts
    tokens_out = min(facts.tokens_out, attempt.max_tokens) * facts.n
    return attempt.candidate.on.card.charge_nano(facts.tokens_in, 0, tokens_out) / NANO
