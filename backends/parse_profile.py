"""A row of a profile file -> its profile, or every mistake with its file:line."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from backends.points import Point, Quantiles, little_consistent
from backends.profiles import Profile
from yamlfile import Document, Invalid, Path


def profile(document: Document, i: int, row: Mapping[str, Any]) -> Profile:
    little = row.get("reading") == "little_consistent"
    said = [*_incomplete_points(row, little=little), *_wrong_profile(row, little=little)]
    if said:
        raise Invalid(
            document.problem(("profiles", i, *path), f"profile {row['id']}: {message}")
            for path, message in said
        )
    if little:
        columns = [(float(point["column"]), float(point["tok_s"])) for point in row["points"]]
        points, _ = little_consistent(columns, row["itl_ms"])
    else:
        points = tuple(_point(point, row) for point in row["points"])
    return Profile(
        id=row["id"],
        model=row["model"],
        instance=row["instance"],
        mark=row["mark"],
        source=row["source"],
        date=row.get("date"),
        points=tuple(sorted(points, key=_rising)),
        prefill_tok_s=row.get("prefill_tok_s"),
        ttft_ms=row.get("ttft_ms"),
        tokens_in=row.get("tokens_in", 0),
        reading=row.get("reading", "as_stated"),
        cached_share=row.get("cached_share"),
    )


def _incomplete_points(row: Mapping[str, Any], *, little: bool) -> Iterator[tuple[Path, str]]:
    key = "column" if little else "concurrency"
    for j, point in enumerate(row["points"]):
        at = ("points", j)
        if key not in point:
            yield at, f"`{key}` is missing"
        if ("tok_s" in point) == ("mix_tok_s" in point) or (little and "tok_s" not in point):
            wanted = "`tok_s`" if little else "either `tok_s` or `mix_tok_s`"
            yield at, f"needs {wanted}"
        if "mix_tok_s" in point:
            for length in ("tokens_in", "tokens_out"):
                if length not in point and length not in row:
                    yield at, f"`mix_tok_s` needs `{length}`"
        for name in ("ttft_ms", "itl_ms", "e2e_ms"):
            if isinstance(point.get(name), Mapping):
                yield from (((*at, name), said) for said in _falling(name, point[name]))


def _falling(name: str, latency: Mapping[str, float]) -> Iterator[str]:
    given = [(key, latency[key]) for key in ("p50", "p90", "p95", "p99") if key in latency]
    for (lower, low), (higher, high) in pairwise(given):
        if low > high:
            yield f"`{name}`: {lower} ({low:g}) is above {higher} ({high:g})"


def _wrong_profile(row: Mapping[str, Any], *, little: bool) -> Iterator[tuple[Path, str]]:
    if little and "itl_ms" not in row:
        yield (), "`itl_ms` is missing (this reading starts from it)"
    if not little and "itl_ms" in row:
        yield ("itl_ms",), "`itl_ms` beside the points goes with `reading: little_consistent`"
    if "ttft_ms" in row and "tokens_in" not in row:
        yield ("ttft_ms",), "`ttft_ms` needs `tokens_in`"
    key = "column" if little else "concurrency"
    seen: set[tuple[object, ...]] = set()
    for j, point in enumerate(row["points"]):
        lengths = (point.get(name, row.get(name)) for name in ("tokens_in", "tokens_out"))
        same = (point.get(key), *lengths)
        if key in point and same in seen:
            yield ("points", j), f"the same `{key}` and lengths stand here twice"
        seen.add(same)


def _point(point: Mapping[str, Any], row: Mapping[str, Any]) -> Point:
    itl = _quantiles(point.get("itl_ms"))
    return Point(
        concurrency=float(point["concurrency"]),
        tok_s=point.get("tok_s"),
        itl_ms=None if itl is None else itl.p50,
        tokens_in=point.get("tokens_in", row.get("tokens_in")),
        tokens_out=point.get("tokens_out", row.get("tokens_out")),
        mix_tok_s=point.get("mix_tok_s"),
        prefill_tok_s=point.get("prefill_tok_s"),
        ttft_ms=_quantiles(point.get("ttft_ms")),
        itl_p95_ms=None if itl is None else itl.p95,
        e2e_ms=_quantiles(point.get("e2e_ms")),
    )


def _quantiles(latency: float | Mapping[str, float] | None) -> Quantiles | None:
    if latency is None:
        return None
    if isinstance(latency, Mapping):
        return Quantiles(latency["p50" if "p50" in latency else "mean"], latency.get("p95"))
    return Quantiles(latency)


def _rising(point: Point) -> float:
    return point.concurrency
