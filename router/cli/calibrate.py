"""``sluice calibrate``: learn from one's own labels how far the small model can be trusted."""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import orjson

from router.calibrate.fit import Fitted, Label, fit
from router.calibrate.report import (
    Bin,
    Floor,
    Ordering,
    floors,
    ordering,
    reliability,
    threshold_for,
)
from router.classify.calibration import to_json
from router.cli import options, requests_file
from router.cli.classify import judge
from router.cli.errors import INVALID, REFUSED, Ends, told
from router.cli.table import grid
from router.features import last_text

LEAST = 50  # labels; nothing can be learnt from fewer
FEW = 200  # labels; below, intervals are too wide to trust


@click.command("calibrate")
@click.argument("labels", type=click.Path(allow_dash=True, dir_okay=False))
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Calibration to write: `--calibration` of serve, route and classify takes it.",
)
@click.option(
    "--quality-floor",
    type=click.FloatRange(0, 1),
    default=0.85,
    show_default=True,
    help="How often what stays small must be acceptable.",
)
@options.as_json
def command(labels: str, out: Path, quality_floor: float, as_json: bool) -> None:
    """Learn from LABELS (`-`: standard input): JSON lines {"id", "prompt" or "messages", "weak",
    "strong"}, how well the small and the strong model answered, from 0 to 1.
    """
    with told():
        found = _labels(labels)
    if len(found) < LEAST:
        said = (
            f"{len(found)} labels are too few to learn from: at least {LEAST}, better some hundred"
        )
        raise Ends(said, REFUSED)
    warnings = []
    if len(found) < FEW:
        warnings.append(f"{len(found)} labels are few: a few hundred make the intervals useful")
    if sum(label.gain for label in found) <= 0:
        warnings.append("the strong model is not stronger on these labels: nothing to order by")
    fitted = fit(found)
    orderings = {
        "calibrated": ordering(found, [-p for p in fitted.p_small]),
        "complexity": ordering(found, [label.complexity for label in found]),
        "length": ordering(found, [float(len(label.text)) for label in found]),
        "random": ordering(found, [0.0] * len(found)),
        "oracle": ordering(found, [label.gain for label in found]),
    }
    rows = floors(found, fitted.p_small)
    chosen = threshold_for(rows, quality_floor)
    bins = reliability(found, fitted.p_small)
    with told():
        _write(out, orjson.dumps(to_json(fitted.calibration)))
    if as_json:
        click.echo(orjson.dumps(_json(found, fitted, orderings, rows, chosen, bins, warnings, out)))
        return
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    _print(found, orderings, rows, chosen, bins, quality_floor)
    click.echo(f"\nwritten: {out}; use it: sluice serve --calibration {out}")


def _labels(file: str) -> list[Label]:
    """Read all labels. A wrong line ends the command: nothing is learnt from half a file."""
    found: list[Label] = []
    for where, line in requests_file.lines(file):
        try:
            found.append(_label(line))
        except ValueError as exc:
            raise Ends(f"{where}: {exc}", INVALID) from None
    return found


def _label(line: bytes) -> Label:
    row = requests_file.row(line)
    scores = []
    for key in ("weak", "strong"):
        score = row.get(key)
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            raise ValueError(f"`{key}` must be a number from 0 to 1")
        scores.append(float(score))
    body = requests_file.body(row)
    _, judged, _ = judge(body)
    text = last_text(body)
    return Label(str(row.get("id")), text, judged.language, judged.complexity, *scores)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()


def _by_language(labels: Sequence[Label], fitted: Sequence[float]) -> dict[str, dict[str, float]]:
    """Return, per language, how many labels there are and how far p_small is off on average."""
    found = {}
    for language in sorted({label.language for label in labels}):
        mine = [
            (p, label.acceptable)
            for p, label in zip(fitted, labels, strict=True)
            if label.language == language
        ]
        foretold = sum(p for p, _ in mine) / len(mine)
        seen = sum(acceptable for _, acceptable in mine) / len(mine)
        found[language] = {"labels": len(mine), "foretold": foretold, "acceptable": seen}
    return found


def _json(
    labels: Sequence[Label],
    fitted: Fitted,
    orderings: dict[str, Ordering],
    rows: Sequence[Floor],
    chosen: Floor | None,
    bins: Sequence[Bin],
    warnings: Sequence[str],
    out: Path,
) -> dict[str, Any]:
    return {
        "labels": len(labels),
        "orderings": {name: asdict(found) for name, found in orderings.items()},
        "thresholds": [asdict(row) for row in rows],
        "chosen": None if chosen is None else asdict(chosen),
        "reliability": [asdict(row) for row in bins],
        "languages": _by_language(labels, fitted.p_small),
        "warnings": list(warnings),
        "written": str(out),
    }


def _print(
    labels: Sequence[Label],
    orderings: dict[str, Ordering],
    rows: Sequence[Floor],
    chosen: Floor | None,
    bins: Sequence[Bin],
    floor: float,
) -> None:
    click.echo(f"{len(labels)} labels; every figure is of labels that the model had not seen\n")
    head = ("order by", "APGR", "95 %", "CPT(50 %)", "CPT(80 %)")
    cells = [
        (
            name,
            _three(o.apgr),
            f"{_three(o.low)} to {_three(o.high)}",
            _share(o.cpt50),
            _share(o.cpt80),
        )
        for name, o in orderings.items()
    ]
    click.echo(grid(head, cells, left={"order by"}))
    click.echo("")
    head = ("p_small from", "stays small", "acceptable", "at least (95 %)", "quality of all")
    cells = [
        (
            _three(row.threshold),
            _share(row.small),
            _share(row.acceptable),
            _share(row.acceptable_low),
            _three(row.quality),
        )
        for row in rows[1::2]
    ]
    click.echo(grid(head, cells, left=()))
    click.echo("\np_small foretold and found: " + ", ".join(
        f"{row.foretold:.2f}/{row.found:.2f}" for row in bins
    ))  # fmt: skip
    if chosen is None:
        click.echo(f"no threshold keeps {floor:.0%} acceptable with 95 % confidence: more labels, "
                   "or everything to the strong model")  # fmt: skip
    else:
        click.echo(
            f"`quality_floor: {chosen.threshold:.3f}` keeps {chosen.small:.0%} on the small model, "
            f"acceptable in at least {chosen.acceptable_low:.0%} of cases (95 % confidence)"
        )


def _three(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}"
