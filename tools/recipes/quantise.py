"""Importance matrix, quantisation and speed, by llama.cpp's own programs."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

KINDS = ("Q8_0", "Q4_K_M", "Q4_0")
WITH_MATRIX = ("Q4_K_M", "Q4_0")  # at 8 bits it changes next to nothing
CALIBRATION = ("docs/fleets.md", "docs/zh.md", "tools/train_tiny/corpus")  # English and Chinese
CHUNKS = 4  # of 512 tokens; a real model deserves 100 or more
PROMPT_TOKENS, ANSWER_TOKENS, REPEATS = 128, 32, 3


def named(model: Path, kind: str) -> Path:
    return model.with_name(model.name.replace("-f16", f"-{kind}"))


def measured(programs: Path, model: Path, threads: int) -> Iterator[tuple[str, ...]]:
    """Quantise what isn't there, and measure all; a row for each file, the largest first."""
    matrix = model.with_name("imatrix.gguf")
    if not matrix.exists():
        _make_matrix(programs, model, matrix, threads)
    for kind in KINDS:
        if not named(model, kind).exists():
            _quantise(programs, model, kind, matrix, threads)
    for path in (model, *(named(model, kind) for kind in KINDS)):
        yield _row(programs, path, threads)


def _make_matrix(programs: Path, model: Path, matrix: Path, threads: int) -> None:
    text = matrix.with_name("calibration.txt")
    text.write_text("\n\n".join(_texts()), encoding="utf-8")
    _run(
        *(programs / "llama-imatrix", "-m", model, "-f", text, "-o", matrix),
        *("--chunks", CHUNKS, "-c", 512, "-t", threads),
    )


def _texts() -> Iterator[str]:
    for name in CALIBRATION:
        path = Path(name)
        for each in sorted(path.glob("*.txt")) if path.is_dir() else (path,):
            yield each.read_text(encoding="utf-8")[:20_000]


def _quantise(programs: Path, model: Path, kind: str, matrix: Path, threads: int) -> None:
    part = named(model, kind).with_suffix(".part")
    with_matrix = ("--imatrix", matrix) if kind in WITH_MATRIX else ()
    _run(programs / "llama-quantize", *with_matrix, model, part, kind, threads)
    part.replace(named(model, kind))


def _row(programs: Path, path: Path, threads: int) -> tuple[str, ...]:
    said = _run(
        *(programs / "llama-bench", "-m", path, "-t", threads, "-o", "json"),
        *("-p", PROMPT_TOKENS, "-n", ANSWER_TOKENS, "-r", REPEATS),
    )
    tests = json.loads(said)
    prompt, answer = (
        next(test for test in tests if test[key] == count)
        for key, count in (("n_prompt", PROMPT_TOKENS), ("n_gen", ANSWER_TOKENS))
    )
    size = path.stat().st_size
    return (
        path.stem.removeprefix("qwen3-0.6b-random-"),
        f"{size / 2**20:.0f}",
        f"{8 * prompt['model_size'] / prompt['model_n_params']:.2f}",
        # the best: what else a shared machine does only ever slows a run down
        *(f"{max(test['samples_ts']):.1f}" for test in (prompt, answer)),
    )


def _run(*command: object) -> str:
    """Run to the end; what went wrong is shown."""
    ran = subprocess.run(  # noqa: S603 (our own arguments, no shell)
        [str(part) for part in command], capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise SystemExit(f"{command[0]} ended with status {ran.returncode}:\n{ran.stderr[-2000:]}")
    return ran.stdout
