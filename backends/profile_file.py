"""What a benchmark measured -> a profile's row, merged into the file where profiles are kept.

* Conflict      the file's profile is of another engine or quantisation: one curve can't be both
"""

import contextlib
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from backends import files, parse
from backends.importers.measurement import BenchmarkReport, Measurement, Percentiles
from backends.parse import Source
from backends.surface_fit import SAME_LENGTH

Row = dict[str, Any]
DIGITS = 6  # significant ones; no benchmark repeats to more
ONE_OF_A_KIND = ("engine", "quantisation")
HEAD = "# Measured, not written: `sluice fleet import` and `sluice fleet measure` keep this file.\n"


class Conflict(ValueError):  # noqa: N818  (it reads as what it says)
    """What is imported doesn't belong to the profile that is there."""


def folder(state: Path) -> Path:
    """Return where profiles of one's own are read."""
    return state / "profiles"


def default_path(state: Path, profile: str) -> Path:
    return folder(state) / (profile.replace("/", "--").replace(":", "-") + ".yaml")


def row_of(
    report: BenchmarkReport,
    profile: str,
    model: str,
    instance: str,
    region: str,
    source: str,
    mark: str = "measured",
) -> Row:
    """Return the row of a profile file; the later of two runs at one load and length stays."""
    known = {
        "engine": report.engine,
        "engine_version": report.engine_version,
        "machine": report.machine,
        "quantisation": report.quantisation,
    }
    points: list[Row] = []
    for measured in report.measurements:
        point = _point(measured)
        points = [*(old for old in points if not same_load(old, point)), point]
    dates = [measured.date for measured in report.measurements if measured.date]
    return {
        "id": profile,
        "model": model,
        "instance": instance,
        "region": region,
        **{key: value for key, value in known.items() if value is not None},
        "source": source,
        **({"date": max(dates)} if dates else {}),
        "mark": mark,
        "points": points,
    }


def merged(old: Mapping[str, Any], new: Row) -> tuple[Row, list[str]]:
    """Return the profile with both rows' points, newer ones instead of older, and what was told.

    Raise Conflict where the two can't be one curve.
    """
    for key in ONE_OF_A_KIND:
        theirs, ours = old.get(key), new.get(key)
        if theirs is not None and ours is not None and theirs != ours:
            raise Conflict(
                f"profile {new['id']}: is of {key} `{theirs}`, this is of `{ours}` "
                "(import it under another `--model`, or into another file with `--out`)"
            )
    if old.get("reading", "as_stated") != "as_stated":
        raise Conflict(
            f"profile {new['id']}: is read `{old['reading']}`, which measured points can't join "
            "(write into another file with `--out`)"
        )
    kept, replaced, guessed = [], 0, 0
    for point in _alone(old):
        if any(same_load(point, newer) for newer in new["points"]):
            replaced += 1
        elif new["mark"] == "measured" and point["mark"] != "measured":
            guessed += 1
        else:
            kept.append(point)
    stays = {key: old[key] for key in (*ONE_OF_A_KIND, "cached_share") if key in old}
    row = {**stays, **new, "points": [*kept, *new["points"]]}
    said = []
    if replaced:
        said.append(f"{replaced} older points at the same loads and lengths are replaced")
    if guessed:
        said.append(f"{guessed} points that nobody had measured are replaced")
    return row, said


def _alone(row: Mapping[str, Any]) -> list[Row]:
    """Return a row's points with all that stands beside them: they join another row."""
    beside = ("source", "date", "mark", "tokens_in", "tokens_out")
    about = {key: row[key] for key in beside if key in row}
    points = [{**about, **point} for point in row["points"]]
    lowest = min(points, key=lambda point: float(point.get("concurrency", 0)))
    for key in ("prefill_tok_s", "ttft_ms"):  # those hold at the lowest load
        if key in row:
            lowest.setdefault(key, row[key])
    return points


def same_load(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Tell whether two points are of one load, their lengths meant to be the same."""
    if a.get("concurrency") != b.get("concurrency"):
        return False
    pairs = [(a.get(key), b.get(key)) for key in ("tokens_in", "tokens_out")]
    return all(
        x == y or (x is not None and y is not None and abs(math.log(x / y)) < SAME_LENGTH)
        for x, y in pairs
    )


def rows_in(path: Path) -> list[Row]:
    """Return the rows of a profile file, none if there is no file; raise yamlfile.Invalid."""
    if not path.exists():
        return []
    return [dict(row) for row in _read(files.on_disk(path)).values()]


def put(path: Path, rows: Sequence[Row]) -> list[str]:
    """Put rows into the file, merged with those of the same id; return what is worth telling."""
    return put_all({path: rows})


def put_all(places: Mapping[Path, Sequence[Row]]) -> list[str]:
    """Put rows into several files, each replaced whole, and none unless all of them read back."""
    texts, told = {}, []
    for path, rows in places.items():
        texts[path], said = _text(path, rows)
        told += said
    parts = {path: path.with_name(f"{path.name}.{os.getpid()}.part") for path in texts}
    try:
        for path, part in parts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("w", encoding="utf-8") as stream:
                stream.write(texts[path])
                stream.flush()
                os.fsync(stream.fileno())
        for path, part in parts.items():
            part.replace(path)
    finally:
        for part in parts.values():
            with contextlib.suppress(OSError):  # it is in its place, or never was
                part.unlink()
    return told


def _text(path: Path, rows: Sequence[Row]) -> tuple[str, list[str]]:
    """Return the file's new text, read back once, and what is worth telling of it."""
    there = {row["id"]: row for row in rows_in(path)}
    told: list[str] = []
    for row in rows:
        if row["id"] in there:
            there[row["id"]], said = merged(there[row["id"]], row)
            told += said
        else:
            there[row["id"]] = row
    text = HEAD + yaml.dump(
        {"version": 1, "profiles": list(there.values())},
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=140,
    )
    _read(Source(str(path), text))
    return text, told


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, _data: object) -> bool:
        return True  # our reader refuses them


def _read(source: Source) -> Mapping[str, Mapping[str, Any]]:
    quality, prices = (
        files.packaged("backends", "data", f"{name}.yaml") for name in ("quality", "prices")
    )
    return parse.library([source], quality, prices).profile_rows


def _point(measured: Measurement) -> Row:
    point: Row = {
        "concurrency": _short(measured.concurrency),
        "tokens_in": _short(measured.tokens_in),
        "tokens_out": _short(measured.tokens_out),
        "tok_s": _short(measured.tok_s),
        "mix_tok_s": _short(measured.mix_tok_s),
        "prefill_tok_s": _short(measured.prefill_tok_s),
        "ttft_ms": _latency(measured.ttft_ms),
        "itl_ms": _latency(measured.itl_ms),
        "e2e_ms": _latency(measured.e2e_ms),
        "requests": measured.completed,
        "failed": measured.failed or None,
    }
    return {key: value for key, value in point.items() if value is not None}


def _latency(latency: Percentiles | None) -> float | Row | None:
    if latency is None:
        return None
    names = ("mean", "p50", "p90", "p95", "p99")
    known = {name: _short(getattr(latency, name)) for name in names}
    row = {name: value for name, value in known.items() if value is not None}
    return row["p50"] if set(row) == {"p50"} else row


def _short(value: float | None) -> float | None:
    if value is None:
        return None
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short == int(short) else short
