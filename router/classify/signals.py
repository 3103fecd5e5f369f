"""Features -> signals: named numbers, 0 when silent, that weights can be put on.

Counts are capped or put on a logarithm, so that no length of text decides alone.
"""

from math import log2
from typing import Final

from router.features import Features
from router.lexicon import LIGHT

SHORT_QUESTION: Final = 24  # tokens
SHORT_LOOKUP: Final = 40
PLAIN_QUESTION: Final = 12  # up to so many tokens a number or two make no word problem
LONG_OUTPUT: Final = 40
UNCLEAR: Final = 40  # tokens of instruction without a topic that count in full
_TOPICS: Final = LIGHT | {"lookup", "suggest", "close", "continue"}


def signals_of(features: Features) -> dict[str, float]:
    """Return the signals that speak."""
    signals = dict(features.cues)
    size = features.instruction_tokens
    asks = features.questions > 0 or "lookup" in signals
    if asks and size < SHORT_QUESTION:
        signals["short_question"] = 1 - size / SHORT_QUESTION
    if features.system_cues:
        signals |= _of_system(dict(features.system_cues))
    elif _TOPICS.isdisjoint(signals):
        signals["unclear"] = min(size / UNCLEAR, 1.0)
    if "lookup" in signals:
        signals["lookup"] *= max(0.0, 1 - size / SHORT_LOOKUP)
    if size:
        signals["instruction"] = log2(1 + size / 16)
    else:
        signals["silent"] = 1.0
    if features.material_tokens:
        signals["material"] = min(log2(1 + features.material_tokens / 64), 2.0)
    if features.numbers:
        signals["numbers"] = min(features.numbers, 4) / 2
        if "quantity" in signals and size > PLAIN_QUESTION:
            signals["word_problem"] = min(signals["quantity"], 1.0) * signals["numbers"] / 2
    if features.math_signs:
        signals["math_signs"] = log2(1 + min(features.math_signs, 15))
    if features.code_signs:
        signals["code_signs"] = log2(1 + min(features.code_signs, 15))
    if features.long_words:
        signals["long_words"] = min(features.long_words, 6) / 3
    if features.tokens_asked and features.tokens_asked > LONG_OUTPUT:
        signals["long_output"] = log2(features.tokens_asked / LONG_OUTPUT)
    if features.turns > 1:
        signals["turns"] = log2(features.turns)
    if features.tools:
        signals["tools"] = 1.0
    if features.tool_results:
        signals["tool_results"] = min(features.tool_results, 2)
    if features.images:
        signals["images"] = 1.0
    return signals


def _of_system(cues: dict[str, float]) -> dict[str, float]:
    light = max((cues[name] for name in LIGHT & cues.keys()), default=0.0)
    found = {"system_light": light, "system_brief": cues.get("brief", 0.0), "system_agent": cues.get("agent", 0.0)}
    return {name: strength for name, strength in found.items() if strength}
