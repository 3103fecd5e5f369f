"""The heads, fitted: complexity, task, expected gain, length of output."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from math import log, sqrt

import numpy as np
from opencc import OpenCC

from policies.conditions import TASKS
from router.classify.artefact import WORD_UNIT, Length
from router.classify.assumed import COPIES
from router.classify.signals import gain_signals_of, signals_of, task_signals_of
from router.features.lexicon import LIGHT
from tools.train_judge.data import TIERS, Example, Outcome
from tools.train_judge.solve import Rows, Vector, least_squares, logistic, softmax

MAY_SPEAK_FOR_SIMPLE = LIGHT | {
    "lookup",
    "close",
    "suggest",
    "brief",
    "short_question",
    "system_light",
    "system_brief",
}
ASSUMED = {"silent": 2.5, "images": 1.0, "tools": 0.6}  # no prompt has any of these
AT_LEAST = {
    "prove": 0.2,
    "tool_results": 0.3,
    "system_agent": 0.3,
    "long_output": 0.1,
    "material": 0.2,
}
AT_MOST = {"close": -1.0}  # thanks and goodbye ask for nothing, whatever was talked of before
RIDGE = 1.0
WORD_SEEN = 3  # times that a word must have been seen
PULL = 0.3  # between versions of a request
SOURCE_MOST = 40.0  # prompts that each source and tier counts as
TEMPLATED_MOST = 25.0
BETWEEN_MOST = 15.0
OURS_EACH = 0.12  # of a prompt that was written to be hard to judge
GAIN_RIDGE = 300.0
GAIN_EACH = 300.0  # prompts that each benchmark counts as
BETWEEN = TIERS["medium"]
LEAST_TASK_WEIGHT = 0.15
TASK_RIDGE = 20.0
SHARPNESS = 4.0  # of what was judged, as log-odds
FALLBACK = ("other", 0.2)
TASK_SIGNS: Mapping[
    str, tuple[tuple[str, float], ...]
] = {  # what a signal says for a task, by judgement
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
    "carried": (("multi_turn", 0.3),),
    "brevity": (("short_answer", 0.5),),
    "json_asked": (("structured_output", 0.7),),
}

FIRST, LAST_HAN = 0x3400, 0xA000

_simplified = OpenCC("t2s")


@cache
def simplified(character: str) -> str:
    return _simplified.convert(character) if FIRST <= ord(character) < LAST_HAN else character


def words_of(example: Example) -> set[str]:
    """Return its words, each traditional character as the simplified one."""
    return {simplified(w) if len(w) == 1 else w for w in example.reading.words}


def weights_of(examples: Sequence[Example]) -> Vector:
    counts = Counter((e.source, e.templated, e.heavy, e.label == "turns") for e in examples)
    found = []
    for e in examples:
        count = counts[e.source, e.templated, e.heavy, e.label == "turns"]
        if e.source == "ours/requests":
            found.append(0.6)
        elif e.source.startswith("ours/"):
            found.append(OURS_EACH)
        elif e.heavy == BETWEEN:
            found.append(min(count, BETWEEN_MOST) / count)
        else:
            most = TEMPLATED_MOST if e.templated else SOURCE_MOST
            found.append(min(count, most) / count)
    return np.array(found)


class Complexity:
    """The fitted head: bias, signals and words (by simplified character)."""

    def __init__(self, examples: Sequence[Example]) -> None:
        signals = [signals_of(e.reading.features) for e in examples]
        words = [words_of(e) for e in examples]
        seen = Counter(word for found in words for word in found)
        self.vocabulary = sorted(word for word, count in seen.items() if count >= WORD_SEEN)
        names = sorted({name for found in signals for name in found} - set(ASSUMED))
        while True:  # a signal that would speak against its nature is left out
            at = self._fit(examples, signals, words, names)
            wrong = {
                name
                for name, weight in zip(names, at[1:], strict=False)
                if weight < 0 and name not in MAY_SPEAK_FOR_SIMPLE
            }
            if not wrong:
                break
            names = [name for name in names if name not in wrong]
        self.bias = float(at[0])
        self.signals = dict(zip(names, map(float, at[1:]), strict=False)) | ASSUMED
        for name, least in AT_LEAST.items():
            self.signals[name] = max(self.signals.get(name, 0.0), least)
        for name, most in AT_MOST.items():
            self.signals[name] = min(self.signals.get(name, 0.0), most)
        weights = at[1 + len(names) :]
        self.words = {
            word: round(float(weight) * WORD_UNIT)
            for word, weight in zip(self.vocabulary, weights, strict=True)
        }

    def _fit(
        self,
        examples: Sequence[Example],
        signals: Sequence[Mapping[str, float]],
        words: Sequence[set[str]],
        names: Sequence[str],
    ) -> Vector:
        column = {name: at for at, name in enumerate(names, 1)}
        place = {word: at for at, word in enumerate(self.vocabulary, 1 + len(names))}
        rows = []
        for found, said in zip(signals, words, strict=True):
            row = [(0, 1.0)] + [(column[n], v) for n, v in found.items() if n in column]
            known = sorted(place[word] for word in said if word in place)
            rows.append(row + [(at, 1 / sqrt(len(known))) for at in known])
        width = 1 + len(names) + len(self.vocabulary)
        ridge = np.full(width, RIDGE)
        ridge[0] = 1e-3
        targets = np.array([e.heavy for e in examples])
        return logistic(
            Rows.of(rows, width),
            targets,
            weights_of(examples),
            ridge,
            _alike(examples, rows, width),
            PULL,
        )

    def score(self, example: Example) -> float:
        """Return the probability of heavy, 0 to 1."""
        found = signals_of(example.reading.features)
        total = self.bias + sum(self.signals.get(n, 0.0) * v for n, v in found.items())
        known = [self.words[word] for word in words_of(example) if word in self.words]
        if known:
            total += sum(known) / WORD_UNIT / sqrt(len(known))
        return float(1 / (1 + np.exp(-total)))


def _alike(
    examples: Sequence[Example], rows: Sequence[Sequence[tuple[int, float]]], width: int
) -> Rows | None:
    versions = defaultdict(list)
    for at, e in enumerate(examples):
        if e.same_as:
            versions[e.same_as].append(at)
    pairs = [
        [*rows[first], *((column, -value) for column, value in rows[other])]
        for group in versions.values()
        for number, first in enumerate(group)
        for other in group[number + 1 :]
    ]
    return Rows.of(pairs, width) if pairs else None


def with_traditional(words: Mapping[str, int]) -> dict[str, int]:
    """Return the words with every traditional character beside the simplified one."""
    found = {word: weight for word, weight in words.items() if weight}
    for code in range(FIRST, LAST_HAN):
        weight = words.get(simplified(chr(code)))
        if weight:
            found.setdefault(chr(code), weight)
    return found


def task_head(
    examples: Sequence[Example],
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Return bias by task, and weights by signal and task, drawn towards TASK_SIGNS."""
    known = [e for e in examples if e.task in TASKS and e.heavy != BETWEEN]
    counts = Counter((e.source, e.task) for e in known)
    weights = np.array(
        [min(counts[e.source, e.task], SOURCE_MOST) / counts[e.source, e.task] for e in known]
    )
    found = [task_signals_of(e.reading.features, signals_of(e.reading.features)) for e in known]
    names = sorted({name for signals in found for name in signals} | set(TASK_SIGNS))
    column = {name: at for at, name in enumerate(names, 1)}
    rows = Rows.of(
        [[(0, 1.0), *((column[n], v) for n, v in signals.items())] for signals in found],
        1 + len(names),
    )
    prior = np.zeros((len(TASKS), 1 + len(names)))
    for name, signs in TASK_SIGNS.items():
        for task, weight in signs:
            prior[TASKS.index(task), column[name]] = SHARPNESS * weight
    other, floor = FALLBACK
    prior[TASKS.index(other), 0] = SHARPNESS * floor
    chosen = np.array([TASKS.index(e.task or "") for e in known])
    at = softmax(rows, chosen, weights, prior, TASK_RIDGE)
    bias = {task: round(float(row[0]), 2) for task, row in zip(TASKS, at, strict=True)}
    by_signal: dict[str, dict[str, float]] = {}
    for name in names:
        said = {task: round(float(at[i, column[name]]), 2) for i, task in enumerate(TASKS)}
        kept = {task: weight for task, weight in said.items() if abs(weight) >= LEAST_TASK_WEIGHT}
        if kept:
            by_signal[name] = kept
    return bias, by_signal


def gain_head(found: Sequence[Outcome]) -> tuple[dict[str, float], float]:
    """Return weights by signal of what the strong model gains within a benchmark, and their mean.

    Each prompt is compared with the others of its benchmark, so that no benchmark is learnt.
    """
    benchmarks = defaultdict(list)
    for outcome in found:
        benchmarks[outcome.benchmark].append(outcome)
    signals = {
        name: [gain_signals_of(o.reading.features, signals_of(o.reading.features)) for o in group]
        for name, group in benchmarks.items()
    }
    names = sorted({n for group in signals.values() for said in group for n in said})
    column = {name: at for at, name in enumerate(names)}
    rows, targets, weights = [], [], []
    for name, group in benchmarks.items():
        gains = np.array([o.strong - o.weak for o in group])
        if gains.mean() <= 0:
            continue
        dense = np.zeros((len(group), len(names)))
        for at, said in enumerate(signals[name]):
            for signal, value in said.items():
                dense[at, column[signal]] = value
        dense -= dense.mean(axis=0)
        rows += [[(c, float(v)) for c, v in enumerate(row) if v] for row in dense]
        targets += list(gains - gains.mean())
        weights += [GAIN_EACH / len(group)] * len(group)
    at = least_squares(
        Rows.of(rows, len(names)),
        np.array(targets),
        np.array(weights),
        np.full(len(names), GAIN_RIDGE),
    )
    kept = {n: round(float(w), 4) for n, w in zip(names, at, strict=True) if abs(w) >= 5e-4}
    scores = [
        sum(kept.get(n, 0.0) * v for n, v in said.items())
        for group in signals.values()
        for said in group
    ]
    return kept, round(sum(scores) / len(scores), 4)


def _copied(example: Example) -> bool:
    return example.task in COPIES and example.reading.features.material_tokens > 0


def length_head(
    examples: Sequence[Example], complexity: Callable[[Example], float]
) -> tuple[dict[str, Length], float]:
    """Return ln(tokens out) by task, and how far the 90th percentile lies above it."""
    known = [e for e in examples if e.tokens_out and e.task in TASKS and not _copied(e)]
    tasks = list(TASKS)
    width = 2 * len(tasks) + 1
    rows = []
    for e in known:
        task = tasks.index(e.task or "")
        rows.append(
            [
                (task, 1.0),
                (len(tasks), complexity(e)),
                (len(tasks) + 1 + task, complexity(e)),
            ]
        )
    ridge = np.full(width, 4.0)
    ridge[: len(tasks) + 1] = 0.5
    logs = np.array([log(e.tokens_out or 1) for e in known])
    table = Rows.of(rows, width)
    at = least_squares(table, logs, np.ones(len(known)), ridge)
    lengths = {
        task: Length(
            round(float(at[i]), 2),
            round(float(at[len(tasks)] + at[len(tasks) + 1 + i]), 2),
        )
        for i, task in enumerate(tasks)
    }
    rest = np.sort(logs - table.times(at))
    return lengths, round(float(rest[int(0.9 * len(rest))]), 2)
