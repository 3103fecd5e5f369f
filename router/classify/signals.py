"""Features -> signals: named numbers that weights can be put on; what is silent is left out.

The cues of router.features.lexicon are signals under their own names. Counts are capped or put on a
logarithm, so that no length of text decides alone.
"""

from collections.abc import Mapping
from math import log2
from typing import Final

from router.features import Features
from router.features.lexicon import HEAVY, LIGHT

SHORT_QUESTION: Final = 24  # tokens from which on a question is not short
SHORT_LOOKUP: Final = 40  # likewise for `who is`, which says less the more stands beside it
PLAIN_QUESTION: Final = 12  # tokens up to which a number or two make no word problem
UNCLEAR: Final = 40  # tokens of instruction without a topic that count in full
INSTRUCTION: Final = 16  # tokens that count as one doubling
MATERIAL: Final = 64
MATERIAL_MAX: Final = 2.0
LONG_OUTPUT: Final = 40  # tokens
BRIEF: Final = 32  # tokens of an instruction that is not brief
SYSTEM_SHARE: Final = 0.8  # of a system prompt's cue in naming the task
USUAL_TOKENS: Final = 64
STORY_LINES: Final = 3  # up to which a word problem is told, not listed
FORMULA: Final = 1  # signs or numbers up to which there is none
_TOPICS: Final = LIGHT | {"lookup", "suggest", "close", "continue"}


def signals_of(features: Features) -> dict[str, float]:
    """Return the signals that speak."""
    cues = dict(features.cues)
    found = cues | _of_topic(features, cues) | _of_form(features, cues) | _of_request(features)
    if "close" in cues:  # `thanks` over a request is a courtesy
        alone = max(0.0, 1 - features.instruction_tokens / SHORT_QUESTION)
        found["close"] = alone * cues["close"] if HEAVY.isdisjoint(cues) else 0.0
    if "code" in cues:
        # A function that tells `whether a word is a palindrome or not` is to be written, not run.
        found["write_code"] = min(cues.get("write", 0.0), cues["code"], 1.0)
        found["classify_code"] = min(cues.get("classify", 0.0), cues["code"], 1.0)
    if "numbers" in found and HEAVY.isdisjoint(cues):
        # Where the system prompt sets a light task, and the user asks for no other, the text is
        # what the task is done to.
        found["numbers"] *= 1 - min(found.get("system_light", 0.0), 1.0)
    return found


def _of_topic(features: Features, cues: Mapping[str, float]) -> dict[str, float]:
    found: dict[str, float] = {}
    size = features.instruction_tokens
    lookup = cues.get("lookup", 0.0)
    if lookup:
        found["lookup"] = lookup * max(0.0, 1 - size / SHORT_LOOKUP)
    if size < SHORT_QUESTION and (lookup or features.questions):
        found["short_question"] = 1 - size / SHORT_QUESTION
    if features.system_cues:
        system = dict(features.system_cues)
        # Where it doesn't bind every message to a light task, a user may ask for something else.
        bound = "brief" in system or HEAVY.isdisjoint(cues)
        light = [system[name] for name in LIGHT & system.keys()]
        found["system_light"] = max(light, default=0.0) if bound else 0.0
        found["system_brief"] = system.get("brief", 0.0)
        found["system_agent"] = system.get("agent", 0.0)
    elif _TOPICS.isdisjoint(cues):
        found["unclear"] = min(size / UNCLEAR, 1.0)
    return found


def _of_form(features: Features, cues: Mapping[str, float]) -> dict[str, float]:
    found: dict[str, float] = {}
    size = features.instruction_tokens
    if size:
        found["instruction"] = log2(1 + size / INSTRUCTION)
    else:
        found["silent"] = 1.0
    if features.material_tokens:
        found["material"] = min(log2(1 + features.material_tokens / MATERIAL), MATERIAL_MAX)
    if features.numbers:
        found["numbers"] = numbers = min(features.numbers, 4) / 2
        if size > PLAIN_QUESTION and "quantity" in cues:
            found["word_problem"] = min(cues["quantity"], 1.0) * numbers / 2
    if features.math_signs:
        found["math_signs"] = log2(1 + min(features.math_signs, 15))
    if features.code_signs:
        found["code_signs"] = log2(1 + min(features.code_signs, 15))
    if features.long_words:
        found["long_words"] = min(features.long_words, 6) / 3
    return found


def _of_request(features: Features) -> dict[str, float]:
    found: dict[str, float] = {}
    if features.tokens_asked and features.tokens_asked > LONG_OUTPUT:
        found["long_output"] = log2(features.tokens_asked / LONG_OUTPUT)
    if features.turns > 1:
        found["turns"] = log2(features.turns)
    if features.tool_results:
        found["tool_results"] = min(features.tool_results, 2.0)
    if features.tools:
        found["tools"] = 1.0
    if features.images:
        found["images"] = 1.0
    return found


def task_signals_of(features: Features, signals: Mapping[str, float]) -> dict[str, float]:
    """Return what tells the task: the signals, and the system prompt's where it sets one."""
    found = dict(signals)
    found["brevity"] = max(0.0, 1 - features.instruction_tokens / BRIEF)
    if "json" in features.needs:
        found["json_asked"] = 1.0
    if features.carried:
        found["carried"] = features.carried
    for name, strength in features.system_cues:
        if name in LIGHT:
            found[name] = found.get(name, 0.0) + SYSTEM_SHARE * strength
    return found


def spoken(features: Features) -> dict[str, float]:
    """Return all signals that say something of how much a stronger model gains."""
    return gain_signals_of(features, signals_of(features))


def gain_signals_of(features: Features, signals: Mapping[str, float]) -> dict[str, float]:
    """Return what tells how much a stronger model gains: the signals, and size in its contexts.

    A longer question is a harder one among word problems and exam questions; among formulas and
    programs it is often the shorter ones that only the stronger model solves.
    """
    size = log2((features.tokens_in + 1) / USUAL_TOKENS)
    found = dict(signals)
    found["size"] = size
    found["lines"] = log2(features.lines)
    found["questions"] = min(features.questions, 4) / 2
    if features.math_signs > FORMULA:
        found["size_of_math"] = size
    if features.code_signs:
        found["size_of_code"] = size
    if features.options:
        found["size_of_choice"] = size
    story = "word_problem" in signals and features.lines <= STORY_LINES and not features.options
    if story and features.math_signs <= FORMULA:
        found["size_of_story"] = size
    return found
