"""What a finished request leaves in the ledger: an entry for each attempt that is charged. Pure."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from backends.cost import NANO
from backends.sse import Usage
from policies.model import Facts
from router.charge import usage_nano
from router.decide import Attempt, Decision
from router.ledger.entry import Entry
from router.world import World

RECEIPT_DIGITS: Final = 16
CHARGE, EXPIRED = "charge", "expired"
LOST: Final = "lost"
SERVED: Final = frozenset({"ok", "client_closed"})  # outcomes of an answer that was wanted
UNKNOWN: Final = Usage(None, None)


@dataclass(frozen=True, slots=True)
class Spent:
    """An attempt that is over. `nano` None: nobody knows its price. `service_ms`: of `e2e_ms`, on a
    replica; None: the engine doesn't tell, and all of it counts. `beside_ms` of it another attempt
    ran, which ended later: the router is paid for that time once.
    """

    attempt: Attempt
    outcome: str
    usage: Usage
    nano: int | None
    estimated: bool
    e2e_ms: float
    service_ms: float | None = None
    beside_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Finished:
    """A request and what came of it. `at`, `reserved_at` are RFC 3339."""

    request_id: str
    world: World
    decision: Decision
    spent: Sequence[Spent]
    at: str
    reserved_at: str
    reserved_nano: int
    receipt: bytes


def entries_of(finished: Finished) -> list[Entry]:
    """Return the entries, in the order of the attempts; the last bears what belongs to all."""
    world, last = finished.world, len(finished.spent) - 1
    open_ms = sum(spent.e2e_ms - spent.beside_ms for spent in finished.spent)
    nano_router = round(world.catalogue.router.usd(open_ms) * NANO)
    return [
        _entry(finished, n, spent, nano_router if n == last else 0, last=n == last)
        for n, spent in enumerate(finished.spent)
    ]


def worst_entry(request_id: str, world: World, decision: Decision, nano: int, at: str) -> Entry:
    """Return the entry that is written if nobody ever says what came of the request."""
    first = decision.plan.attempts[0]
    spent = Spent(first, LOST, UNKNOWN, nano, estimated=True, e2e_ms=0.0)
    finished = Finished(request_id, world, decision, (spent,), at, at, nano, b"")
    entry = _entry(finished, 0, spent, 0, last=True)
    return replace(entry, kind=EXPIRED, nano_marginal=None, nano_average=None, receipt=None)


def _entry(finished: Finished, n: int, spent: Spent, nano_router: int, *, last: bool) -> Entry:
    decision, world, usage = finished.decision, finished.world, spent.usage
    facts, rule = decision.facts, decision.verdict.rule
    candidate = spent.attempt.candidate
    on = candidate.on
    scale = _scale(spent, facts)
    digest = hashlib.sha256(finished.receipt).hexdigest()[:RECEIPT_DIGITS]
    return Entry(
        request_id=finished.request_id,
        n=n,
        kind=CHARGE,
        at=finished.at,
        period_at=finished.reserved_at,
        key=facts.key,
        tenant=facts.tenant,
        team=facts.team,
        tags=tuple(sorted(facts.tags.items())),
        task=facts.task,
        tier=facts.tier,
        language=facts.language,
        service_class=facts.service_class,
        policy=world.policy.hash,
        rule=rule.id if rule else "",
        model=candidate.model,
        fleet=candidate.fleet,
        instance=on.fleet.instance,
        region=candidate.region,
        outcome=spent.outcome,
        last=last,
        tokens_in=usage.tokens_in,
        tokens_cached=usage.cached,
        tokens_out=usage.tokens_out,
        tokens_reasoning=usage.reasoning,
        nano=spent.nano or 0,
        nano_marginal=_scaled(candidate.usd_marginal, scale),
        nano_average=_scaled(candidate.usd_average, scale),
        nano_baseline=_baseline_nano(world, spent) if last else None,
        nano_router=nano_router,
        service_ms=spent.e2e_ms if spent.service_ms is None else spent.service_ms,
        capacity=int(on.capacity) or None,
        nano_hour=None if on.usd_per_hour is None else round(on.usd_per_hour * NANO),
        estimated=spent.estimated or spent.nano is None,
        emulated=on.fleet.emulated,
        reserved_nano=finished.reserved_nano if last else 0,
        overrun_nano=0,
        receipt=digest if last else None,
    )


def _baseline_nano(world: World, spent: Spent) -> int | None:
    """Return what the baseline would have charged; for a failure, which served nobody, nothing."""
    nano = usage_nano(world.baseline.card, spent.usage)
    return nano if nano is None or spent.outcome in SERVED else 0


def _scale(spent: Spent, facts: Facts) -> float | None:
    """Return what was used over what was expected when it was decided, at the rate card."""
    card = spent.attempt.candidate.on.card
    if card is None or spent.nano is None:
        return None
    expected = min(facts.tokens_out, spent.attempt.max_tokens) * facts.n
    foretold = card.charge_nano(facts.tokens_in, 0, expected)
    return spent.nano / foretold if foretold else None


def _scaled(usd: float | None, scale: float | None) -> int | None:
    return None if usd is None or scale is None else round(usd * scale * NANO)
