"""Quantise a 0.6B-shaped model and split one over two workers, for real; print the tables.

usage: python -m tools.recipes [--folder FOLDER] [--threads N]

FOLDER keeps the models (3.5 GB); the programs are built once, into the cache. `make recipes` brings
what this needs.
"""

import argparse
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path

from backends.engines.llama_build import RECIPES, build
from tools.recipes import quantise, random_qwen3, split

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sluice"  # noqa: TID251 (a tool's own entry)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=CACHE / "recipes")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    programs = build(CACHE, print, os.cpu_count() or 1, kit=RECIPES).parent
    model = given.folder / "qwen3-0.6b-random-f16.gguf"
    if not model.exists():
        part = model.with_suffix(".part")
        vocabulary, template = (programs / Path(name).name for name in RECIPES.files)
        params = random_qwen3.write(part, vocabulary, template)
        part.replace(model)
        print(f"{model.name}: {params / 1e6:.1f} M parameters")
    print(f"\nMachine: {_machine()}, {given.threads} threads\n")
    rows = quantise.measured(programs, model, given.threads)
    print(_table(("file", "MiB", "bits a weight", "prompt tok/s", "answer tok/s"), rows))
    rows = split.measured(programs, quantise.named(model, "Q8_0"), given.folder)
    print(_table(("served by", "prompt tok/s", "answer tok/s", "RSS MiB", "same tokens"), rows))


def _table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _machine() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} CPUs"


if __name__ == "__main__":
    main()
