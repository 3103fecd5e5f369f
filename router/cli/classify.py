"""``sluice classify``: judge requests without routing them."""

import time
from pathlib import Path
from typing import Any

import click
import orjson

from router.classify import Judge, Judgement, judge_by
from router.cli import options, requests_file
from router.cli.errors import INVALID, Ends, told
from router.cli.table import grid
from router.features import Features, Reading, read
from router.sources import calibration as calibration_of
from router.wire import ChatRequest


@click.command("classify")
@click.argument("file", required=False, type=click.Path(allow_dash=True, dir_okay=False))
@click.option("--explain", metavar="TEXT", help="Show which signals spoke for one text.")
@options.calibration
def command(file: str | None, explain: str | None, calibration: Path | None) -> None:
    """Judge every line of FILE (`-`: standard input), {"id", "prompt"} or {"id", "messages"}: one
    JSON line each. Lines that can't be read are told, the others are judged; exit 3 then.
    """
    if (file is None) == (explain is None):
        raise Ends("give either a FILE or `--explain TEXT`", INVALID)
    with told():
        by = judge_by(calibration=calibration_of(calibration))
    if explain is not None:
        try:
            reading, judged, _ = judge(requests_file.request({"prompt": explain}), by)
        except ValueError as exc:
            raise Ends(f"`--explain`: {exc}", INVALID) from None
        click.echo(_explained(reading.features, judged))
        return
    assert file is not None
    wrong = 0
    ids = requests_file.Ids()
    with told():
        for where, line in requests_file.lines(file):
            try:
                answer = _answer(line, by)
                click.echo(orjson.dumps(answer))
                ids.add(answer["id"])
            except ValueError as exc:
                wrong += 1
                click.echo(f"{where}: {exc}", err=True)
    if ids.again:
        click.echo(f"warning: {ids.again} lines bear an id that an earlier line bears", err=True)
    if wrong:
        raise Ends(f"{wrong} lines could not be judged", INVALID)


def judge(request: ChatRequest, by: Judge) -> tuple[Reading, Judgement, float]:
    """Return reading, judgement, and the microseconds of CPU that both took."""
    began = time.thread_time()
    reading = read(request.body, request.sent_bytes)
    judged = by(reading)
    return reading, judged, (time.thread_time() - began) * 1e6


def _answer(line: bytes, by: Judge) -> dict[str, Any]:
    """Return what a line is judged as; raise ValueError, which never repeats the line."""
    row = requests_file.row(line)
    reading, judged, us = judge(requests_file.request(row), by)
    return {
        "id": row.get("id"),
        "task": judged.task,
        "complexity": judged.complexity,
        "tier": judged.tier,
        "p_small": judged.p_small,
        "language": judged.language,
        "tokens_in": reading.features.tokens_in,
        "tokens_out_expected": judged.tokens_out,
        "tokens_out_p90": judged.tokens_out_p90,
        "sure": judged.sure,
        "us": round(us, 1),
    }


def _explained(features: Features, judged: Judgement) -> str:
    """Return the judgement, and the signals by how much they said."""
    reasons = sorted(judged.reasons, key=lambda reason: -abs(reason[1]))
    rows = [(name, f"{said:+.2f}", "heavy" if said > 0 else "simple") for name, said in reasons]
    head = ("signal", "log-odds", "speaks for")
    tier = judged.tier if judged.sure else f"{judged.tier} because not sure"
    seen = (
        f"{judged.task}, {tier} (complexity {judged.complexity:.2f})",
        judged.language,
        f"p_small {judged.p_small:.2f}",
        f"{features.tokens_in} tokens in",
        f"about {judged.tokens_out} out (nine of ten below {judged.tokens_out_p90})",
    )
    spoke = grid(head, rows, left={"signal", "speaks for"}) if rows else "no signal spoke"
    return f"{', '.join(seen)}\n\n{spoke}"
