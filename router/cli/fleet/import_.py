"""``sluice fleet import``: take over a benchmark's results as a profile."""

import re
from collections.abc import Sequence
from pathlib import Path

import click
import orjson

from backends import importers, memory, profile_file
from backends.importers import BenchmarkReport
from backends.profile_file import Row
from router.cli import options
from router.cli.errors import INVALID, REFUSED, Ends, told
from router.cli.fleet import fit
from router.cli.table import grid

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]*")


@click.command("import")
@click.argument("file", type=options.FILE)
@click.option("--instance", required=True, help="What it was measured on, as `c8g.xlarge`.")
@click.option("--region", required=True, help="Where, as `us-east-1`; `local` for one's own.")
@click.option("--model", help="Whose name the profile bears; without it the report's.")
@click.option("--engine", help="What served it; without it the report's.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Profile file to write; without it one under <state>/profiles.",
)
@options.state
@options.as_json
def command(
    file: Path,
    instance: str,
    region: str,
    model: str | None,
    engine: str | None,
    out: Path | None,
    state: Path,
    as_json: bool,
) -> None:
    """Import FILE, a report of llama-bench, llama-batched-bench, vllm bench serve, guidellm,
    genai-perf, aiperf or sglang bench_serving. Which one it is, is seen.
    """
    for flag, value in (("instance", instance), ("region", region), ("model", model)):
        if value is not None and not NAME.fullmatch(value):
            said = f"`--{flag}` `{value}` is not a name (valid: letters, digits, and . _ / : -)"
            raise Ends(said, INVALID)
    with told():
        try:
            reports = importers.read(file)
        except importers.NotReadable as exc:
            raise Ends(str(exc), INVALID) from None
    rows = _rows(reports, file, instance, region, model, engine)
    warnings = [warning for report in reports for warning in report.warnings]
    warnings += [warning for pair in zip(rows, reports, strict=True) for warning in _twice(*pair)]
    warnings += [warning for row in rows for warning in _too_large(row)]
    places: dict[Path, list[Row]] = {}
    for row in rows:
        places.setdefault(out or profile_file.default_path(state, row["id"]), []).append(row)
    with told():
        try:
            warnings += profile_file.put_all(places)
        except profile_file.Conflict as exc:
            raise Ends(f"{exc}; nothing is written", REFUSED) from None
    if as_json:
        click.echo(orjson.dumps(_json(rows, places, warnings)))
    else:
        _print(rows, places, warnings)


def _rows(
    reports: Sequence[BenchmarkReport],
    file: Path,
    instance: str,
    region: str,
    model: str | None,
    engine: str | None,
) -> list[Row]:
    """Return a row for each report; several settings of one model differ by quantisation."""
    rows: list[Row] = []
    for report in reports:
        named = model or _slug(report.model)
        if not named:
            said = f"{file}: {report.tool} doesn't say which model it measured: give `--model`"
            raise Ends(said, INVALID)
        if len(reports) > 1 and report.quantisation:
            named = f"{named}-{report.quantisation.lower()}"
        version = f" {report.tool_version}" if report.tool_version else ""
        row = profile_file.row_of(
            report,
            f"{instance}/{named}",
            named,
            instance,
            region,
            f"{file.name} ({report.tool}{version})",
        )
        if engine is not None:
            row["engine"] = engine
        if any(row["id"] == other["id"] for other in rows):
            said = f"{file}: two settings of {named} that differ in neither name nor quantisation"
            raise Ends(f"{said}: run the benchmark once for each", INVALID)
        rows.append(row)
    return rows


def _twice(row: Row, report: BenchmarkReport) -> list[str]:
    left_out = len(report.measurements) - len(row["points"])
    if not left_out:
        return []
    said = f"{left_out} runs at the load and lengths of a later one are left out"
    return [f"profile {row['id']}: {said}"]


def _too_large(row: Row) -> list[str]:
    """Warn where the model can't have run on the instance: one of the two is another one."""
    known, machines = fit.read()
    machine = machines.instances.get(row["instance"])
    named = _slug(row["model"]).removesuffix(f"-{row.get('quantisation', '').lower()}")
    model = next((m for m in known.models.values() if named in (m.id, _slug(m.repo))), None)
    if machine is None or model is None or memory.fits_somehow(model, machine, known):
        return []
    said = f"{model.id} fits {machine.id} in no quantisation (see `sluice fleet fit`)"
    return [f"profile {row['id']}: {said}: is `--instance` where it ran?"]


def _slug(model: str | None) -> str:
    """Return ``qwen3-0.6b`` for ``Qwen/Qwen3-0.6B``: the names that catalogues use."""
    last = (model or "").rstrip("/").rpartition("/")[2].lower()
    return re.sub(r"[^a-z0-9._-]+", "-", last).strip("-._")


def _json(
    rows: Sequence[Row], places: dict[Path, list[Row]], warnings: Sequence[str]
) -> dict[str, object]:
    written = {row["id"]: str(path) for path, mine in places.items() for row in mine}
    each = [
        {"profile": row["id"], "points": len(row["points"]), "written": written[row["id"]]}
        for row in rows
    ]
    return {
        "profile": rows[0]["id"],
        "points": sum(len(row["points"]) for row in rows),
        "written": written[rows[0]["id"]],
        "warnings": list(warnings),
        "profiles": each,
    }


def _print(rows: Sequence[Row], places: dict[Path, list[Row]], warnings: Sequence[str]) -> None:
    head = ("profile", "streams", "in", "out", "tok/s", "mix tok/s", "TTFT ms", "ITL ms")
    cells = []
    for row in rows:
        for point in row["points"]:
            figures = ("concurrency", "tokens_in", "tokens_out", "tok_s", "mix_tok_s")
            cells.append(
                (
                    row["id"],
                    *(_shown(point.get(key)) for key in figures),
                    _shown(_p50(point.get("ttft_ms"))),
                    _shown(_p50(point.get("itl_ms"))),
                )
            )
    click.echo(grid(head, cells, left={"profile"}))
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    for path, mine in places.items():
        click.echo(f"written: {path}")
        for row in mine:
            click.echo(f"  a fleet uses it by `profile: {row['id']}`; check it: sluice fleet audit")


def _p50(latency: float | dict[str, float] | None) -> float | None:
    if isinstance(latency, dict):
        return latency.get("p50", latency.get("mean"))
    return latency


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:,.5g}"
