"""The whole decision of one request as one JSON value: same facts + snapshot = same bytes.

``decision_part`` is what can be recomputed from facts and loads; the rest says what came of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

import orjson

from backends.load import Load
from policies.model import Facts
from router.decide import Decision
from router.estimate import Estimate
from router.world import World

Json = dict[str, Any]

_FACTS = frozenset(f.name for f in fields(Facts))
_NEEDED_FACTS = [
    f.name for f in fields(Facts) if f.default is MISSING and f.default_factory is MISSING
]
_LOAD = frozenset(f.name for f in fields(Load))
RECOMPUTED = ("rule", "minimize", "candidates", "plan")


@dataclass(slots=True)
class Outcome:
    """What came of a decision, filled in as it happens. `candidate`: what another policy would have
    decided.
    """

    edits: Sequence[str] = ()
    attempts: list[Json] = field(default_factory=list)
    reservation: Json = field(default_factory=dict)
    charge: Json = field(default_factory=dict)
    candidate: Json | None = None


def receipt(request_id: str, world: World, decision: Decision, outcome: Outcome) -> bytes:
    """Return the receipt's canonical bytes, without a line end."""
    decided = decision_part(decision)
    return orjson.dumps(
        {
            "id": request_id,
            "at": decision.facts.at,
            "policy": {"name": world.policy.name, "hash": world.policy.hash},
            "catalogue_hash": world.catalogue.hash,
            "prices_version": world.catalogue.prices_version,
            "facts": decision.facts,  # orjson writes a dataclass as its fields, in their order
            "rule": decided["rule"],
            "minimize": decided["minimize"],
            "candidates": decided["candidates"],
            "load": {
                on.fleet.id: load for on, load in zip(world.fleets, decision.loads, strict=True)
            },
            "plan": decided["plan"],
            "waited_ms": decision.waited_ms,
            "edits": outcome.edits,
            "attempts": outcome.attempts,
            "reservation": outcome.reservation,
            "charge": outcome.charge,
            **_beside(world, outcome),
        }
    )


def _beside(world: World, outcome: Outcome) -> Json:
    """Return what stands only in receipts of canaries, and of requests with a candidate."""
    found: Json = {}
    if world.canary_of is not None:
        name, content_hash = world.canary_of
        found["canary"] = {"of": {"name": name, "hash": content_hash}}
    if outcome.candidate is not None:
        found["candidate"] = outcome.candidate
    return found


def decision_part(decision: Decision) -> Json:
    """Return the keys of RECOMPUTED: ranked candidates first, then the refused."""
    verdict = decision.verdict
    relaxed = tuple(f"relaxed:{name}" for name in verdict.relaxed)
    tried = verdict.tried
    for_tried = ("cascade:try", *(relaxed if tried == len(verdict.ranked) else ()))
    candidates = [_candidate(c, for_tried, None) for c in verdict.ranked[:tried]]
    candidates += [_candidate(c, relaxed, None) for c in verdict.ranked[tried:]]
    candidates += [
        _candidate(r.candidate, (), {"code": r.code, "detail": r.detail}) for r in verdict.refused
    ]
    return {
        "rule": verdict.rule.id if verdict.rule else None,
        "minimize": verdict.minimize,
        "candidates": candidates,
        "plan": [attempt.candidate.fleet for attempt in decision.plan.attempts],
    }


def facts_from(value: Mapping[str, Any]) -> Facts:
    """Return the facts of a receipt; raise ValueError saying which field is unknown or missing."""
    unknown = set(value) - _FACTS
    if unknown:
        raise ValueError(f"unknown fact `{min(unknown)}`")
    missing = [name for name in _NEEDED_FACTS if name not in value]
    if missing:
        raise ValueError(f"`facts` lacks {', '.join(f'`{name}`' for name in missing)}")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}
    return Facts(**values)


def load_from(value: Mapping[str, Any]) -> Load:
    """Return one fleet's load of a receipt; raise ValueError saying what is wrong."""
    if not isinstance(value, Mapping):
        raise ValueError("what `load` says of a fleet must be an object")  # noqa: TRY004  (the file is wrong)
    unknown = set(value) - _LOAD
    if unknown:
        raise ValueError(f"unknown field of load `{min(unknown)}`")
    return Load(**value)


def _candidate(c: Estimate, extra_marks: tuple[str, ...], refused: Json | None) -> Json:
    return {
        "fleet": c.fleet,
        "model": c.model,
        "state": c.state,
        "in_flight": c.load.in_flight,
        "ttft_ms": {"p50": c.ttft_p50_ms, "p95": c.ttft_p95_ms},
        "e2e_ms": {"p50": c.e2e_p50_ms, "p95": c.e2e_p95_ms},
        "usd_marginal": c.usd_marginal,
        "usd_average": c.usd_average,
        "usd_router": c.usd_router,
        "quality": c.quality,
        "marks": c.marks + extra_marks,
        "refused": refused,
    }
