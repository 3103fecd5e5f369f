"""Ask a running llama-server the labelled prompts and say how many it gets right.

usage: python tools/train_tiny/check.py --url http://127.0.0.1:8080 LABELLED.jsonl [--wrong]
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx

Asked = dict[str, Any]  # a line of labelled.jsonl


def answers(url: str, asked: Iterable[Asked], **settings: object) -> Iterator[tuple[Asked, str]]:
    """Each labelled prompt with the engine's whole answer."""
    with httpx.Client(base_url=url, timeout=60) as client:
        for one in asked:
            body = {"messages": one["messages"], "max_tokens": 32, **settings}
            reply = client.post("/v1/chat/completions", json=body).raise_for_status().json()
            yield one, reply["choices"][0]["message"]["content"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labelled", type=Path)
    parser.add_argument("--url", required=True)
    parser.add_argument("--wrong", action="store_true", help="print what comes back wrong")
    given = parser.parse_args()
    asked = [json.loads(line) for line in given.labelled.read_text("utf-8").splitlines()]
    ways: dict[str, dict[str, object]] = {
        "temperature 0, thinking off": {
            "temperature": 0,
            "chat_template_kwargs": {"enable_thinking": False},
        },
        "temperature 0": {"temperature": 0},
        "default temperature": {"seed": 1},
    }
    for way, settings in ways.items():
        right: dict[str, list[bool]] = defaultdict(list)
        for one, answer in answers(given.url, asked, **settings):
            good = answer == one["label"]
            for group in (f"{one['source']} {one['language']}", f"{one['source']} {one['of']}"):
                right[group].append(good)
            if given.wrong and not good:
                print(one["language"], one["label"], "<-", answer, one["messages"])
        print(way, {k: f"{sum(v)}/{len(v)} {sum(v) / len(v):.3f}" for k, v in right.items()})


if __name__ == "__main__":
    main()
