"""Train the tiny model on the synthetic corpus and write it as GGUF.

usage: python tools/train_tiny/train.py --out qwen3-tiny.gguf [--steps N] [--threads N]
"""

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random

import gguf_file
import prompts
import torch
from chance import happens, seeded
from chat import END, render
from model import Qwen3, Shape
from muon import Muon
from prompts import Sample
from torch import Tensor, nn
from torch.nn import functional
from vocabulary import Vocabulary, learn

VOCABULARY = 3072
SAMPLES_FOR_VOCABULARY = 30_000
HELD_OUT = 450
REPORT_EVERY = 500  # steps
IGNORED = -100  # torch's mark for a position that is not predicted


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast to learn."""

    steps: int
    batch: int = 48
    rate_of_matrices: float = 1e-2
    rate_of_others: float = 6e-3
    warm_up: int = 100
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Row:
    """One tokenised sample; the answer's tokens begin at `answer_at`."""

    ids: list[int]
    answer_at: int
    language: str


def rows(samples: Sequence[Sample], vocabulary: Vocabulary, rng: Random) -> list[Row]:
    """The samples as tokens, half of them with the empty think block."""
    asked = [render(s.messages, thinking_off=happens(0.5, rng)) for s in samples]
    questions = vocabulary.encode(asked)
    answers = vocabulary.encode([f"{sample.answer}{END}" for sample in samples])
    return [
        Row(q + a, len(q), sample.language)
        for q, a, sample in zip(questions, answers, samples, strict=True)
    ]


def padded(batch: Sequence[Row]) -> tuple[Tensor, Tensor]:
    """Ids and targets, [batch, longest]; only the answer's tokens are targets."""
    longest = max(len(row.ids) for row in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    targets = torch.full((len(batch), longest), IGNORED)
    for i, row in enumerate(batch):
        ids[i, : len(row.ids)] = torch.tensor(row.ids)
        answer = row.ids[row.answer_at :]
        targets[i, row.answer_at - 1 : len(row.ids) - 1] = torch.tensor(answer)
    return ids, targets


def loss_of(model: Qwen3, batch: Sequence[Row]) -> Tensor:
    """Cross-entropy of the answers."""
    ids, targets = padded(batch)
    is_answer = targets != IGNORED
    return functional.cross_entropy(model.logits(model(ids)[is_answer]), targets[is_answer])


def right_by_language(model: Qwen3, held_out: Sequence[Row]) -> dict[str, float]:
    """The share of rows whose whole answer comes out right, by language."""
    right: dict[str, list[bool]] = {}
    with torch.no_grad():
        for start in range(0, len(held_out), 64):
            batch = held_out[start : start + 64]
            ids, targets = padded(batch)
            guessed = model.logits(model(ids)).argmax(-1)
            exact = ((guessed == targets) | (targets == IGNORED)).all(1)
            for row, good in zip(batch, exact.tolist(), strict=True):
                right.setdefault(row.language, []).append(good)
    return {language: sum(each) / len(each) for language, each in right.items()}


def train(model: Qwen3, train_rows: list[Row], held_out: list[Row], plan: Plan) -> None:
    """Fit the model in place; batches hold rows of like length."""
    matrices, others = split(model)
    muon = Muon(matrices)
    adam = torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    batches = batches_of_like_length(train_rows, plan.batch, seeded(plan.seed))
    began = time.monotonic()
    for step in range(plan.steps):
        loss = loss_of(model, batches[step % len(batches)])
        model.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        share = share_of_rate(step, plan)
        adam.param_groups[0]["lr"] = plan.rate_of_others * share
        adam.step()
        muon.step(plan.rate_of_matrices * share)
        if (step + 1) % REPORT_EVERY == 0 or step + 1 == plan.steps:
            right = {k: f"{v:.3f}" for k, v in right_by_language(model, held_out).items()}
            took_s = time.monotonic() - began
            print(f"step {step + 1}: loss {loss.item():.3f}, held out {right}, {took_s:.0f} s")


def split(model: Qwen3) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The matrices that map a width to a width, and the rest: embedding and norms."""
    named = dict(model.weights.items())
    matrices = [p for name, p in named.items() if p.ndim > 1 and not name.startswith("token")]
    others = [p for name, p in named.items() if p.ndim == 1 or name.startswith("token")]
    return matrices, others


def share_of_rate(step: int, plan: Plan) -> float:
    """Of the peak learning rate: a linear rise, then a cosine down to 2 %."""
    falling = 0.5 * (1 + math.cos(math.pi * step / plan.steps)) + 0.02
    return min(1, (step + 1) / plan.warm_up) * falling


def batches_of_like_length(all_rows: list[Row], size: int, rng: Random) -> list[list[Row]]:
    """Shuffled batches whose rows differ little in length, so that little is padding."""
    in_order = sorted(all_rows, key=lambda row: (len(row.ids), rng.random()))
    batches = [in_order[i : i + size] for i in range(0, len(in_order), size)]
    rng.shuffle(batches)
    return batches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    plan = Plan(given.steps)
    torch.manual_seed(plan.seed)
    rng = seeded(plan.seed)
    samples = list(prompts.maker("train").samples(plan.steps * plan.batch, rng))
    unseen = list(prompts.maker("held_out").samples(HELD_OUT, rng))
    texts = (render(s.messages, thinking_off=True) + s.answer for s in samples)
    vocabulary = learn(islice(texts, SAMPLES_FOR_VOCABULARY), VOCABULARY)
    model = Qwen3(Shape(len(vocabulary.tokens)))
    train_rows, held_out = rows(samples, vocabulary, rng), rows(unseen, vocabulary, rng)
    weights = sum(p.numel() for p in model.parameters())
    mean = sum(len(row.ids) for row in train_rows) / len(train_rows)
    print(f"{len(train_rows)} samples, {mean:.0f} tokens each, {weights} weights")
    train(model, train_rows, held_out, plan)
    gguf_file.write(model, vocabulary, given.out)
    print(f"{given.out}: {given.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
