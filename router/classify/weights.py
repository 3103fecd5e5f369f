"""The heuristic's tables: what each signal (see signals.py) counts for.

COMPLEXITY, BIAS: log-odds of `heavy` per unit of signal, from one logistic regression (L2 of 1;
only what small models do well may lower it) over public prompts labelled by their kind of task:
banking77, BELLE eval, self-instruct, BFCL multi-turn, the benchmarks of LLMRouter and ZeroEval,
each source and class counting as 40 prompts at most; our own tests/data/requests.jsonl, its
Chinese in both scripts; and the even half of tests/data/parity.jsonl. The same weights serve every
language: what is said in another script is the lexicon's affair. No small model was run on these
prompts.

THRESHOLDS: where `heavy` begins. Set for few heavy requests on the small model, not for accuracy:
unsure is heavy.

P_SMALL, TOKENS_OUT: assumed, until calibrated on outcomes. FALLS: seen in
outcomes of models of 7 to 70 billion parameters on 15 public benchmarks (LLMRouter, ZeroEval):
beyond its end the stronger model gains no more on harder prompts, because it fails there too.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

BIAS: Final = -2.27

COMPLEXITY: Final[Mapping[str, float]] = MappingProxyType(
    {
        # cues: what small models do badly
        "agent": 1.97,
        "reason": 1.83,
        "write": 1.60,
        "code": 1.53,
        "plan": 1.75,
        "math": 1.51,
        "document": 1.14,
        "expert": 1.12,
        "debug": 1.13,
        "quantity": 0.85,
        "explain": 0.75,
        "prove": 0.18,
        "create": 0.68,
        # cues: how much is asked for
        "continue": 1.17,
        "depth": 0.89,
        "steps": 0.55,
        "bound": 0.45,
        # cues: what they do well
        "classify": -1.80,
        "translate": -1.02,
        "sentiment": -1.02,
        "close": -0.78,
        "lookup": -0.78,
        "rewrite": -0.70,
        "structure": -0.72,
        "extract": -0.48,
        "summarize": -0.41,
        "moderate": -0.28,
        "short_question": -1.36,
        # the system prompt
        "system_light": -0.73,
        "system_brief": -0.76,
        "system_agent": 0.29,
        # form and size
        "word_problem": 1.45,
        "numbers": 1.25,
        "turns": 1.16,
        "math_signs": 0.82,
        "code_signs": 0.69,
        "unclear": 0.57,
        "long_words": 0.56,
        "material": 0.43,
        "instruction": 0.29,
        "tool_results": 0.32,
        "long_output": 0.21,
        # assumed: no request of the fit had any of these
        "silent": 2.5,
        "images": 1.0,
        "tools": 0.6,
    }
)

THRESHOLDS: Final[Mapping[str, float]] = MappingProxyType(
    {
        "en": 0.24,
        "zh-Hans": 0.24,
        "zh-Hant": 0.24,
        "mixed": 0.22,  # below both, so that a sentence in the other language can't lower the tier
        "other": 0.0,  # its cues can't be read: never simple
    }
)

TASK_SIGNS: Final[Mapping[str, tuple[tuple[str, float], ...]]] = MappingProxyType(
    {  # signal -> what it says for a task, per unit; the task with the highest sum is named
        "sentiment": (("sentiment", 1.3),),
        "moderate": (("moderation", 1.3),),
        "translate": (("translation", 1.3),),
        "classify": (("classification", 1.1),),
        "rewrite": (("rewriting", 1.0),),
        "summarize": (("summarization", 1.0),),
        "extract": (("extraction", 0.95),),
        "structure": (("structured_output", 0.7),),
        "lookup": (("short_answer", 0.35),),
        "short_question": (("short_answer", 0.55),),
        "suggest": (("short_answer", 0.3),),
        "close": (("short_answer", 0.5),),
        "code": (("code", 0.8),),
        "code_signs": (("code", 0.5),),
        "debug": (("code", 0.6),),
        "math": (("math", 0.7),),
        "word_problem": (("math", 1.0),),
        "prove": (("math", 0.6),),
        "math_signs": (("math", 0.4),),
        "numbers": (("math", 0.2),),
        "plan": (("planning", 0.85),),
        "agent": (("agentic", 0.7),),
        "tools": (("agentic", 1.0),),
        "tool_results": (("agentic", 1.0),),
        "system_agent": (("agentic", 0.7),),
        "create": (("creative", 0.75),),
        "write": (("creative", 0.4),),
        "document": (("creative", 0.3),),
        "reason": (("reasoning", 0.8),),
        "explain": (("reasoning", 0.35),),
        "expert": (("reasoning", 0.6),),
        "unclear": (("reasoning", 0.35),),
        "turns": (("multi_turn", 0.35),),
        "continue": (("multi_turn", 0.6),),
    }
)
SYSTEM_SHARE: Final = 0.8  # of a system prompt's cue in naming the task
CARRIED: Final = 0.3  # for multi_turn, where all of the history speaks
SHORT: Final = (32, 0.5)  # tokens, and for short_answer at 0 tokens, 0 at so many
JSON_ASKED: Final = 0.5  # for structured_output
FALLBACK: Final = ("other", 0.2)

FALLS: Final = (
    0.3,
    0.45,
)  # complexity at which p_small begins to fall faster, and at which it ends
P_SMALL: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {  # assumed: at complexity 0, at 1
        "classification": (0.98, 0.60),
        "sentiment": (0.98, 0.60),
        "moderation": (0.96, 0.50),
        "translation": (0.97, 0.50),
        "extraction": (0.97, 0.45),
        "short_answer": (0.96, 0.35),
        "rewriting": (0.95, 0.40),
        "summarization": (0.95, 0.40),
        "structured_output": (0.95, 0.35),
        "creative": (0.90, 0.30),
        "multi_turn": (0.90, 0.20),
        "planning": (0.85, 0.15),
        "reasoning": (0.85, 0.10),
        "agentic": (0.80, 0.10),
        "code": (0.85, 0.12),
        "math": (0.85, 0.10),
        "other": (0.85, 0.15),
    }
)

TOKENS_OUT: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {  # assumed: at complexity 0, at 1
        "classification": (4, 500),
        "sentiment": (3, 500),
        "moderation": (4, 800),
        "translation": (15, 400),
        "extraction": (12, 500),
        "short_answer": (25, 400),
        "rewriting": (20, 800),
        "summarization": (30, 800),
        "structured_output": (25, 900),
        "creative": (20, 1400),
        "multi_turn": (40, 600),
        "planning": (60, 900),
        "reasoning": (80, 800),
        "agentic": (40, 700),
        "code": (60, 700),
        "math": (40, 400),
        "other": (40, 700),
    }
)
COPIES: Final = frozenset(("translation", "rewriting"))  # give back about as much as they are given
THINKING_TOKENS: Final = (200, 2_000)  # before the answer, where thinking is on; assumed
