"""``vllm bench serve`` and sglang ``bench_serving``: flat objects, one a run.

ITL in them is the gap between two chunks, which may carry several tokens; TPOT is
(e2e - TTFT) / (n - 1), which is what end-to-end times are made of: it is taken where it stands.
Output throughput is of the whole run, prefill included; total throughput counts the prompts too.
"""

from collections.abc import Sequence

from backends.importers.fields import Fields, grouped
from backends.importers.measurement import BenchmarkReport, Measurement, Percentiles
from backends.importers.sanity import checked

APART = 1.25  # TPOT against ITL, nominal against achieved concurrency


def is_vllm(first: Fields) -> bool:
    return {"num_prompts", "output_throughput", "mean_ttft_ms"} <= set(first.values)


def is_sglang(first: Fields) -> bool:
    keys = set(first.values)
    return {"output_throughput", "mean_ttft_ms", "total_throughput", "dataset_name"} <= keys


def read_vllm(rows: Sequence[Fields]) -> list[BenchmarkReport]:
    return _reports("vllm bench serve", rows, "e2el_ms", "vllm")


def read_sglang(rows: Sequence[Fields]) -> list[BenchmarkReport]:
    return _reports("sglang bench_serving", rows, "e2e_latency_ms", "sglang")


def _reports(tool: str, rows: Sequence[Fields], e2e: str, engine: str) -> list[BenchmarkReport]:
    """Return one report for every model of the file."""
    reports = []
    for same in grouped(rows, _model):
        warnings: list[str] = []
        found = tuple(_run(row, e2e, warnings) for row in same)
        served_by = _engine(same[0])
        if served_by is None:
            warnings.append(
                f"{same[0].where}: doesn't say what served it, taken for {engine}: see `--engine`"
            )
        reports.append(
            BenchmarkReport(
                tool=tool,
                model=_model(same[0]) or None,
                engine=served_by or engine,
                measurements=found,
                warnings=tuple(warnings),
            )
        )
    return reports


def _run(row: Fields, e2e: str, warnings: list[str]) -> Measurement:
    completed, failed = row.count("completed"), row.count("failed")
    if not completed:
        raise row.wrong("completed", "is none: no request was answered")
    if failed:
        warnings.append(f"{row.where}: {failed} of {completed + failed} requests failed")
    tokens_in = row.number("total_input_tokens", "tokens of all prompts") / completed
    tokens_out = row.number("total_output_tokens", "tokens of all answers") / completed
    tok_s = row.number("output_throughput", "output tokens/s")
    duration_s = row.number("duration", "seconds")
    made = completed * tokens_out / duration_s
    if not 1 / APART < made / tok_s < APART:
        raise row.wrong(
            "output_throughput", f"can't be: {made:.4g} tokens/s follow from `duration`"
        )
    ttft, tpot = row.flat_percentiles("ttft_ms"), row.flat_percentiles("tpot_ms")
    itl, e2e_ms = row.flat_percentiles("itl_ms"), row.flat_percentiles(e2e)
    if tpot is not None and itl is not None and _far(_mean(tpot), _mean(itl)):
        warnings.append(
            f"{row.where}: ITL {_mean(itl):.4g} ms is of chunks, TPOT {_mean(tpot):.4g} ms is taken"
        )
    streams = _streams(row, completed / duration_s, tokens_out, ttft, tpot or itl, e2e_ms, warnings)
    measured = Measurement(
        concurrency=streams,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        mix_tok_s=tok_s,
        ttft_ms=ttft,
        itl_ms=tpot or itl,
        e2e_ms=e2e_ms,
        completed=completed,
        failed=failed,
        date=row.day("date"),
    )
    names = {
        "concurrency": "max_concurrency",
        "tok_s": "output_throughput",
        "ttft_ms": _named(ttft, "ttft_ms"),
        "itl_ms": _named(tpot, "tpot_ms") if tpot else _named(itl, "itl_ms"),
        "e2e_ms": _named(e2e_ms, e2e),
    }
    return checked(measured, row.where, names)


def _streams(
    row: Fields,
    requests_per_s: float,
    tokens_out: float,
    ttft: Percentiles | None,
    itl: Percentiles | None,
    e2e_ms: Percentiles | None,
    warnings: list[str],
) -> float:
    """Return the streams at once: the limit that the run kept full, else requests/s x time."""
    achieved = row.maybe("concurrency", "streams")
    if achieved is None:
        if e2e_ms is not None:
            achieved = requests_per_s * _mean(e2e_ms) / 1000
        elif ttft is not None and itl is not None:
            achieved = requests_per_s * (_mean(ttft) + (tokens_out - 1) * _mean(itl)) / 1000
    limit = row.maybe("max_concurrency", "streams, or null")
    if achieved is None:
        if limit is None:
            raise row.wrong("max_concurrency", "is unknown, and no latency tells it")
        return limit
    if limit is not None and limit <= achieved * APART:
        return limit
    if limit is not None:
        warnings.append(
            f"{row.where}: `max_concurrency` {limit:g} was not reached: {achieved:.3g} streams on "
            "average"
        )
    return max(achieved, 1.0)


def _model(row: Fields) -> str:
    server = row.inside("server_info")
    return row.text("model_id") or server.text("model_path") or row.text("model") or ""


def _engine(row: Fields) -> str | None:
    backend = row.text("backend") or row.text("endpoint_type") or ""
    return next((name for name in ("vllm", "sglang") if backend.startswith(name)), None)


def _named(percentiles: Percentiles | None, name: str) -> str:
    """Return what the report calls the figure that is checked."""
    known = percentiles is not None and percentiles.p50 is not None
    return f"median_{name}" if known else f"mean_{name}"


def _mean(percentiles: Percentiles) -> float:
    mean = percentiles.mean if percentiles.mean is not None else percentiles.p50
    assert mean is not None
    return mean


def _far(a: float, b: float) -> bool:
    return max(a, b) > APART * min(a, b)
