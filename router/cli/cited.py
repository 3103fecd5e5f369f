"""What the short names of our sources stand for, wherever a command prints one."""

import re
from collections.abc import Iterable, Mapping

SOURCES: Mapping[str, str] = {
    "S0": "LLMs on Graviton with llama.cpp",
    "S1": "Qwen3-0.6B on Graviton with SageMaker and Ollama",
    "S2": "Llama 4 on vLLM, GPU against AWS silicon (before the cut of p5's price in June 2025)",
    "S3": "llama.cpp and GGUF tuning on servers",
}
_NAME = re.compile(rf"\b(?:{'|'.join(SOURCES)})\b")


UNDATED = "none of S0 to S2 prints a date: a price bears the earliest month that its text can be of"


def legend(shown: Iterable[str], *, prices: bool = False) -> str:
    """Return what the sources that these texts name stand for, one a line; empty if none.

    `prices`: their dates are shown as well.
    """
    named = sorted({name for text in shown for name in _NAME.findall(text)})
    lines = [f"{name} = {SOURCES[name]}" for name in named]
    if lines and prices:
        lines.append(UNDATED)
    return "\n".join(lines)
