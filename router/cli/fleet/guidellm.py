"""guidellm as the load generator of ``sluice fleet measure``, where it is installed.

* NotUsable    there is no `guidellm` command, or the fleet needs a key
* Failed       it ran, and what it left can't be used
"""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from backends import importers
from backends.catalogue import Fleet
from backends.importers.measurement import Measurement
from backends.loadgen.loop import Load
from backends.loadgen.prompts import prompt

START_S = 120.0  # importing it and its workers' start


class NotUsable(Exception):  # noqa: N818  (it reads as what it says)
    """Says what to do about it."""


class Failed(Exception):  # noqa: N818  (it reads as what it says)
    """Says what it ended with."""


def find(fleet: Fleet) -> str:
    """Return the program, if it may be used on this fleet; raise NotUsable."""
    if fleet.api_key is not None:
        said = f"{fleet.id} needs an API key, and guidellm would show it to everybody in `ps`"
        raise NotUsable(f"{said}: leave `--with` out")
    if fleet.sagemaker is not None:
        said = f"guidellm has no AWS credentials for {fleet.id}"
        raise NotUsable(f"{said}: leave `--with` out")
    program = shutil.which("guidellm")
    if program is None:
        said = "guidellm is not installed: `pip install guidellm==0.8.1`, or leave `--with` out"
        raise NotUsable(said)
    return program


def run(
    program: str, fleet: Fleet, loads: Sequence[Load], words: Sequence[int]
) -> list[Measurement]:
    """Run every load by guidellm and import its reports; raise Failed.

    The prompts are ours, so many `words` long in each load.
    """
    found: list[Measurement] = []
    for n, (load, length) in enumerate(zip(loads, words, strict=True), 1):
        click.echo(f"{n}/{len(loads)} {load.concurrency} streams by guidellm", err=True)
        with tempfile.TemporaryDirectory() as folder:
            found += _one(program, fleet, load, length, Path(folder))
    return found


def _one(
    program: str, fleet: Fleet, load: Load, words: int, folder: Path
) -> tuple[Measurement, ...]:
    prompts, report = folder / "prompts.jsonl", folder / "report.json"
    lengths = load.lengths
    with prompts.open("w", encoding="utf-8") as file:
        for i in range(load.requests):
            row = {
                "prompt": prompt(words, i),
                "output_tokens_count": lengths.tokens_out,
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    target = fleet.urls[0].removesuffix("/v1")
    backend = f"kind=openai_http,target={target},model={fleet.upstream_model}"
    command = [
        program,
        "run",
        "--backend",
        backend,
        "--profile",
        f"kind=concurrent,streams={load.concurrency}",
        "--constraint",
        f"kind=max_requests,count={load.requests}",
        "--data",
        f"kind=json_file,path={prompts}",
        "--output",
        f"kind=json,path={report}",
    ]
    try:
        ended = subprocess.run(  # noqa: S603  (the user's own guidellm)
            command,
            check=False,
            capture_output=True,
            timeout=START_S + load.max_seconds + 10 * load.requests,
        )
    except subprocess.TimeoutExpired:
        raise Failed("guidellm did not end in time") from None
    if ended.returncode or not report.exists():
        last = ended.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        raise Failed(f"guidellm ended with {ended.returncode}: {last[0][:200]}")
    try:
        (only,) = importers.read(report)
    except importers.NotReadable as exc:
        raise Failed(f"guidellm's report can't be used: {exc}") from None
    return only.measurements
