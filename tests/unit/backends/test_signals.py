"""Engines' status pages, as their documentation and the engines themselves have them."""

import pytest

from backends.dialects import DIALECTS
from backends.signals import NOTHING, Signals, read

LLAMA = b"""\
# HELP llamacpp:requests_processing Number of requests processing.
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 4
# HELP llamacpp:requests_deferred Number of requests deferred.
llamacpp:requests_deferred 8
"""
VLLM_OLD = b"""\
vllm:num_requests_running{model_name="meta-llama/Llama-4-Scout"} 3.0
vllm:num_requests_waiting{model_name="meta-llama/Llama-4-Scout"} 2.0
vllm:num_requests_swapped{model_name="meta-llama/Llama-4-Scout"} 9.0
vllm:gpu_cache_usage_perc{model_name="meta-llama/Llama-4-Scout"} 0.25
"""
VLLM_NEW = b"""\
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 5.0
vllm:num_requests_waiting{engine="0",model_name="m"} 7.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="capacity"} 2.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="deferred"} 5.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.5
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.75
vllm:gpu_cache_usage_perc{engine="0",model_name="m"} 0.1
"""
SGLANG = b"""\
sglang:num_running_reqs{model_name="m",tp_rank="0"} 6.0
sglang:num_queue_reqs{model_name="m",tp_rank="0"} 0.0
sglang:token_usage{model_name="m",tp_rank="0"} 0.28
"""
SLOTS = b'[{"id":0,"n_ctx":2048,"is_processing":true},{"id":1,"n_ctx":2048,"is_processing":false}]'
PS = b'{"models":[{"name":"qwen3:0.6b","model":"qwen3:0.6b","size_vram":0}]}'


def signals(engine, body, page=0, model="m"):
    dialect = DIALECTS[engine]
    return read(dialect.status[page], body, dialect, model)


@pytest.mark.parametrize(
    ("engine", "body", "expected"),
    [
        ("llama.cpp", LLAMA, Signals(running=4, waiting=8)),
        ("vllm", VLLM_OLD, Signals(running=3, waiting=2, kv_used=0.25)),
        ("vllm", VLLM_NEW, Signals(running=8, waiting=2, kv_used=0.75)),
        ("vllm-neuron", VLLM_OLD, Signals(running=3, waiting=2, kv_used=0.25)),
        ("sglang", SGLANG, Signals(running=6, waiting=0, kv_used=0.28)),
    ],
)
def test_old_and_new_names_are_read_and_engines_of_one_server_are_summed(engine, body, expected):
    assert signals(engine, body) == expected


def test_llama_slots_tell_who_runs_and_not_who_waits():
    assert signals("llama.cpp", SLOTS, page=1) == Signals(running=1)


@pytest.mark.parametrize(
    ("model", "warm"), [("qwen3:0.6b", True), ("qwen3", False), ("llama3", False)]
)
def test_ollama_tells_whether_the_model_is_loaded_and_nothing_of_its_queue(model, warm):
    assert signals("ollama", PS, model=model) == Signals(warm=warm)


def test_ollama_s_own_tag_may_be_left_out():
    body = PS.replace(b"qwen3:0.6b", b"qwen3:latest")
    assert signals("ollama", body, model="qwen3") == Signals(warm=True)


@pytest.mark.parametrize(
    "value", [b"NaN", b"-1", b"+Inf", b"1e300", b"many", b"0x10"], ids=lambda value: value.decode()
)
def test_a_number_that_can_not_be_is_unknown_and_not_zero(value):
    body = VLLM_OLD.replace(b" 3.0", b" " + value)
    assert signals("vllm", body) == Signals(waiting=2, kv_used=0.25)


def test_a_share_above_one_is_unknown():
    assert signals("vllm", VLLM_OLD.replace(b"0.25", b"25.0")).kv_used is None


def test_values_with_a_time_stamp_and_names_that_are_longer_are_told_apart():
    body = (
        b'vllm:num_requests_running_total{a="}"} 9\nvllm:num_requests_running{a="} 7"} 2 1730000\n'
    )
    assert signals("vllm", body) == Signals(running=2)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"\xff\xfe\x00", b"vllm:num_requests_running", b"{}", b'{"models":7}', b"[7]"],
)
@pytest.mark.parametrize("engine", ["llama.cpp", "vllm", "ollama"])
def test_what_is_no_status_page_tells_nothing(engine, body):
    for page in range(len(DIALECTS[engine].status)):
        assert signals(engine, body, page=page) == NOTHING
