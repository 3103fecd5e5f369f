"""guidellm: a report of several benchmarks, in the shape of metadata.version 2 or the older one.

Its `inter_token_latency_ms` is (last - first token) / (n - 1); its `time_per_output_token_ms`
counts the first token's wait in and is not taken. `request_latency` is in seconds.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from backends.importers.fields import Fields, NotReadable
from backends.importers.measurement import BenchmarkReport, Measurement, Percentiles
from backends.importers.sanity import checked

NAMES = {
    "concurrency": "metrics.request_concurrency",
    "tok_s": "metrics.output_token_count",
    "ttft_ms": "metrics.time_to_first_token_ms",
    "itl_ms": "metrics.inter_token_latency_ms",
    "e2e_ms": "metrics.request_latency",
}
LAST = 4e9  # seconds since 1970, in the year 2096
NEARLY = 0.8  # of the streams were busy on average: the rest is starting up and running out


def is_guidellm(first: Fields) -> bool:
    benchmarks = first.values.get("benchmarks")
    if not isinstance(benchmarks, list) or not benchmarks:
        return False
    return isinstance(benchmarks[0], dict) and "metrics" in benchmarks[0]


def read_guidellm(reports: Sequence[Fields]) -> list[BenchmarkReport]:
    if len(reports) > 1:
        raise NotReadable(f"{reports[1].where}: a second report in one file")
    (report,) = reports
    metadata = report.inside("metadata")
    warnings: list[str] = []
    found = [
        _benchmark(Fields(f"{report.where}: benchmarks[{i}]", benchmark), warnings)
        for i, benchmark in enumerate(report.values["benchmarks"])
    ]
    measurements = tuple(measured for measured in found if measured is not None)
    if not measurements:
        raise NotReadable(f"{report.where}: no benchmark with an answered request")
    only = BenchmarkReport(
        tool="guidellm",
        tool_version=metadata.text("guidellm_version"),
        model=_model(report),
        measurements=measurements,
        warnings=tuple(warnings),
    )
    return [only]


def _benchmark(benchmark: Fields, warnings: list[str]) -> Measurement | None:
    metrics = benchmark.inside("metrics")
    holder = metrics if "request_totals" in metrics.values else benchmark  # 0.4 on, 0.2 and 0.3
    totals = holder.inside("request_totals") if _is_object(holder, "request_totals") else None
    if totals is None:
        completed, failed = holder.count("request_totals"), 0
    else:
        completed = totals.count("successful")
        failed = totals.count("errored")
    if not completed:
        warnings.append(f"{benchmark.where}: no answered request, left out")
        return None
    if failed:
        warnings.append(f"{benchmark.where}: {failed} of {completed + failed} requests failed")
    tokens_in, tokens_out = (
        _successful(metrics, key).number("mean", "tokens a request")
        for key in ("prompt_token_count", "output_token_count")
    )
    duration_s = benchmark.maybe("duration", "seconds")
    if duration_s is not None:
        tok_s = tokens_out * completed / duration_s
    else:
        tok_s = _successful(metrics, "output_tokens_per_second").number("mean", "output tokens/s")
    e2e_s = _percentiles(metrics, "request_latency")
    measured = Measurement(
        concurrency=_streams(benchmark, metrics),
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        mix_tok_s=tok_s,
        ttft_ms=_percentiles(metrics, "time_to_first_token_ms"),
        itl_ms=_percentiles(metrics, "inter_token_latency_ms"),
        e2e_ms=None if e2e_s is None else _in_ms(e2e_s),
        completed=completed,
        failed=failed,
        date=_date(benchmark),
    )
    return checked(measured, benchmark.where, NAMES)


def _streams(benchmark: Fields, metrics: Fields) -> float:
    """Return the streams that the run kept up, else those at once on average."""
    holder = "config" if "config" in benchmark.values else "args"  # 0.4 on, 0.2 and 0.3
    strategy = benchmark.inside(holder).inside("strategy")
    kept = strategy.maybe("streams", "streams")
    mean = _successful(metrics, "request_concurrency").maybe("mean", "streams")
    if mean is None:
        return strategy.number("streams", "streams, or metrics.request_concurrency")
    if kept is not None and mean > NEARLY * kept:
        return kept
    return max(mean, 1.0)


def _successful(metrics: Fields, key: str) -> Fields:
    """Return the figures of the answered requests (0.1 to 0.8 keep them under `successful`)."""
    metric = metrics.inside(key)
    return metric.inside("successful") if "successful" in metric.values else metric


def _percentiles(metrics: Fields, key: str) -> Percentiles | None:
    figures = _successful(metrics, key)
    parts = figures.inside("percentiles")
    unit = "seconds" if key == "request_latency" else "milliseconds"

    def of(name: str) -> float | None:
        inside = parts.maybe(name, unit)
        return inside if inside is not None else figures.maybe(name, unit)

    p50 = of("p50")
    found = Percentiles(
        mean=figures.maybe("mean", unit),
        p50=figures.maybe("median", unit) if p50 is None else p50,
        p90=of("p90"),
        p95=of("p95"),
        p99=of("p99"),
    )
    return None if found.mean is None and found.p50 is None else found


def _in_ms(seconds: Percentiles) -> Percentiles:
    def ms(value: float | None) -> float | None:
        return None if value is None else value * 1000

    return Percentiles(*map(ms, (seconds.mean, seconds.p50, seconds.p90, seconds.p95, seconds.p99)))


def _model(report: Fields) -> str | None:
    """Return the model that the backend was asked for, wherever this version keeps it."""
    config, args = report.inside("config"), report.inside("args")
    first = Fields(f"{report.where}: benchmarks[0]", report.values["benchmarks"][0])
    places = [
        config.inside("spec").inside("backend"),
        first.inside("config").inside("backend"),
        first.inside("config"),
        args,
    ]
    named = [place.text("model") for place in places]
    named += [first.inside("worker").text("backend_model"), args.text("processor")]
    return next((name for name in named if name), None)


def _date(benchmark: Fields) -> str | None:
    at = benchmark.maybe("start_time", "seconds since 1970")
    if at is None or at > LAST:
        return None
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def _is_object(fields: Fields, key: str) -> bool:
    return isinstance(fields.values.get(key), dict)
