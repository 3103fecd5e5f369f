"""genai-perf (``profile_export_genai_perf.json``) and aiperf (``profile_export_aiperf.json``).

Every metric names its unit. `inter_token_latency` is (e2e - TTFT) / (n - 1); output throughput is
of all users together, `..._per_user` is not.
"""

from collections.abc import Mapping, Sequence

from backends.importers.fields import MOST, Fields, NotReadable, grouped
from backends.importers.measurement import BenchmarkReport, Measurement
from backends.importers.sanity import checked

NAMES = {
    "concurrency": "input_config.concurrency",
    "tok_s": "output_token_throughput",
    "ttft_ms": "time_to_first_token",
    "itl_ms": "inter_token_latency",
    "e2e_ms": "request_latency",
}


def is_aiperf(first: Fields) -> bool:
    return {"aiperf_version", "input_config"} <= set(first.values)


def is_genai_perf(first: Fields) -> bool:
    return _is_export(first) and "aiperf_version" not in first.values


def _is_export(first: Fields) -> bool:
    metric = first.values.get("request_latency")
    return isinstance(metric, Mapping) and "unit" in metric and "input_config" in first.values


def read_aiperf(reports: Sequence[Fields]) -> list[BenchmarkReport]:
    return _read("aiperf", reports)


def read_genai_perf(reports: Sequence[Fields]) -> list[BenchmarkReport]:
    return _read("genai-perf", reports)


def _read(tool: str, reports: Sequence[Fields]) -> list[BenchmarkReport]:
    """Return one report for every model of the file."""
    found = []
    for same in grouped(reports, _model):
        warnings: list[str] = []
        found.append(
            BenchmarkReport(
                tool=tool,
                tool_version=same[0].text("aiperf_version"),
                model=_model(same[0]) or None,
                measurements=tuple(_run(report, warnings) for report in same),
                warnings=tuple(warnings),
            )
        )
    return found


def _run(report: Fields, warnings: list[str]) -> Measurement:
    completed = _count(report, "request_count")
    failed = _count(report, "error_request_count") or 0
    if not completed and (completed == 0 or failed):
        raise NotReadable(f"{report.where}: `request_count` is 0: no request was answered")
    if report.values.get("is_complete") is False or report.values.get("was_cancelled") is True:
        warnings.append(f"{report.where}: the run was ended before it was complete")
    if failed:
        warnings.append(f"{report.where}: {failed} requests failed")
    tokens_in, tokens_out = (
        report.inside(key).number("avg", "tokens a request")
        for key in ("input_sequence_length", "output_sequence_length")
    )
    throughput = report.inside("output_token_throughput")
    _per_second(throughput)
    e2e_ms = report.metric_ms("request_latency")
    streams = _concurrency(report.inside("input_config"))
    if streams is None:
        rate = report.inside("request_throughput")
        _per_second(rate)
        if e2e_ms is None or e2e_ms.mean is None:
            raise report.wrong("request_latency", "has no avg, and no concurrency is known")
        streams = max(rate.number("avg", "requests/s") * e2e_ms.mean / 1000, 1.0)
    measured = Measurement(
        concurrency=streams,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        mix_tok_s=throughput.number("avg", "output tokens/s"),
        ttft_ms=report.metric_ms("time_to_first_token"),
        itl_ms=report.metric_ms("inter_token_latency"),
        e2e_ms=e2e_ms,
        completed=completed,
        failed=failed,
        date=report.day("start_time"),
    )
    return checked(measured, report.where, NAMES)


def _per_second(metric: Fields) -> None:
    unit = metric.values.get("unit")
    if not isinstance(unit, str) or not unit.lower().endswith(
        ("/sec", "/s", "per_second", "/second")
    ):
        raise metric.wrong("unit", "is no rate: tokens/sec or requests/sec is expected")


def _count(report: Fields, key: str) -> int | None:
    value = report.values.get(key)
    if value is None:
        return None
    return report.inside(key).count("avg")


def _concurrency(config: Fields) -> float | None:
    """Return the `concurrency` of the settings, wherever this version keeps it.

    aiperf from 0.9 has a list of phases, of which the warm-up is not what was measured.
    """
    own = config.values.get("concurrency")
    if isinstance(own, int | float) and not isinstance(own, bool) and 0 < own < MOST:
        return float(own)
    phases = config.values.get("phases")
    for phase in phases if isinstance(phases, list) else []:
        if isinstance(phase, Mapping) and "warmup" not in (phase.get("kind"), phase.get("name")):
            found = _concurrency(Fields(f"{config.where}.phases", phase))
            if found is not None:
                return found
    for key, value in config.values.items():
        if isinstance(value, Mapping):
            found = _concurrency(Fields(f"{config.where}.{key}", value))
            if found is not None:
                return found
    return None


def _model(report: Fields) -> str:
    config = report.inside("input_config")
    places = [config, *(config.inside(k) for k in ("endpoint", "models") if _is_object(config, k))]
    for place in places:
        for key in ("model_names", "models", "model"):
            name = _name(place.values.get(key))
            if name:
                return name
    return ""


def _name(value: object) -> str:
    """Return the first name of ``"m"``, ``["m"]`` or ``{"items": [{"name": "m"}]}``."""
    if isinstance(value, Mapping):
        value = value.get("items")
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, Mapping):
        value = value.get("name")
    return value if isinstance(value, str) else ""


def _is_object(fields: Fields, key: str) -> bool:
    return isinstance(fields.values.get(key), dict)
