"""Write the labelled prompts that the tests ask: held-out wordings, and prompts written by hand.

usage: python tools/train_tiny/labelled.py --out labelled.jsonl
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import prompts
from chance import seeded
from corpus import FOLDER

HELD_OUT_PROMPTS = 300
SEED = 77


def held_out() -> Iterator[dict[str, object]]:
    """Prompts of templates, instructions and words that were never trained on."""
    for sample in prompts.maker("held_out").samples(HELD_OUT_PROMPTS, seeded(SEED)):
        yield {
            "source": "held_out",
            "language": sample.language,
            "of": sample.of,
            "label": sample.answer,
            "messages": [{"role": role, "content": text} for role, text in sample.messages],
        }


def handwritten() -> Iterator[dict[str, object]]:
    """Prompts that follow no template of ours."""
    for line in (FOLDER / "handwritten.jsonl").read_text(encoding="utf-8").splitlines():
        yield {"source": "handwritten", **json.loads(line)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    lines = [json.dumps(one, ensure_ascii=False) for one in (*held_out(), *handwritten())]
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{out}: {len(lines)} prompts")


if __name__ == "__main__":
    main()
