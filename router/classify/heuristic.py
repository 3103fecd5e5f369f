"""The first classifier: weighted signals, every one of which can be read and argued with."""

from collections.abc import Mapping
from math import exp
from typing import Final

from router.classify.judgement import Judgement
from router.classify.signals import signals_of
from router.classify.weights import (
    BIAS,
    CARRIED,
    COMPLEXITY,
    COPIES,
    FALLBACK,
    FALLS,
    JSON_ASKED,
    P_SMALL,
    SHORT,
    SYSTEM_SHARE,
    TASK_SIGNS,
    THINKING_TOKENS,
    THRESHOLDS,
    TOKENS_OUT,
)
from router.features import Features
from router.features.lexicon import LIGHT

DECIMALS: Final = 4  # of complexity and p_small: what is recorded is what was compared


def heuristic(features: Features) -> Judgement:
    """Judge by the tables in weights.py."""
    signals = signals_of(features)
    reasons = tuple(
        (name, weight * value)
        for name, value in signals.items()
        if (weight := COMPLEXITY.get(name)) is not None
    )
    log_odds = BIAS + sum(spoken for _, spoken in reasons)
    complexity = round(1 / (1 + exp(-log_odds)), DECIMALS)
    task = _task(features, signals)
    return Judgement(
        task=task,
        complexity=complexity,
        tier="simple" if complexity < THRESHOLDS[features.language] else "heavy",
        p_small=round(_between(P_SMALL[task], _hardness(complexity)), DECIMALS),
        language=features.language,
        tokens_out=_tokens_out(features, task, complexity),
        reasons=reasons,
    )


def _hardness(complexity: float) -> float:
    """Return how far p_small has fallen: with complexity, then to its end, and no further."""
    begins, ends = FALLS
    if complexity <= begins:
        return complexity
    return min(1.0, begins + (complexity - begins) * (1 - begins) / (ends - begins))


def _task(features: Features, signals: Mapping[str, float]) -> str:
    other, floor = FALLBACK
    short, at_most = SHORT
    scores = {
        other: floor,
        "short_answer": at_most * max(0.0, 1 - features.instruction_tokens / short),
        "structured_output": JSON_ASKED * ("json" in features.needs),
        "multi_turn": CARRIED * features.carried,
    }
    for name, value in signals.items():
        for task, weight in TASK_SIGNS.get(name, ()):
            scores[task] = scores.get(task, 0.0) + weight * value
    for name, strength in features.system_cues:
        if name in LIGHT:
            for task, weight in TASK_SIGNS[name]:
                scores[task] = scores.get(task, 0.0) + SYSTEM_SHARE * weight * strength
    return max(scores, key=scores.__getitem__)


def _tokens_out(features: Features, task: str, complexity: float) -> int:
    tokens = _between(TOKENS_OUT[task], complexity**2)  # most of the range is short answers
    if task in COPIES:
        tokens = max(tokens, features.material_tokens)
    if features.tokens_asked is not None:
        tokens = features.tokens_asked
    if "thinking" in features.needs:
        tokens += _between(THINKING_TOKENS, complexity)
    return max(1, round(tokens))


def _between(ends: tuple[float, float], share: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * share
