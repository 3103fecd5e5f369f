"""Figures that can't be, whatever tool wrote them: a wrong unit is off by a thousand."""

from collections.abc import Iterator, Mapping

from backends.importers.fields import NotReadable
from backends.importers.measurement import Measurement, Percentiles

FAR = 30.0  # a factor that no way of counting explains; units are 1,000 apart
PREFILL_HEAVY = 300.0  # decoding may be that small a part of a request
ROUNDED = 1.01
MOST_PREFILL_TOK_S = 2e6  # of one prompt
MOST_TOK_S = 1e7
MOST_MS = 3_600_000.0
LEAST_ITL_MS = 0.02  # 50,000 tokens/s of one stream
MOST_STREAMS = 1e6
UNIT = " (is it in another unit?)"


def checked(measured: Measurement, where: str, names: Mapping[str, str]) -> Measurement:
    """Return the measurement; raise NotReadable if its figures can't all be right.

    `names`: what the report calls `concurrency`, `tok_s`, `ttft_ms`, `itl_ms` and `e2e_ms`.
    """
    for field, value, said in (*_absurd(measured), *_inconsistent(measured)):
        unit = " ms" if field.endswith("_ms") else ""  # theirs may be another, the value is ours
        shown = f"`{names.get(field, field)}` {value:g}{unit}"
        raise NotReadable(f"{where}: {shown} can't be: {said}")
    return measured


Objections = Iterator[tuple[str, float, str]]
"""Field, value, why it can't be."""


def _absurd(measured: Measurement) -> Objections:
    tok_s = _tok_s(measured)
    if measured.concurrency > MOST_STREAMS:
        yield "concurrency", measured.concurrency, f"up to {MOST_STREAMS:g} streams are expected"
    if tok_s > MOST_TOK_S:
        yield "tok_s", tok_s, f"up to {MOST_TOK_S:g} tokens/s are expected"
    for field in ("ttft_ms", "itl_ms", "e2e_ms"):
        ms = _middle(getattr(measured, field))
        if ms is not None and ms > MOST_MS:
            yield field, ms, f"more than an hour{UNIT}"
    itl_ms = _middle(measured.itl_ms)
    if itl_ms is not None and itl_ms < LEAST_ITL_MS:
        yield "itl_ms", itl_ms, f"no stream makes {1000 / itl_ms:,.0f} tokens/s{UNIT}"


def _inconsistent(measured: Measurement) -> Objections:
    """Hold the latencies against the throughput, by Little's law, and against each other."""
    streams, tok_s = measured.concurrency, _tok_s(measured)
    itl_ms, ttft_ms = _middle(measured.itl_ms), _middle(measured.ttft_ms)
    e2e_ms = _middle(measured.e2e_ms)
    per_token_ms = 1000 * streams / tok_s
    known = f"{streams:g} streams that make {tok_s:g} tokens/s"
    if itl_ms is not None and not per_token_ms / PREFILL_HEAVY < itl_ms < per_token_ms * FAR:
        yield "itl_ms", itl_ms, f"{known} have about {per_token_ms:.3g} ms between tokens{UNIT}"
    if measured.tokens_out and measured.mix_tok_s:
        usual_ms = per_token_ms * measured.tokens_out
        said = f"{known} take about {usual_ms:.3g} ms for {measured.tokens_out:g} of them{UNIT}"
        if e2e_ms is not None and not usual_ms / FAR < e2e_ms < usual_ms * FAR:
            yield "e2e_ms", e2e_ms, said
        if ttft_ms is not None and ttft_ms > usual_ms * FAR:
            yield "ttft_ms", ttft_ms, said
    for name in ("mean", "p50", "p90", "p95", "p99"):  # of the same requests, so none is above
        first, last = (getattr(of, name, None) for of in (measured.ttft_ms, measured.e2e_ms))
        if first is not None and last is not None and first > ROUNDED * last:
            yield "ttft_ms", first, f"at {name} requests end after {last:g} ms"
    if ttft_ms is not None and measured.tokens_in:
        rate = 1000 * measured.tokens_in / ttft_ms
        if rate > MOST_PREFILL_TOK_S:
            said = f"a prompt of {measured.tokens_in:g} tokens at {rate:.3g} tokens/s{UNIT}"
            yield "ttft_ms", ttft_ms, said


def _tok_s(measured: Measurement) -> float:
    tok_s = measured.tok_s or measured.mix_tok_s
    assert tok_s is not None
    return tok_s


def _middle(percentiles: Percentiles | None) -> float | None:
    if percentiles is None:
        return None
    return percentiles.p50 if percentiles.p50 is not None else percentiles.mean
