"""What is known of a request before it is sent, gathered from body, key and headers."""

from policies.model import Facts
from router.classify import Judgement
from router.features import Features
from router.identity import Key
from router.wire import ChatRequest, Hints


def facts_of(
    request: ChatRequest,
    features: Features,
    judged: Judgement,
    key: Key,
    hints: Hints,
    at: str,
    counted: tuple[int, int] = (0, 0),
    spread: float | None = None,
) -> Facts:
    """Put the facts together. Tags of the key win; a request may add those the key allows.

    `counted`: labels of this task, and how many of them were acceptable. `spread`: `Facts.spread`.
    """
    tags = key.tags
    if hints.tags:
        added = {k: v for k, v in hints.tags.items() if k not in tags}
        tags = {**tags, **added}
    return Facts(
        at=at,
        tenant=key.tenant,
        team=key.team,
        key=key.id,
        tags=tags,
        task=judged.task,
        tier=judged.tier,
        complexity=judged.complexity,
        p_small=judged.p_small,
        language=judged.language,
        tokens_in=features.tokens_in,
        tokens_out=judged.tokens_out,
        tokens_in_bound=features.tokens_bound,
        max_tokens=request.max_tokens,
        n=request.n,
        needs=features.needs,
        service_class=hints.service_class,
        requested_model=request.model,
        max_usd=hints.max_usd,
        slo_ttft_ms=hints.slo_ttft_ms,
        may=key.may,
        lanes=key.lanes,
        models=key.models,
        labels=counted[0],
        labels_acceptable=counted[1],
        spread=spread,
    )
