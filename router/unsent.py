"""A request that no fleet was asked: it is counted, and leaves its receipt."""

from router.beside_decision import decided_beside
from router.decide import Decision
from router.receipt import Outcome, receipt
from router.runtime import Generation, Runtime


def record_refusal(
    runtime: Runtime,
    request_id: str,
    generation: Generation,
    decision: Decision,
    outcome: str = "refused",
) -> None:
    rule, metrics = decision.verdict.rule, runtime.metrics
    metrics.requests.labels(outcome, rule.id if rule else "", "").inc()
    came = Outcome(candidate=decided_beside(generation.world, decision, metrics))
    line = receipt(request_id, generation.world, decision, came)
    runtime.record(decision.facts.at, line)
