"""`make eval DATA=folder`: how well the classifier judges, on data that isn't part of the project.

The folder holds (any of them; what isn't there is said and left out)
  task_complexity.jsonl.gz   {"lang", "complexity": simple|medium|heavy, "source", "prompt"}
  parity.jsonl               {"tier", "messages": {language: [...]}}: one request, several languages
  outcomes.jsonl.gz          {"benchmark", "prompt", "weak", "strong"}: scores of two models, 0 to 1
"""

import argparse
import gzip
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import sqrt
from pathlib import Path
from typing import Any

from router.calibrate.fit import Label
from router.calibrate.report import ordering
from router.classify import Judgement, judge_by
from router.cli.classify import judge
from router.cli.requests_file import request

Z95 = 1.96
BY = judge_by()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("data", nargs="?", type=Path)
    folder = options.parse_args().data
    if folder is None or not folder.is_dir():
        print(f"nothing is measured: no folder {folder or '(give DATA=folder)'}")
        return
    for name, measure in (
        ("task_complexity.jsonl.gz", tiers),
        ("parity.jsonl", parity),
        ("outcomes.jsonl.gz", outcomes),
    ):
        print(f"\n{name}")
        path = folder / name
        if path.exists():
            measure(list(rows(path)))
        else:
            print("  not there, left out")


def rows(path: Path) -> Iterator[dict[str, Any]]:
    raw = path.read_bytes()
    text = gzip.decompress(raw) if path.suffix == ".gz" else raw
    yield from (json.loads(line) for line in text.splitlines() if line.strip())


def judged(row: dict[str, Any]) -> Judgement:
    prompt = row["prompt"]
    asked = {"prompt": prompt} if isinstance(prompt, str) else {"messages": prompt}
    return judge(request(asked), BY)[1]


def tiers(found: Sequence[dict[str, Any]]) -> None:
    """Print, by language and then by source, what goes to the small model."""
    groups: dict[tuple[str, ...], list[tuple[bool, Judgement]]] = defaultdict(list)
    for row in found:
        if row["complexity"] in {"simple", "heavy"}:
            one = (row["complexity"] == "heavy", judged(row))
            groups[(row["lang"],)].append(one)
            groups[(row["lang"], row["source"])].append(one)
    for key, group in sorted(groups.items(), key=lambda pair: (len(pair[0]), pair[0])):
        heavy = [j for is_heavy, j in group if is_heavy]
        simple = [j for is_heavy, j in group if not is_heavy]
        parts = [f"  {' '.join(key):<44}"]
        if heavy:
            parts.append(f"heavy to small {small(heavy)}")
        if simple:
            parts.append(f"simple kept {small(simple)}")
        if heavy and simple:
            parts.append(f"AUC {auc(heavy, simple):.3f}")
        print("  ".join(parts))


def parity(found: Sequence[dict[str, Any]]) -> None:
    """Print how often all versions of a request get the same tier, and each language's errors."""
    same, by = 0, defaultdict(list)
    for row in found:
        versions = {
            lang: judge(request({"messages": messages}), BY)[1]
            for lang, messages in row["messages"].items()
        }
        same += len({j.tier for j in versions.values()}) == 1
        for lang, j in versions.items():
            by[lang, row["tier"]].append(j)
    print(f"  the same tier in all versions     {share(same, len(found))}")
    for (lang, tier), group in sorted(by.items()):
        print(f"  {lang:<8} {tier:<7} sent to small   {small(group)}")


def outcomes(found: Sequence[dict[str, Any]]) -> None:
    """Print, by benchmark, APGR of 1 - p_small beside length (0.5 is random)."""
    groups: dict[str, list[tuple[Label, float]]] = defaultdict(list)
    for row in found:
        if row.get("weak") is None or row.get("strong") is None:
            continue
        weak, strong = (mean(row[key]) for key in ("weak", "strong"))
        j = judged(row)
        label = Label("", row["prompt"], j.language, j.complexity, weak, strong)
        groups[row["benchmark"]].append((label, 1 - j.p_small))
    ours, lengths = [], []
    for name, group in sorted(groups.items()):
        labels = [label for label, _ in group]
        mine = ordering(labels, [score for _, score in group])
        length = ordering(labels, [float(len(label.text)) for label in labels])
        if mine.apgr is None or length.apgr is None:
            print(f"  {name:<26} the strong model is not stronger: left out")
            continue
        ours.append(mine.apgr)
        lengths.append(length.apgr)
        interval = f"[{mine.low:.3f}, {mine.high:.3f}]"
        print(
            f"  {name:<26} {len(labels):>5}  {mine.apgr:.3f} {interval}  length {length.apgr:.3f}"
        )
    if ours:
        print(f"  {'on average':<26}        {mean(ours):.3f}   length {mean(lengths):.3f}")


def mean(value: float | Sequence[float]) -> float:
    return sum(value) / len(value) if isinstance(value, list) else float(value)  # type: ignore[arg-type]


def auc(heavy: Sequence[Judgement], simple: Sequence[Judgement]) -> float:
    """Return how often a heavy request has the higher complexity than a simple one."""
    below = sorted(j.complexity for j in simple)
    won = 0.0
    for j in heavy:
        under = sum(c < j.complexity for c in below)
        ties = sum(c == j.complexity for c in below)
        won += under + ties / 2
    return won / len(heavy) / len(simple)


def small(group: Sequence[Judgement]) -> str:
    return share(sum(j.tier == "simple" for j in group), len(group))


def share(count: int, of: int) -> str:
    """Return a share with its 95 % interval (Wilson)."""
    p, z2 = count / of, Z95 * Z95
    middle = (p + z2 / (2 * of)) / (1 + z2 / of)
    spread = Z95 * sqrt(p * (1 - p) / of + z2 / (4 * of * of)) / (1 + z2 / of)
    low, high = max(0.0, middle - spread), min(1.0, middle + spread)
    return f"{p:6.1%} [{low:.1%}, {high:.1%}] of {of}"


if __name__ == "__main__":
    main()
