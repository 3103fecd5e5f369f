"""What every benchmark tool measured, in one form: milliseconds, tokens, aggregate tokens/s."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Milliseconds; None: the tool doesn't say."""

    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run at one load. Exactly one of `tok_s` and `mix_tok_s` is known.

    `concurrency`: streams at once. `tokens_in`, `tokens_out`: per request, means. `tok_s`: decode
    only, all streams together; `mix_tok_s`: output tokens/s of the whole run, prefill included.
    """

    concurrency: float
    tokens_in: float | None
    tokens_out: float | None
    tok_s: float | None = None
    mix_tok_s: float | None = None
    prefill_tok_s: float | None = None
    ttft_ms: Percentiles | None = None
    itl_ms: Percentiles | None = None
    e2e_ms: Percentiles | None = None
    completed: int | None = None
    failed: int = 0
    date: str | None = None  # YYYY-MM-DD


@dataclass(frozen=True, slots=True)
class BenchmarkReport:
    """What a file says of one model in one setting. None: it doesn't say."""

    tool: str
    measurements: tuple[Measurement, ...]
    tool_version: str | None = None
    model: str | None = None
    engine: str | None = None
    engine_version: str | None = None
    quantisation: str | None = None
    machine: str | None = None
    warnings: tuple[str, ...] = ()
