"""The classifier that ships: three heads over one reading, their weights learnt from data.

What was learnt, from what, and how well it does is in docs/model-card.md.
"""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from math import exp, log, sqrt
from typing import Final

from router.classify.artefact import WORD_UNIT, Artefact
from router.classify.assumed import COPIES, GAIN_SAYS, THINKING_TOKENS, level
from router.classify.judgement import Judgement
from router.classify.signals import gain_signals_of, signals_of, task_signals_of
from router.features import Features, Reading
from router.features.language import ENGLISH_WORDS

DECIMALS: Final = 4  # of complexity and p_small: what is recorded is what was compared
SURELY_HEAVY: Final = 0.5  # complexity from which on a request is heavy more likely than not
ENGLISH: Final = "en"
OTHER: Final = "other"
LETTERS: Final = 3  # of a word that tells a language
UNREAD_WORDS: Final = 2  # so many words tell
KNOWN_SHARE: Final = 0.34  # of the words, below which a text can't be read
WORDS: Final = "words"  # the reason that stands for all words together
MOST_LOG_ODDS: Final = 30.0


def trained(artefact: Artefact) -> Callable[[Reading], Judgement]:
    """Return the classifier with these weights."""

    def judge(reading: Reading) -> Judgement:
        features = reading.features
        signals = signals_of(features)
        reasons = _reasons(artefact, signals, reading.words)
        complexity = _probability(artefact.bias + sum(said for _, said in reasons))
        task = _task(artefact, features, signals)
        language = features.language
        if language == ENGLISH and _unread(artefact, reading.words):
            language = OTHER
        threshold = artefact.thresholds[language]
        return Judgement(
            task=task,
            complexity=complexity,
            tier="simple" if complexity < threshold else "heavy",
            sure=complexity < threshold or complexity >= SURELY_HEAVY,
            p_small=_p_small(artefact, task, complexity, gain_signals_of(features, signals)),
            language=language,
            tokens_out=_tokens_out(artefact, features, task, complexity, 0.0),
            tokens_out_p90=_tokens_out(artefact, features, task, complexity, artefact.spread),
            reasons=reasons,
        )

    return judge


def _unread(artefact: Artefact, words: AbstractSet[str]) -> bool:
    """Tell whether what looks like English has hardly a word that was learnt: then it is none."""
    if not ENGLISH_WORDS.isdisjoint(words):
        return False
    long = [word for word in words if len(word) >= LETTERS and word.isalpha()]
    known = sum(word in artefact.words for word in long)
    return len(long) >= UNREAD_WORDS and known < KNOWN_SHARE * len(long)


def _reasons(
    artefact: Artefact, signals: Mapping[str, float], words: AbstractSet[str]
) -> tuple[tuple[str, float], ...]:
    weights = artefact.complexity
    said = [(name, weights[name] * value) for name, value in signals.items() if name in weights]
    known = artefact.words.keys() & words
    if known:
        total = sum(map(artefact.words.__getitem__, known))
        said.append((WORDS, total / WORD_UNIT / sqrt(len(known))))
    return tuple(said)


def _probability(log_odds: float) -> float:
    bounded = max(-MOST_LOG_ODDS, min(log_odds, MOST_LOG_ODDS))
    return round(1 / (1 + exp(-bounded)), DECIMALS)


def _task(artefact: Artefact, features: Features, signals: Mapping[str, float]) -> str:
    scores = dict(artefact.task_bias)
    for name, value in task_signals_of(features, signals).items():
        for task, weight in artefact.tasks.get(name, ()):
            scores[task] += weight * value
    return max(scores, key=scores.__getitem__)


def _p_small(
    artefact: Artefact, task: str, complexity: float, gain_signals: Mapping[str, float]
) -> float:
    """Return the assumed level of the task at this complexity, moved by the learnt gain."""
    assumed = level(task, complexity)
    gain = -artefact.gain_mean
    for name, weight in artefact.gain.items():
        value = gain_signals.get(name)
        if value is not None:
            gain += weight * value
    return _probability(log(assumed / (1 - assumed)) - GAIN_SAYS * gain)


def _tokens_out(
    artefact: Artefact, features: Features, task: str, complexity: float, above: float
) -> int:
    length = artefact.lengths[task]
    tokens = exp(length.base + length.by_complexity * complexity + above)
    if task in COPIES:
        tokens = max(tokens, features.material_tokens * exp(above))
    if features.tokens_asked is not None:
        tokens = features.tokens_asked
    if "thinking" in features.needs:
        low, high = THINKING_TOKENS
        tokens += low + (high - low) * complexity
    return max(1, round(tokens))
