"""Every benchmark format: its own samples, nobody else's, the right units, and clear refusals."""

import copy
import io
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from backends import importers
from backends.importers import IMPORTERS, NotReadable
from backends.importers.document import SMALL, _Plain, load

BENCH = Path(__file__).parents[1] / "data" / "bench"
SECRET = "a text that no importer may repeat"

# file -> tool, model, and of every measurement: streams, tokens in and out, decode tok/s or (of a
# whole mix) mix tok/s, and the medians of TTFT, ITL and e2e in ms.
SAMPLES = {
    "llama-bench.json": (
        "llama-bench",
        "qwen3-0.6b",
        [
            (1, 128, 128, 73.915, None, 266.34, 13.529, None),
            (1, 512, 128, 73.915, None, 1203.8, 13.529, None),
            (1, 128, 128, 29.538, None, 481.80, 33.855, None),
            (1, 512, 128, 29.538, None, 2297.2, 33.855, None),
        ],
    ),
    "llama-bench.jsonl": (
        "llama-bench",
        "qwen3-0.6b",
        [
            (1, 512, 128, 25.732, None, 8608.8, 38.862, None),
            (1, 512, 128, 34.375, None, 1260.9, 29.091, None),
        ],
    ),
    "llama-batched-bench.jsonl": (
        "llama-batched-bench",
        None,
        [
            (1, 128, 64, 44.833, None, 379.69, 22.305, None),
            (2, 128, 64, 45.930, None, 954.03, 43.545, None),
            (4, 128, 64, 128.05, None, 1923.9, 31.237, None),
            (8, 128, 64, 145.79, None, 2160.6, 54.873, None),
        ],
    ),
    "vllm-serve.json": (
        "vllm bench serve",
        "meta-llama/Llama-4-Scout-17B-16E-Instruct",
        [(16, 512, 128, None, 1265.1, 92.15, 11.64, None)],
    ),
    "vllm-serve-append.jsonl": (
        "vllm bench serve",
        "meta-llama/Llama-4-Scout-17B-16E-Instruct",
        [
            (1, 512, 128, None, 118.96, 58.2, 7.76, None),
            (8, 512, 128, None, 802.19, 67.9, 9.215, None),
            (32, 512, 128, None, 2135.6, 135.8, 13.58, None),
        ],
    ),
    "vllm-serve-rate.json": (  # a rate instead of a concurrency: streams = requests/s x time
        "vllm bench serve",
        "meta-llama/Llama-4-Scout-17B-16E-Instruct",
        [(24, 512, 128, None, 1897.5, 92.15, 11.64, 1600)],
    ),
    "sglang-serving.jsonl": (
        "sglang bench_serving",
        "meta-llama/Llama-4-Scout-17B-16E-Instruct",
        [
            (4, 512, 128, None, 344.8, 85.36, 10.67, 1455.3),
            (16, 512, 128, None, 1379.1, 85.36, 10.67, 1455.3),
        ],
    ),
    "guidellm-0.8.1.json": (
        "guidellm",
        "qwen3-0.6b",
        [(2, 51.5, 785.65, None, 194.87, 15.249, 2.7702, 1328.6)],
    ),
    "guidellm-0.4.json": (
        "guidellm",
        "Qwen/Qwen3-8B",
        [(4, 300, 100, None, 197.04, 50, 20, 2030)],
    ),
    "guidellm-0.3.1.json": (  # totals, strategy and model elsewhere than later
        "guidellm",
        "Qwen/Qwen3-8B",
        [(4, 300, 100, None, 800 / 4.061, 50, 20, 2030)],
    ),
    "profile_export_genai_perf.json": (
        "genai-perf",
        "qwen3-8b",
        [(8, 256, 64, None, 731.43, 68.6, 9.8, 686)],
    ),
    "profile_export_aiperf.json": (  # the same run, its times in s, ns and us
        "aiperf",
        "qwen3-8b",
        [(8, 256, 64, None, 731.43, 68.6, 9.8, 686)],
    ),
}


def figures(m):
    times = [getattr(m, name) for name in ("ttft_ms", "itl_ms", "e2e_ms")]
    medians = [None if t is None else t.p50 for t in times]
    return (m.concurrency, m.tokens_in, m.tokens_out, m.tok_s, m.mix_tok_s, *medians)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_report_is_read_in_milliseconds_and_aggregate_tokens(name):
    tool, model, expected = SAMPLES[name]
    reports = importers.read(BENCH / name)
    assert {(report.tool, report.model) for report in reports} == {(tool, model)}
    found = [figures(m) for report in reports for m in report.measurements]
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        for value, wanted in zip(ours, theirs, strict=True):
            assert value == (None if wanted is None else pytest.approx(wanted, rel=2e-4))


def test_every_importer_has_a_sample_and_every_sample_an_importer():
    assert {tool for tool, _, _ in SAMPLES.values()} == {importer.name for importer in IMPORTERS}
    assert set(SAMPLES) == {path.name for path in BENCH.iterdir()}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_report_is_recognised_by_its_own_importer_and_by_no_other(name):
    first = load(BENCH / name).objects[0]
    assert [i.name for i in IMPORTERS if i.recognises(first)] == [SAMPLES[name][0]]


# -- broken reports --------------------------------------------------------------------------------


def objects(name):
    text = (BENCH / name).read_text("utf-8")
    if name.endswith(".jsonl"):
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    whole = json.loads(text)
    return whole if isinstance(whole, list) else [whole]


def refused(path, values):
    text = "\n".join(json.dumps(value) for value in values)
    return refused_text(path, text)


def refused_text(path, text):
    file = path / "report.json"
    file.write_text(text, "utf-8")
    with pytest.raises(NotReadable) as found:
        importers.read(file)
    said = str(found.value)
    assert said.startswith(str(file))
    assert SECRET not in said
    return said


def changed(name, keys, change):
    """Return the sample's objects with the figure under this path changed in the first."""
    values = copy.deepcopy(objects(name))
    inside = values[0]
    for key in keys[:-1]:
        inside = inside[key]
    inside[keys[-1]] = change(inside.get(keys[-1]) if isinstance(inside, dict) else None)
    return values


METRIC = ["benchmarks", 0, "metrics"]
UNITS = [
    ("vllm-serve.json", ["median_tpot_ms"], "median_tpot_ms"),
    ("sglang-serving.jsonl", ["median_tpot_ms"], "median_tpot_ms"),
    ("sglang-serving.jsonl", ["median_e2e_latency_ms"], "median_e2e_latency_ms"),
    (
        "guidellm-0.4.json",
        [*METRIC, "inter_token_latency_ms", "successful", "percentiles", "p50"],
        "inter_token_latency_ms",
    ),
    (
        "guidellm-0.4.json",
        [*METRIC, "request_latency", "successful", "percentiles", "p50"],
        "request_latency",
    ),
    ("profile_export_genai_perf.json", ["inter_token_latency", "p50"], "inter_token_latency"),
    ("profile_export_genai_perf.json", ["request_latency", "p50"], "request_latency"),
    ("llama-batched-bench.jsonl", ["t_tg"], "speed_tg"),
    ("llama-batched-bench.jsonl", ["t_pp"], "speed_pp"),
    ("llama-batched-bench.jsonl", ["speed_pp"], "speed_pp"),
    ("llama-bench.json", ["avg_ts"], "avg_ts"),
    ("llama-bench.json", ["avg_ns"], "avg_ts"),
]


@pytest.mark.parametrize(("name", "keys", "said"), UNITS, ids=lambda value: str(value)[-30:])
@pytest.mark.parametrize("factor", [1000, 0.001, 1e6, 1e-6])
def test_a_time_in_another_unit_is_caught_and_named(tmp_path, name, keys, said, factor):
    told = refused(tmp_path, changed(name, keys, lambda value: value * factor))
    assert said in told
    assert "can't be" in told


@pytest.mark.parametrize("factor", [1000, 1e-6])
@pytest.mark.parametrize(
    ("name", "keys", "said"),
    [
        ("vllm-serve.json", ["median_ttft_ms"], "median_ttft_ms"),
        ("profile_export_genai_perf.json", ["time_to_first_token", "p50"], "time_to_first_token"),
    ],
)
def test_a_ttft_in_another_unit_is_caught_and_named(tmp_path, name, keys, said, factor):
    assert said in refused(tmp_path, changed(name, keys, lambda value: value * factor))


def test_a_tpot_in_seconds_is_caught_though_the_concurrency_follows_from_it(tmp_path):
    (value,) = objects("vllm-serve.json")
    value.update({key: value[key] / 1000 for key in value if key.endswith("_tpot_ms")})
    said = refused(tmp_path, [value])
    assert "`median_tpot_ms` 0.01164 ms can't be: no stream makes 85,911 tokens/s" in said


def test_the_figure_that_was_looked_at_is_named_with_its_unit(tmp_path):
    (value,) = changed("vllm-serve.json", ["median_ttft_ms"], lambda _: None)
    value["mean_ttft_ms"] = 95_000
    assert "`mean_ttft_ms` 95000 ms can't be" in refused(tmp_path, [value])


@pytest.mark.parametrize("name", ["mean", "median", "p99"])
def test_an_answer_that_ends_before_its_first_token_is_refused(tmp_path, name):
    (value, *_) = objects("sglang-serving.jsonl")
    value[f"{name}_ttft_ms"] = value[f"{name}_e2e_latency_ms"] * 1.05
    assert "requests end after" in refused(tmp_path, [value])


@pytest.mark.parametrize("unit", ["minutes", "tokens", None, 3])
def test_a_metric_in_an_unknown_unit_is_refused(tmp_path, unit):
    values = changed("profile_export_aiperf.json", ["request_latency", "unit"], lambda _: unit)
    assert "ns, us, ms or s is expected" in refused(tmp_path, values)


def test_a_throughput_that_is_no_rate_is_refused(tmp_path):
    keys = ["output_token_throughput", "unit"]
    values = changed("profile_export_aiperf.json", keys, lambda _: "tokens")
    assert "tokens/sec" in refused(tmp_path, values)


FIGURES = [
    ("llama-bench.json", ["avg_ts"]),
    ("llama-batched-bench.jsonl", ["speed_tg"]),
    ("vllm-serve.json", ["output_throughput"]),
    ("sglang-serving.jsonl", ["duration"]),
    ("guidellm-0.4.json", [*METRIC, "output_token_count", "successful", "mean"]),
    ("profile_export_genai_perf.json", ["output_sequence_length", "avg"]),
]


@pytest.mark.parametrize(("name", "keys"), FIGURES, ids=lambda value: str(value)[-30:])
@pytest.mark.parametrize("value", [-1, 0, None, "many", float("inf"), float("nan"), True, [1]])
def test_a_figure_that_is_none_is_refused_with_field_and_what_is_expected(
    tmp_path, name, keys, value
):
    told = refused(tmp_path, changed(name, keys, lambda _: value))
    assert f"`{keys[-1]}`" in told
    assert "expected" in told
    assert "many" not in told


def test_a_latency_that_nobody_knows_is_left_out(tmp_path):
    file = tmp_path / "r.json"
    for nothing in (None, float("nan")):
        (value,) = changed("vllm-serve.json", ["median_ttft_ms"], lambda _, n=nothing: n)
        value["mean_ttft_ms"] = nothing
        file.write_text(json.dumps(value))
        ((measured,),) = [report.measurements for report in importers.read(file)]
        assert measured.ttft_ms is None
        assert measured.itl_ms is not None


@pytest.mark.parametrize(
    ("name", "keys", "none"),
    [
        ("vllm-serve.json", ["completed"], 0),
        ("guidellm-0.4.json", [*METRIC, "request_totals", "successful"], 0),
        ("profile_export_aiperf.json", ["request_count", "avg"], 0),
    ],
)
def test_a_run_without_an_answer_is_refused(tmp_path, name, keys, none):
    assert "answered" in refused(tmp_path, changed(name, keys, lambda _: none))


def test_an_aiperf_run_of_failures_has_no_latencies_and_is_refused_as_aiperf(tmp_path):
    (value,) = objects("profile_export_aiperf.json")
    kept = ("aiperf_version", "input_config", "error_request_count")
    assert "no request was answered" in refused(tmp_path, [{key: value[key] for key in kept}])


@pytest.mark.parametrize("ended", [{"is_complete": False}, {"was_cancelled": True}])
def test_a_run_that_was_ended_early_is_told(tmp_path, ended):
    (value,) = objects("profile_export_aiperf.json")
    assert "before it was complete" not in " ".join(read_one(tmp_path, value).warnings)
    assert "before it was complete" in read_one(tmp_path, {**value, **ended}).warnings[0]


@pytest.mark.parametrize(
    ("name", "failed"),
    [
        ("vllm-serve-rate.json", "3 of 67 requests failed"),
        ("guidellm-0.4.json", "1 of 41 requests failed"),
        ("guidellm-0.3.1.json", "1 of 9 requests failed"),
        ("profile_export_aiperf.json", "2 requests failed"),
    ],
)
def test_failed_requests_are_told(name, failed):
    (report,) = importers.read(BENCH / name)
    assert failed in " ".join(report.warnings)
    assert report.measurements[0].failed > 0


def test_a_concurrency_that_was_never_reached_is_not_taken(tmp_path):
    (value,) = changed("vllm-serve.json", ["max_concurrency"], lambda _: 256)
    file = tmp_path / "r.json"
    file.write_text(json.dumps(value))
    (report,) = importers.read(file)
    assert report.measurements[0].concurrency == pytest.approx(16, rel=0.05)
    assert "`max_concurrency` 256 was not reached" in report.warnings[0]


def test_an_itl_of_chunks_gives_way_to_tpot(tmp_path):
    (value,) = objects("vllm-serve.json")
    value.update({key: value[key] * 3 for key in value if key.endswith("_itl_ms")})
    file = tmp_path / "r.json"
    file.write_text(json.dumps(value))
    (report,) = importers.read(file)
    assert report.measurements[0].itl_ms.p50 == pytest.approx(11.64)
    assert "is of chunks" in report.warnings[0]


@pytest.mark.parametrize(
    ("name", "backend", "engine"),
    [
        ("vllm-serve.json", "openai-chat", "vllm"),
        ("sglang-serving.jsonl", "truss", "sglang"),
    ],
)
def test_an_engine_that_the_report_does_not_name_is_told_as_assumed(
    tmp_path, name, backend, engine
):
    values = [{**value, "backend": backend, "endpoint_type": None} for value in objects(name)]
    report = read_one(tmp_path, *values)
    assert report.engine == engine
    assert f"taken for {engine}: see `--engine`" in report.warnings[0]
    assert read_one(tmp_path, *objects(name)).warnings == ()


def test_an_sglang_client_may_measure_vllm(tmp_path):
    values = [{**value, "backend": "vllm-chat"} for value in objects("sglang-serving.jsonl")]
    report = read_one(tmp_path, *values)
    assert (report.engine, report.warnings) == ("vllm", ())


def test_results_of_two_models_are_two_reports(tmp_path):
    values = objects("vllm-serve-append.jsonl")
    values[2]["model_id"] = "Qwen/Qwen3-8B"
    file = tmp_path / "r.jsonl"
    file.write_text("\n".join(map(json.dumps, values)))
    assert [(r.model, len(r.measurements)) for r in importers.read(file)] == [
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", 2),
        ("Qwen/Qwen3-8B", 1),
    ]


def test_llama_bench_quantisations_are_told_apart():
    reports = importers.read(BENCH / "llama-bench.jsonl")
    assert [(r.model, r.quantisation) for r in reports] == [
        ("qwen3-0.6b", "Q8_0"),
        ("qwen3-0.6b", "Q4_K_M"),
    ]
    assert "noisy" in reports[0].warnings[0]


def test_llama_bench_rows_of_both_kinds_are_a_mix(tmp_path):
    row = objects("llama-bench.json")[2]
    mix = {**row, "n_prompt": 512, "n_gen": 128, "avg_ns": 4_000_000_000, "avg_ts": 160.0}
    file = tmp_path / "r.json"
    file.write_text(json.dumps([mix]))
    (report,) = importers.read(file)
    assert [figures(m) for m in report.measurements] == [
        (1, 512, 128, None, 32.0, None, None, None)
    ]
    deep = {**row, "n_depth": 4096}
    file.write_text(json.dumps([deep]))
    (report,) = importers.read(file)
    assert report.measurements[0].tokens_in == 4096


def test_llama_bench_without_generation_is_refused(tmp_path):
    assert "no row of token generation" in refused(tmp_path, objects("llama-bench.json")[:2])


def test_a_shared_prompt_tells_nothing_of_prefill(tmp_path):
    values = [{**value, "is_pp_shared": 1} for value in objects("llama-batched-bench.jsonl")]
    file = tmp_path / "r.jsonl"
    file.write_text("\n".join(map(json.dumps, values)))
    (report,) = importers.read(file)
    assert {(m.prefill_tok_s, m.ttft_ms) for m in report.measurements} == {(None, None)}
    assert "shared" in report.warnings[0]


# -- files of other kinds --------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLES)
def test_a_truncated_report_is_refused_with_its_place(tmp_path, name):
    text = (BENCH / name).read_text("utf-8").rstrip()
    said = refused_text(tmp_path, text[: len(text) * 2 // 3])
    assert "report.json:" in said
    assert "truncated" in said or "not JSON" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("   \n", "is not JSON"),
        ("[]", "holds no results"),
        ("[1, 2]", "a number where a benchmark's object is expected"),
        ('{"choices": []}', "no tool that is known (known: llama-bench, "),
        ("| model | size | t/s |\n|---|---|---|", "run llama-bench with `-o json`"),
        ("a,b,c\n1,2,3\n", "looks like CSV"),
        ("MLPerf Results Summary\nSUT name : x", "MLPerf"),
        ('{"elapsed_time": 1, "total_num_tokens": 5}', "prompt and output tokens together"),
        ('{"avg_latency": 1, "percentiles": {}}', "`vllm bench latency`"),
    ],
)
def test_a_file_of_something_else_is_refused_with_what_is_expected(tmp_path, text, said):
    assert said in refused_text(tmp_path, text)


def test_a_binary_file_is_refused(tmp_path):
    file = tmp_path / "report.json"
    file.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(NotReadable, match="not UTF-8"):
        importers.read(file)


def test_two_formats_in_one_file_are_refused_with_the_line(tmp_path):
    values = objects("vllm-serve.json") + objects("sglang-serving.jsonl")
    said = refused(tmp_path, values)
    assert "report.json:2" in said
    assert "sglang bench_serving among results of vllm bench serve" in said
    assert "an unknown one" in refused(tmp_path, [*objects("vllm-serve.json"), {"a": 1}])


def test_two_guidellm_reports_in_one_file_are_refused(tmp_path):
    assert "a second report" in refused(tmp_path, objects("guidellm-0.4.json") * 2)


# -- large files -----------------------------------------------------------------------------------


def large(path, size):
    """Write a guidellm report whose requests, with their prompts, take up `size` bytes."""
    (report,) = objects("guidellm-0.8.1.json")
    request = {"output": SECRET, "tokens": list(range(300)), "prompt_tokens": 51}
    row = json.dumps(request)
    report["benchmarks"][0]["requests"]["successful"] = "REQUESTS"
    before, after = json.dumps(report).split('"REQUESTS"')
    with path.open("w") as file:
        file.write(f"{before}[{row}")
        for _ in range(size // len(row)):
            file.write(f", {row}")
        file.write(f"]{after}")
    return path


def test_a_large_report_reads_like_a_small_one(tmp_path):
    path = large(tmp_path / "large.json", 2 * SMALL)
    assert path.stat().st_size > SMALL
    small = importers.read(BENCH / "guidellm-0.8.1.json")
    assert importers.read(path) == small
    whole = path.read_bytes()
    for cut in (len(whole) // 2, len(whole) - 2):
        path.write_bytes(whole[:cut])
        with pytest.raises(NotReadable, match=rf"truncated\?\), before byte {cut}, after 0 whole"):
            importers.read(path)
    path.write_bytes(whole.replace(b'"tokens": [0', b'"tokens": :[0', 1))
    with pytest.raises(NotReadable, match="is not JSON"):
        importers.read(path)


def test_the_requests_of_a_large_report_are_never_built(tmp_path):
    path = large(tmp_path / "large.json", 2 * SMALL)
    tracemalloc.start()
    try:
        (report,) = load(path).objects
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "requests" not in report.values["benchmarks"][0]
    assert peak < path.stat().st_size / 4


def large_sglang(path, mark=b""):
    """Write runs without a limit of the rate, which stands as a bare ``Infinity``, in detail."""
    rows = [{**row, "request_rate": float("inf")} for row in objects("sglang-serving.jsonl")]
    rows[0] |= {"generated_texts": [SECRET, "NaN, NaN", "缓存"] * (SMALL // 50)}
    rows[1] |= {"accept_length": float("nan"), "cached_tokens": [float("-inf")]}
    path.write_bytes(mark + "\n".join(map(json.dumps, rows)).encode())
    assert path.stat().st_size > SMALL
    return path


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_large_report_may_hold_numbers_that_json_does_not_have(tmp_path, mark):
    found = importers.read(large_sglang(tmp_path / "large.jsonl", mark))
    assert found == importers.read(BENCH / "sglang-serving.jsonl")


def test_infinity_is_refused_in_a_large_report_as_in_a_small_one(tmp_path):
    path = large_sglang(tmp_path / "large.jsonl")
    bare = path.read_bytes().replace(b'"duration": 23.76', b'"duration": Infinity', 1)
    path.write_bytes(bare)
    with pytest.raises(NotReadable, match="`duration` 1e\\+300 can't be"):
        importers.read(path)


BARE = b'{"a": [NaN,Infinity , -Infinity], "NaN": "Infinity, NaNcy", "b":NaN}\n{"c": 1234567890123}'
PLAIN = b'{"a": [null,1e300 , -1e300], "NaN": "Infinity, NaNcy", "b":null}\n{"c": 1234567890123}'


def test_a_number_that_json_does_not_have_is_exchanged_wherever_reads_are_cut():
    for before in range(80):
        blanks = b" " * before
        stream = _Plain(io.BytesIO(blanks + BARE))
        assert stream.read(0) == b""
        assert b"".join(iter(lambda of=stream: of.read(1), b"")) == blanks + PLAIN


def test_fifty_megabytes_are_read_in_a_small_part_of_400(tmp_path):
    path = large(tmp_path / "large.json", 50_000_000)
    code = (
        "import re, sys; from pathlib import Path; from backends import importers;"
        "importers.read(Path(sys.argv[1]));"
        # not ru_maxrss, which begins with what the tests' own process had when it forked
        "peak = re.search(r'VmHWM:\\s*(\\d+)', Path('/proc/self/status').read_text());"
        "print(int(peak[1]) // 1024)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) < 400


# -- what tools leave out --------------------------------------------------------------------------


def read_one(path, *values):
    file = path / "report.json"
    file.write_text("\n".join(json.dumps(value) for value in values))
    (report,) = importers.read(file)
    return report


@pytest.mark.parametrize("name", ["profile_export_genai_perf.json", "profile_export_aiperf.json"])
def test_without_a_concurrency_streams_are_requests_a_second_times_their_time(tmp_path, name):
    (value,) = objects(name)
    value["input_config"] = {"model_names": "m"}
    report = read_one(tmp_path, value)
    assert report.measurements[0].concurrency == pytest.approx(8)
    assert report.model == "m"
    value["request_latency"]["avg"] = None
    assert "no concurrency is known" in refused(tmp_path, [value])
    value["request_latency"]["avg"] = 700
    value["request_throughput"]["unit"] = "requests"
    assert "is no rate" in refused(tmp_path, [value])


def test_aiperf_keeps_its_phases_in_a_list_of_which_the_warmup_is_not_meant(tmp_path):
    (value,) = objects("profile_export_aiperf.json")
    del value["request_throughput"]  # else streams could follow from it
    warmup = {"name": "warmup", "kind": "warmup", "type": "concurrency", "concurrency": 2}
    profiling = {"name": "profiling", "kind": "profiling", "type": "concurrency", "concurrency": 8}
    for phases in ([warmup, profiling], [{**warmup, "name": "first"}, profiling], [profiling]):
        value["input_config"] = {
            "models": {"strategy": "round_robin", "items": [{"name": "qwen3-8b"}]},
            "endpoint": {"urls": ["http://127.0.0.1:8000"], "type": "chat"},
            "phases": phases,
        }
        report = read_one(tmp_path, value)
        assert (report.model, report.measurements[0].concurrency) == ("qwen3-8b", 8)


def test_a_model_that_no_setting_names_is_unknown(tmp_path):
    (value,) = objects("profile_export_genai_perf.json")
    value["input_config"] = {"concurrency": 8}
    assert read_one(tmp_path, value).model is None


@pytest.mark.parametrize(
    ("name", "keys", "wrong", "said"),
    [
        ("vllm-serve.json", ["completed"], "many", "`completed` (str) is not a count"),
        ("vllm-serve.json", ["failed"], -1, "`failed` -1 is not a count"),
        ("sglang-serving.jsonl", ["server_info"], [1], "`server_info` (list) is not an object"),
        ("guidellm-0.4.json", ["benchmarks", 0, "metrics"], [1], "is not an object"),
        ("vllm-serve.json", ["output_throughput"], 9e3, "tokens/s follow from `duration`"),
        ("vllm-serve.json", ["duration"], 1e-6, "can't be"),
        ("llama-bench.json", ["avg_ts"], 1e8, "up to 1e+07 tokens/s are expected"),
        ("guidellm-0.4.json", [*METRIC, "request_totals", "errored"], "x", "is not a count"),
    ],
)
def test_what_is_of_another_kind_is_told(tmp_path, name, keys, wrong, said):
    values = changed(name, keys, lambda _: wrong)
    if name == "llama-bench.json":
        values = [{**value, "avg_ts": wrong, "avg_ns": 1280} for value in values[:3]]
    assert said in refused(tmp_path, values)


@pytest.mark.parametrize("told", ["x", "2026", 5, "2026-13-45T00:00:00Z", None])
@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("vllm-serve.json", "date"),
        ("profile_export_aiperf.json", "start_time"),
        ("llama-bench.jsonl", "test_time"),
    ],
)
def test_a_date_that_is_none_is_left_out(tmp_path, name, key, told):
    values = [{**value, key: told} for value in objects(name)[:2]]
    if name == "llama-bench.jsonl":
        assert read_one(tmp_path, *values).measurements[0].date is None
    else:
        assert read_one(tmp_path, values[0]).measurements[0].date is None


@pytest.mark.parametrize("huge", [10**400, 1e308, -(10**400)])
def test_a_number_that_counts_nothing_is_refused(tmp_path, huge):
    for key in ("output_throughput", "completed"):
        assert f"`{key}`" in refused(tmp_path, changed("vllm-serve.json", [key], lambda _: huge))
    (value,) = objects("guidellm-0.4.json")
    value["benchmarks"][0]["start_time"] = 1e14
    assert read_one(tmp_path, value).measurements[0].date is None


def test_more_streams_than_anybody_has_are_refused(tmp_path):
    (value,) = objects("llama-batched-bench.jsonl")[:1]
    value.update(pl=1e7, speed_tg=1e6, t_tg=640.0, speed_pp=1e6, t_pp=1280.0)
    assert "up to 1e+06 streams" in refused(tmp_path, [value])


def test_more_than_an_hour_to_the_first_token_is_refused(tmp_path):
    (value,) = objects("llama-batched-bench.jsonl")[:1]
    assert "more than an hour" in refused(tmp_path, [{**value, "t_pp": 1e5, "speed_pp": 1.28e-3}])


def test_a_run_at_a_rate_without_any_latency_tells_no_concurrency(tmp_path):
    (value,) = objects("vllm-serve.json")
    bare = {key: value[key] for key in value if not key.endswith("_ms")}
    bare.update(mean_ttft_ms=None, max_concurrency=None)
    assert "`max_concurrency` is unknown, and no latency tells it" in refused(tmp_path, [bare])
    bare["max_concurrency"] = 16
    assert read_one(tmp_path, bare).measurements[0].concurrency == 16


def test_a_prompt_in_the_middle_of_a_context_is_left_out_and_told(tmp_path):
    rows = objects("llama-bench.json")[:3]
    rows[1]["n_depth"] = 4096
    file = tmp_path / "r.json"
    file.write_text(json.dumps(rows))
    (report,) = importers.read(file)
    assert len(report.measurements) == 1
    assert "a prompt at depth 4096 is left out" in report.warnings[0]


def test_a_guidellm_benchmark_without_an_answer_is_left_out(tmp_path):
    (value,) = objects("guidellm-0.4.json")
    dead = copy.deepcopy(value["benchmarks"][0])
    dead["metrics"]["request_totals"]["successful"] = 0
    value["benchmarks"].append(dead)
    report = read_one(tmp_path, value)
    assert len(report.measurements) == 1
    assert "benchmarks[1]: no answered request, left out" in report.warnings[1]


def test_guidellm_without_duration_and_concurrency_is_read_from_what_is_left(tmp_path):
    (value,) = objects("guidellm-0.4.json")
    benchmark = value["benchmarks"][0]
    del benchmark["duration"], benchmark["start_time"]
    benchmark["metrics"]["request_concurrency"]["successful"]["mean"] = None
    (measured,) = read_one(tmp_path, value).measurements
    assert (measured.concurrency, measured.date) == (4, None)
    assert measured.mix_tok_s == pytest.approx(197.04, rel=1e-3)
    benchmark["config"]["strategy"] = {"type_": "throughput"}
    assert "`streams` is missing" in refused(tmp_path, [value])
    benchmark["metrics"]["request_concurrency"]["successful"]["mean"] = 3.1
    assert read_one(tmp_path, value).measurements[0].concurrency == 3.1
