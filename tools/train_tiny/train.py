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
from prompts import Sample
from torch.nn import functional
from vocabulary import Vocabulary, learn

VOCABULARY = 3072
SAMPLES_FOR_VOCABULARY = 30_000
PROMPT_SHARE = 0.25  # of the prompt's tokens are predicted: the rest costs time and teaches little
REPORT_EVERY = 400  # steps
IGNORED = -100  # torch's mark for a position that is not predicted


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast to learn."""

    steps: int
    batch: int = 48
    peak_rate: float = 3e-3
    warm_up: int = 100
    weight_of_prompt: float = 0.1  # of the loss on the prompt's own tokens, beside the answer's
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


def padded(batch: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, targets and the weight of each target; [batch, longest]."""
    longest = max(len(row.ids) for row in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    targets = torch.full((len(batch), longest), IGNORED)
    is_answer = torch.zeros(len(batch), longest, dtype=torch.bool)
    for i, row in enumerate(batch):
        ids[i, : len(row.ids)] = torch.tensor(row.ids)
        targets[i, : len(row.ids) - 1] = torch.tensor(row.ids[1:])
        is_answer[i, row.answer_at - 1 : len(row.ids) - 1] = True
    return ids, targets, is_answer


def loss_of(model: Qwen3, batch: Sequence[Row], weight_of_prompt: float) -> torch.Tensor:
    """Cross-entropy of the answers, plus a small part of the prompts'."""
    ids, targets, is_answer = padded(batch)
    hidden = model(ids)
    loss = functional.cross_entropy(model.logits(hidden[is_answer]), targets[is_answer])
    if weight_of_prompt:
        prompt = (targets != IGNORED) & ~is_answer & (torch.rand(targets.shape) < PROMPT_SHARE)
        of_prompt = functional.cross_entropy(model.logits(hidden[prompt]), targets[prompt])
        loss = loss + weight_of_prompt * of_prompt
    return loss


def right_by_language(model: Qwen3, held_out: Sequence[Row]) -> dict[str, float]:
    """The share of rows whose whole answer comes out right, by language."""
    right: dict[str, list[bool]] = {}
    with torch.no_grad():
        for start in range(0, len(held_out), 64):
            batch = held_out[start : start + 64]
            ids, targets, is_answer = padded(batch)
            guessed = model.logits(model(ids)).argmax(-1)
            exact = ((guessed == targets) | ~is_answer).all(1)
            for row, good in zip(batch, exact.tolist(), strict=True):
                right.setdefault(row.language, []).append(good)
    return {language: sum(all_) / len(all_) for language, all_ in right.items()}


def train(model: Qwen3, train_rows: list[Row], held_out: list[Row], plan: Plan) -> None:
    """Fit the model in place; batches hold rows of like length."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    rng, began = seeded(plan.seed), time.monotonic()
    batches = batches_of_like_length(train_rows, plan.batch, rng)
    for step in range(plan.steps):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, plan)
        loss = loss_of(model, batches[step % len(batches)], plan.weight_of_prompt)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % REPORT_EVERY == 0 or step + 1 == plan.steps:
            right = {k: f"{v:.3f}" for k, v in right_by_language(model, held_out).items()}
            took_s = time.monotonic() - began
            print(
                f"step {step + 1} loss {loss.item():.3f} right {right} {took_s:.0f} s", flush=True
            )


def rate_at(step: int, plan: Plan) -> float:
    """The learning rate: a linear rise, then a cosine down to 2 %."""
    falling = 0.5 * (1 + math.cos(math.pi * step / plan.steps)) + 0.02
    return plan.peak_rate * min(1, (step + 1) / plan.warm_up) * falling


def batches_of_like_length(all_rows: list[Row], size: int, rng: Random) -> list[list[Row]]:
    """Shuffled batches whose rows differ little in length, so that little is padding."""
    in_order = sorted(all_rows, key=lambda row: (len(row.ids), rng.random()))
    batches = [in_order[i : i + size] for i in range(0, len(in_order), size)]
    rng.shuffle(batches)
    return batches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--prompt-weight", type=float, default=0.1)
    parser.add_argument("--rate", type=float, default=3e-3)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    plan = Plan(given.steps, weight_of_prompt=given.prompt_weight, peak_rate=given.rate)
    torch.manual_seed(plan.seed)
    rng = seeded(plan.seed)
    samples = list(prompts.maker("train").samples(plan.steps * plan.batch, rng))
    unseen = list(prompts.maker("held_out").samples(450, rng))
    texts = (render(s.messages, thinking_off=True) + s.answer for s in samples)
    vocabulary = learn(islice(texts, SAMPLES_FOR_VOCABULARY), VOCABULARY)
    model = Qwen3(Shape(len(vocabulary.tokens)))
    train_rows, held_out = rows(samples, vocabulary, rng), rows(unseen, vocabulary, rng)
    mean = sum(len(row.ids) for row in train_rows) / len(train_rows)
    weights = sum(p.numel() for p in model.parameters())
    print(f"{len(train_rows)} samples, {mean:.0f} tokens each, {weights} weights", flush=True)
    train(model, train_rows, held_out, plan)
    gguf_file.write(model, vocabulary, given.out)
    print(f"{given.out}: {given.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
