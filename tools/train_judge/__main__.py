"""`make train DATA=folder`: learn router/classify/data/judge.json again, from ours and the folder.

Every source is also judged by a model that never saw it (leave one source out); the thresholds come
from those scores. The same data gives the same bytes.
"""

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import floor
from pathlib import Path

import numpy as np
import orjson

from router.calibrate.fit import Label
from router.calibrate.report import ordering
from router.classify.artefact import Artefact, to_json
from router.classify.trained import trained
from tools.train_judge import data
from tools.train_judge.data import Example, Outcome
from tools.train_judge.heads import (
    Complexity,
    gain_head,
    length_head,
    task_head,
    with_traditional,
)
from tools.train_judge.picture import draw

OUT = Path(__file__).parents[2] / "router" / "classify" / "data" / "judge.json"
PICTURE = Path(__file__).parents[2] / "docs" / "confusion.svg"
NEEDED = ("task_complexity.jsonl.gz", "outcomes.jsonl.gz", "mmlu_calibration.jsonl.gz")
LEAK = {"en": 0.04, "zh": 0.045}  # heavy prompts of unseen sources on the small model
MIXED_BELOW = 0.02  # a sentence in the other language must not lower the tier
PARITY_FOLDS = 4


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("data", nargs="?", type=Path)
    options.add_argument("--out", type=Path, default=OUT)
    options.add_argument("--picture", type=Path, default=PICTURE)
    given = options.parse_args()
    missing = [name for name in NEEDED if not (given.data and (given.data / name).is_file())]
    if missing:
        print(
            f"nothing is learnt: {', '.join(missing)} not in {given.data or '(give DATA=folder)'}"
        )
        return
    ours, parity, public = data.ours(), data.parity(), data.public(given.data)
    everything = [*ours, *parity, *public]
    unseen = left_out(everything)
    thresholds = threshold_of(unseen)
    by_two = {"en": thresholds["en"], "zh": thresholds["zh-Hans"]}
    report(unseen, by_two)
    draw(_by_language(unseen), by_two, given.picture)
    print(f"thresholds: {thresholds}")
    head = Complexity(everything)
    task_bias, tasks = task_head(everything)
    found = data.outcomes(given.data)
    gain, gain_mean = gain_head(found)
    lengths, spread = length_head([*ours, *parity], head.score)
    artefact = Artefact(
        bias=round(head.bias, 4),
        complexity={name: round(weight, 4) for name, weight in sorted(head.signals.items())},
        words=with_traditional(head.words),
        thresholds=thresholds,
        gain=gain,
        gain_mean=gain_mean,
        task_bias=task_bias,
        tasks={name: tuple(signs.items()) for name, signs in tasks.items()},
        lengths=lengths,
        spread=spread,
        provenance=provenance(given.data, everything),
    )
    orders(found, artefact)
    given.out.parent.mkdir(exist_ok=True)
    given.out.write_bytes(orjson.dumps(to_json(artefact), option=orjson.OPT_INDENT_2) + b"\n")
    print(f"\n{given.out}: {given.out.stat().st_size:,} bytes, {len(artefact.words):,} words")


Scored = list[tuple[Example, float]]


def left_out(everything: Sequence[Example]) -> dict[str, Scored]:
    """Return the score of every public and parity prompt by a model that never saw its source."""
    found: dict[str, Scored] = {}
    for source in sorted({e.source for e in everything if not e.source.startswith("ours/")}):
        if source == "parity":
            found[source] = [
                (e, score)
                for fold in range(PARITY_FOLDS)
                for e, score in _apart(everything, [e for e in everything if _fold(e) == fold])
            ]
        else:
            found[source] = _apart(everything, [e for e in everything if e.source == source])
        print(f"left out: {source}", flush=True)
    return found


def _apart(everything: Sequence[Example], held: Sequence[Example]) -> Scored:
    ids = {id(e) for e in held}
    head = Complexity([e for e in everything if id(e) not in ids])
    return [(e, head.score(e)) for e in held]


def _fold(example: Example) -> int | None:
    if example.source != "parity":
        return None
    return int((example.same_as or "").rpartition("-")[2]) % PARITY_FOLDS


def threshold_of(unseen: Mapping[str, Scored]) -> dict[str, float]:
    """Return, by language, the highest threshold at which few heavy prompts would be `simple`."""
    pooled = _by_language(unseen)
    found = {
        language: floor(100 * np.quantile([s for e, s in group if e.heavy == 1], LEAK[language]))
        / 100
        for language, group in pooled.items()
    }
    return {
        "en": found["en"],
        "zh-Hans": found["zh"],
        "zh-Hant": found["zh"],
        "mixed": round(min(found.values()) - MIXED_BELOW, 2),
        "other": 0.0,  # its words can't be read: never simple
    }


def _hundredths(scores: Sequence[float], share: float) -> float:
    """Return the quantile, rounded down: no more than this share lies below it."""
    return floor(100 * float(np.quantile(scores, share))) / 100


def _by_language(unseen: Mapping[str, Scored]) -> dict[str, Scored]:
    pooled = defaultdict(list)
    for group in unseen.values():
        for e, score in group:
            if not _made(e):
                pooled[e.language[:2]].append((e, score))
    return dict(pooled)


def _made(example: Example) -> bool:
    """Tell whether its form was given by whoever collected it: a template, turns set together."""
    return example.templated or example.label == "turns"


def report(unseen: Mapping[str, Scored], by_two: Mapping[str, float]) -> None:
    print("\nleave one source out              heavy to small   simple kept      AUC")
    every = [pair for group in unseen.values() for pair in group]
    real = {name: [p for p in group if not _made(p[0])] for name, group in unseen.items()}
    made = {"templates, conversations": [p for p in every if _made(p[0])]}
    for source, group in [*real.items(), *_by_language(unseen).items(), *made.items()]:
        for language in sorted({e.language[:2] for e, _ in group}):
            said = [(e.heavy, s) for e, s in group if e.language[:2] == language]
            heavy = np.array([s for y, s in said if y == 1])
            simple = np.array([s for y, s in said if y == 0])
            t = by_two[language]
            print(
                f"{source:<36}{language:<4}"
                + (f"{(heavy < t).mean():6.1%} of {len(heavy):<6}" if len(heavy) else " " * 16)
                + (f"{(simple < t).mean():6.1%} of {len(simple):<6}" if len(simple) else " " * 16)
                + (f"{auc(heavy, simple):.3f}" if len(heavy) and len(simple) else "")
            )
    versions = defaultdict(set)
    for e, score in unseen["parity"]:
        versions[e.same_as].add(score < by_two[e.language[:2]])
    same = sum(len(tiers) == 1 for tiers in versions.values()) / len(versions)
    print(f"unseen parity prompts with the same tier in every version: {same:.1%}")


def orders(found: Sequence[Outcome], artefact: Artefact) -> None:
    """Print APGR of 1 - p_small by benchmark: learnt from it as well, from the others, length."""
    print("\nAPGR                              learnt from   left out   length")
    benchmarks = defaultdict(list)
    for outcome in found:
        benchmarks[outcome.benchmark].append(outcome)
    sums = [0.0, 0.0, 0.0]
    shown = 0
    for name, group in sorted(benchmarks.items()):
        labels = [Label("", o.prompt, "en", 0.5, o.weak, o.strong) for o in group]
        gain, mean = gain_head([o for o in found if o.benchmark != name])
        apgrs = [
            ordering(labels, scores).apgr
            for scores in (
                _needs(artefact, group),
                _needs(artefact._replace(gain=gain, gain_mean=mean), group),
                [float(len(o.prompt)) for o in group],
            )
        ]
        if None in apgrs:
            print(f"{name:<34}the strong model is not stronger: left out")
            continue
        print(f"{name:<34}" + "".join(f"{apgr:>11.3f}" for apgr in apgrs))
        sums = [total + (apgr or 0.0) for total, apgr in zip(sums, apgrs, strict=True)]
        shown += 1
    print(f"{'on average':<34}" + "".join(f"{total / shown:>11.3f}" for total in sums))


def _needs(artefact: Artefact, group: Sequence[Outcome]) -> list[float]:
    judge = trained(artefact)
    return [1 - judge(outcome.reading).p_small for outcome in group]


def auc(heavy: np.ndarray, simple: np.ndarray) -> float:
    higher = (heavy[:, None] > simple[None, :]).mean()
    ties = (heavy[:, None] == simple[None, :]).mean()
    return float(higher + ties / 2)


def provenance(folder: Path, everything: Sequence[Example]) -> dict[str, object]:
    return {
        "data": {name: data.digest(folder / name) for name in NEEDED},
        "ours": {path.name: data.digest(path) for path in (*data.TESTED, *data.OURS)},
        "prompts": len(everything),
        "card": "docs/model-card.md",
    }


if __name__ == "__main__":
    main()
