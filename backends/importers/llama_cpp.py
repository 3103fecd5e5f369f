"""llama-bench (``-o json``, ``-o jsonl``) and llama-batched-bench (``--output-format jsonl``).

llama-bench runs one stream: a pp row is the prompt's rate, a tg row the decoding's, a pg row both
together. llama-batched-bench runs `pl` streams in step and tells prefill and decode apart.
"""

import re
from collections.abc import Iterator, Sequence

from backends.importers.fields import Fields, NotReadable, grouped
from backends.importers.measurement import BenchmarkReport, Measurement, Percentiles
from backends.importers.sanity import checked

NOISY = 0.2  # standard deviation over mean
AGREES = 0.05
FAR = 30.0  # runs that vary make the mean of rates another than the rate of means
NAMES = {"concurrency": "pl", "tok_s": "speed_tg", "ttft_ms": "t_pp", "itl_ms": "t_tg"}
SETTINGS = ("model_filename", "n_threads", "n_gpu_layers", "type_k", "type_v")  # make a setting


def is_bench(first: Fields) -> bool:
    return {"n_prompt", "n_gen", "avg_ts"} <= set(first.values)


def is_batched(first: Fields) -> bool:
    return {"pl", "speed_pp", "speed_tg"} <= set(first.values)


def read_bench(rows: Sequence[Fields]) -> list[BenchmarkReport]:
    """Return one report for every model and setting of the file."""
    return [_bench(same) for same in grouped(rows, _setting)]


def _bench(rows: Sequence[Fields]) -> BenchmarkReport:
    first = rows[0]
    warnings = [warning for row in rows for warning in _noise(row)]
    prompts, decodes, mixes = [], [], []
    for row in rows:
        prompt, gen, depth = (row.count(key) for key in ("n_prompt", "n_gen", "n_depth"))
        _rate_agrees(row, prompt + gen)
        if prompt and gen:
            mixes.append(_mix(row, prompt, gen))
        elif gen:
            decodes.append((row, gen, depth))
        elif prompt and not depth:
            prompts.append((row, prompt))
        else:
            warnings.append(f"{row.where}: a prompt at depth {depth} is left out")
    if not decodes and not mixes:
        raise NotReadable(f"{first.where}: no row of token generation (tg): run with `-n 128`")
    found = [one for decode in decodes for one in _paired(*decode, prompts)] + mixes
    model, quantisation = _model(first)
    names = {"tok_s": "avg_ts", "ttft_ms": "avg_ts", "itl_ms": "avg_ts"}
    return BenchmarkReport(
        tool="llama-bench",
        tool_version=_build(first),
        model=model,
        engine="llama.cpp",
        engine_version=_build(first),
        quantisation=quantisation,
        machine=_machine(first),
        measurements=tuple(checked(m, first.where, names) for m in found),
        warnings=tuple(warnings),
    )


def _rate_agrees(row: Fields, tokens: int) -> None:
    """Raise NotReadable where the rate isn't what the time says."""
    rate, time_ns = row.number("avg_ts", "tokens/s"), row.maybe("avg_ns", "nanoseconds above 0")
    if time_ns is None or not tokens:
        return
    follows = tokens * 1e9 / time_ns
    if not 1 / FAR < rate / follows < FAR:
        raise row.wrong("avg_ts", f"can't be: {follows:.4g} tokens/s follow from `avg_ns`")


def _paired(
    row: Fields, gen: int, depth: int, prompts: Sequence[tuple[Fields, int]]
) -> Iterator[Measurement]:
    """Return a decode rate with the prompts that were measured beside it."""
    tok_s = row.number("avg_ts", "tokens/s")
    itl, date = Percentiles(p50=1000 / tok_s), row.day("test_time")
    if depth or not prompts:
        yield Measurement(1, depth or None, gen, tok_s, itl_ms=itl, date=date)
        return
    for prompt_row, prompt in prompts:
        rate = prompt_row.number("avg_ts", "tokens/s")
        ttft = Percentiles(p50=1000 * prompt / rate)
        yield Measurement(1, prompt, gen, tok_s, None, rate, ttft, itl, date=date)


def _mix(row: Fields, prompt: int, gen: int) -> Measurement:
    seconds = row.number("avg_ns", "nanoseconds above 0") / 1e9
    return Measurement(1, prompt, gen, mix_tok_s=gen / seconds, date=row.day("test_time"))


def read_batched(rows: Sequence[Fields]) -> list[BenchmarkReport]:
    found, warnings = [], []
    for row in rows:
        streams, gen = row.number("pl", "streams"), row.number("tg", "tokens a stream")
        tok_s = row.number("speed_tg", "tokens/s of all streams")
        t_tg, t_pp = row.number("t_tg", "seconds"), row.maybe("t_pp", "seconds")
        if abs(streams * gen / t_tg / tok_s - 1) > AGREES:
            raise row.wrong("speed_tg", f"can't be: pl x tg / t_tg is {streams * gen / t_tg:.4g}")
        shared = bool(row.values.get("is_pp_shared"))
        if shared:
            warnings.append(f"{row.where}: the prompt is shared: prefill and TTFT are left out")
        known = not shared and t_pp is not None
        if known:
            _prefill_agrees(row, streams)
        found.append(
            checked(
                Measurement(
                    concurrency=streams,
                    tokens_in=row.maybe("pp", "tokens a stream"),
                    tokens_out=gen,
                    tok_s=tok_s,
                    prefill_tok_s=row.maybe("speed_pp", "tokens/s") if known else None,
                    ttft_ms=Percentiles(p50=1000 * t_pp) if known and t_pp else None,
                    itl_ms=Percentiles(p50=1000 * t_tg / gen),
                ),
                row.where,
                NAMES,
            )
        )
    report = BenchmarkReport(
        tool="llama-batched-bench",
        engine="llama.cpp",
        measurements=tuple(found),
        warnings=tuple(warnings),
    )
    return [report]


def _prefill_agrees(row: Fields, streams: float) -> None:
    prompts, speed_pp = row.count("pp") * streams, row.maybe("speed_pp", "tokens/s")
    follows = prompts / row.number("t_pp", "seconds")
    if prompts and speed_pp is not None and abs(follows / speed_pp - 1) > AGREES:
        raise row.wrong("speed_pp", f"can't be: pp x pl / t_pp is {follows:.4g}")


def _noise(row: Fields) -> list[str]:
    mean, spread = row.number("avg_ts", "tokens/s"), row.maybe("stddev_ts", least=-1)
    if spread is None or spread <= NOISY * mean:
        return []
    return [f"{row.where}: noisy: {mean:.4g} tokens/s with a standard deviation of {spread:.4g}"]


def _build(row: Fields) -> str | None:
    return row.text("build_commit")


def _setting(row: Fields) -> str:
    return repr([row.values.get(key) for key in SETTINGS])


def _model(row: Fields) -> tuple[str | None, str | None]:
    """Return model and quantisation of ``models/qwen3-0.6b-Q4_0.gguf``, else of its type."""
    file = (row.text("model_filename") or "").rpartition("/")[2].removesuffix(".gguf")
    named = re.fullmatch(r"(.+?)[-_.]((?:IQ|Q|F|BF)\d+(?:_\w+)?)", file, re.IGNORECASE)
    if named:
        return named[1].lower(), named[2]
    words = (row.text("model_type") or "").split()
    return file.lower() or None, words[2] if len(words) > 2 else None  # noqa: PLR2004  (name, size)


def _machine(row: Fields) -> str | None:
    named = [row.text("cpu_info"), row.text("gpu_info")]
    threads = row.count("n_threads")
    parts = [part for part in named if part]
    return ", ".join([*parts, f"{threads} threads"] if threads else parts) or None
