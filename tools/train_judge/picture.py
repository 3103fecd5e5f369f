"""The confusion of unseen sources at the shipped thresholds, as a picture for the model card."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from tools.train_judge.data import Example

NAMES = {"en": "English", "zh": "Chinese"}
TIERS = ("simple", "heavy")


def draw(
    scored: Mapping[str, Sequence[tuple[Example, float]]],
    thresholds: Mapping[str, float],
    path: Path,
) -> None:
    """Draw a matrix for each language: labels down, judgements across."""
    mpl.rcParams["svg.hashsalt"] = "sluice"  # the same picture, the same bytes
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    for axes, (language, name) in zip(figure.subplots(1, 2), NAMES.items(), strict=True):
        counts = [[0, 0], [0, 0]]
        for example, score in scored[language]:
            if example.heavy in {0.0, 1.0}:
                counts[int(example.heavy)][int(score >= thresholds[language])] += 1
        shares = [[n / sum(row) for n in row] for row in counts]
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for down, row in enumerate(counts):
            for across, count in enumerate(row):
                share = shares[down][across]
                axes.text(
                    across,
                    down,
                    f"{share:.1%}\n{count}",
                    ha="center",
                    va="center",
                    color="white" if share > 0.5 else "black",
                )
        axes.set_xticks(range(2), [f"to {'small' if t == 'simple' else 'large'}" for t in TIERS])
        axes.set_yticks(range(2), TIERS)
        axes.set_title(f"{name}, sources that were not learnt from")
    figure.savefig(path, metadata={"Date": None})
