"""``sluice classify``: judge requests without routing them."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import click
import orjson

from router import wire
from router.classify import CLASSIFIERS, Judgement
from router.cli.errors import INVALID, Ends, told
from router.cli.table import grid
from router.errors import Refusal
from router.features import Features, read

FIELDS = ("prompt", "messages")


@click.command("classify")
@click.argument("file", required=False, type=click.Path(allow_dash=True, dir_okay=False))
@click.option("--explain", metavar="TEXT", help="Show which signals spoke for one text.")
def command(file: str | None, explain: str | None) -> None:
    """Judge every line of FILE (`-`: standard input), {"id", "prompt"} or {"id", "messages"}: one
    JSON line each. Lines that can't be read are told, the others are judged; exit 3 then.
    """
    if (file is None) == (explain is None):
        raise Ends("give either a FILE or `--explain TEXT`", INVALID)
    if explain is not None:
        click.echo(_explained(*_judged(_body({"prompt": explain}))[:2]))
        return
    assert file is not None
    with told():
        wrong = 0
        for where, line in _lines(file):
            try:
                click.echo(orjson.dumps(_answer(line)))
            except ValueError as exc:
                wrong += 1
                click.echo(f"{where}: {exc}", err=True)
    if wrong:
        raise Ends(f"{wrong} lines could not be judged", INVALID)


def _lines(file: str) -> Iterator[tuple[str, bytes]]:
    if file == "-":
        yield from _numbered(sys.stdin.buffer, "standard input")
        return
    with Path(file).open("rb") as stream:
        yield from _numbered(stream, file)


def _numbered(stream: IO[bytes], name: str) -> Iterator[tuple[str, bytes]]:
    for n, line in enumerate(stream, 1):
        if line.strip():
            yield f"{name}:{n}", line


def _answer(line: bytes) -> dict[str, Any]:
    """Return what a line is judged as; raise ValueError, which never repeats the line."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as exc:
        raise ValueError(f"not JSON: {exc.msg}") from None
    if not isinstance(row, dict) or sum(field in row for field in FIELDS) != 1:
        raise ValueError('an object with "id" and either "prompt" or "messages" is expected')
    features, judged, us = _judged(_body(row))
    return {
        "id": row.get("id"),
        "task": judged.task,
        "complexity": judged.complexity,
        "tier": judged.tier,
        "p_small": judged.p_small,
        "language": judged.language,
        "tokens_in": features.tokens_in,
        "tokens_out_expected": judged.tokens_out,
        "us": round(us, 1),
    }


def _body(row: dict[str, Any]) -> dict[str, Any]:
    """Return the chat request of a line, checked as the API checks it; raise ValueError."""
    messages = row.get("messages")
    if "prompt" in row:
        if not isinstance(row["prompt"], str):
            raise ValueError("`prompt` must be a text")
        messages = [{"role": "user", "content": row["prompt"]}]
    try:
        return wire.parse_chat(json.dumps({"model": "auto", "messages": messages}).encode()).body
    except Refusal as refusal:
        raise ValueError(refusal.message) from None


def _judged(body: dict[str, Any]) -> tuple[Features, Judgement, float]:
    """Return features, judgement, and the microseconds of CPU that both took."""
    began = time.thread_time()
    features = read(body)
    judged = CLASSIFIERS["heuristic"](features)
    return features, judged, (time.thread_time() - began) * 1e6


def _explained(features: Features, judged: Judgement) -> str:
    """Return the judgement, and the signals by how much they said."""
    reasons = sorted(judged.reasons, key=lambda reason: -abs(reason[1]))
    rows = [(name, f"{said:+.2f}", "heavy" if said > 0 else "simple") for name, said in reasons]
    head = ("signal", "log-odds", "speaks for")
    seen = (
        f"{judged.task}, {judged.tier} (complexity {judged.complexity:.2f})",
        judged.language,
        f"p_small {judged.p_small:.2f}",
        f"{features.tokens_in} tokens in, about {judged.tokens_out} out",
    )
    spoke = grid(head, rows, left={"signal", "speaks for"}) if rows else "no signal spoke"
    return f"{', '.join(seen)}\n\n{spoke}"
