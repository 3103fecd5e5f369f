"""What a case of `policy test` asks, as facts: judged as the router judges a request. Pure."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from router import wire
from router.classify import Calibration, Judge, judge_by
from router.errors import Refusal
from router.features import read

Messages = Sequence[Mapping[str, Any]]


def case_judge(learnt: Calibration | None = None) -> Callable[[Messages], Mapping[str, Any]]:
    """Return what judges messages, as policies.cases asks for it; `learnt` corrects it.

    It raises ValueError, without a word of what is asked, for what the API would answer 400.
    """

    @lru_cache(maxsize=1)
    def judge() -> Judge:
        return judge_by(calibration=learnt)  # read when the first case has a prompt

    def judged(messages: Messages) -> Mapping[str, Any]:
        body = json.dumps({"model": "auto", "messages": messages}).encode()
        try:
            request = wire.parse_chat(body, to_send=False)
        except Refusal as refusal:
            raise ValueError(refusal.message) from None
        reading = read(request.body, request.sent_bytes)
        found, features = judge()(reading), reading.features
        labels, acceptable = (learnt.counts if learnt else {}).get(found.task, (0, 0))
        return {
            "task": found.task,
            "tier": found.tier,
            "complexity": found.complexity,
            "p_small": found.p_small,
            "language": found.language,
            "tokens_in": features.tokens_in,
            "tokens_in_bound": features.tokens_bound,
            "tokens_out": found.tokens_out,
            "needs": features.needs,
            "labels": labels,
            "labels_acceptable": acceptable,
        }

    return judged
