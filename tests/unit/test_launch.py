"""The settings that an engine is launched with, and that the engines really have them."""

import subprocess
from pathlib import Path

import pytest

from backends import files, launch_table
from backends.engines.container import settings as container
from backends.engines.container.engine_kinds import KINDS
from backends.hardware import read_instances, read_models
from backends.launch import LAUNCHERS, container_environment, launch
from backends.memory import default_ask, find, fit

_MODELS = files.packaged("backends", "data", "models.yaml")
_INSTANCES = files.packaged("backends", "data", "instances.yaml")
KNOWN = read_models(_MODELS.text, _MODELS.name)
_LAUNCH = files.packaged("backends", "data", "launch.yaml")
ROWS = launch_table.read(_LAUNCH.text, _LAUNCH.name)
INSTANCES = read_instances(_INSTANCES.text, _INSTANCES.name).instances


def fitted(model, instance, quantisation=None, kv_type=None, context=None, concurrency=None):
    ask = default_ask(
        KNOWN.models[model],
        INSTANCES[instance],
        KNOWN,
        quantisation=quantisation and find(KNOWN.quantisations, quantisation),
        kv_type=kv_type and find(KNOWN.kv_types, kv_type),
        context_tokens=context,
        concurrency=concurrency,
    )
    found = fit(KNOWN.models[model], INSTANCES[instance], ask)
    assert found.reason is None
    return found


def started(*model_and_instance, **asked):
    return launch(fitted(*model_and_instance, **asked), ROWS)


def flags(start):
    return {setting.flag: setting.value for setting in start.settings}


def said(start):
    return "\n".join(start.notes)


def test_every_engine_of_the_machines_has_a_launcher():
    assert {each.family.engine for each in INSTANCES.values()} == LAUNCHERS.keys()


def test_the_tables_rows_name_engines_models_machines_and_quantisations_that_there_are():
    known = {each.id for each in KNOWN.quantisations}
    for row in ROWS:
        assert row.engine in LAUNCHERS
        assert row.models <= KNOWN.models.keys()
        assert row.instances <= INSTANCES.keys()
        assert row.quantisations <= known
        assert row.extras or row.unset or row.checkpoint or row.note


def test_every_setting_has_a_reason_and_a_source():
    for model, instance in (
        ("qwen3-0.6b", "c8g.xlarge"),
        ("llama-4-maverick", "p5.48xlarge"),
        ("llama-4-scout", "trn2.48xlarge"),
    ):
        for setting in started(model, instance).settings:
            assert setting.why
            assert setting.source


# -- llama.cpp -------------------------------------------------------------------------------------


def test_llama_cpp_has_a_thread_per_physical_core():
    assert flags(started("qwen3-0.6b", "c8g.xlarge"))["--threads"] == "4"
    assert flags(started("qwen3-0.6b", "c7i.xlarge"))["--threads"] == "2"


def test_three_quarters_of_the_cores_are_told_as_a_note():
    notes = said(started("qwen3-0.6b", "c8g.4xlarge"))
    assert "--threads 16 is the fastest" in notes
    assert "--threads 12, about 3/4" in notes


def test_the_context_of_llama_cpp_is_that_of_all_slots():
    start = flags(started("qwen3-0.6b", "c8g.xlarge", context=4096, concurrency=3))
    assert (start["--ctx-size"], start["--parallel"]) == ("12288", "3")


def test_memory_is_spread_only_over_two_sockets():
    assert flags(started("llama-3-8b", "c8g.48xlarge"))["--numa"] == "distribute"
    assert "--numa" not in flags(started("llama-3-8b", "c8g.24xlarge"))


def test_llama_cpp_is_started_as_s3_advises():
    start = started("llama-3-8b", "c8g.4xlarge")
    assert start.program[0] == "llama-server"
    assert "llama-3-8b-Q4_K_M.gguf" in start.program
    expected = {"--batch-size": "512", "--n-gpu-layers": "0", "--load-mode": "mmap+mlock"}
    assert flags(start).items() >= expected.items()
    assert "--cache-type-k" not in flags(start)


def test_a_quantised_cache_is_set_for_keys_and_values_with_flash_attention():
    start = flags(started("llama-3-8b", "c8g.4xlarge", kv_type="q8_0"))
    assert (start["--cache-type-k"], start["--cache-type-v"]) == ("q8_0", "q8_0")
    assert start["--flash-attn"] == "on"


def test_the_prompt_cache_takes_no_more_than_half_of_what_is_left():
    small = int(flags(started("qwen3-0.6b", "c8g.xlarge"))["--cache-ram"])
    assert 900 < small < 1024  # of 1.86 GiB
    assert flags(started("qwen3-0.6b", "c8g.16xlarge"))["--cache-ram"] == "8192"


def test_a_quantisation_that_hallucinates_says_so():
    assert "hallucinates in maths" in said(started("llama-3-8b", "c8g.4xlarge", "IQ2_XXS"))


@pytest.mark.parametrize("instance", ["c8g.xlarge", "c8g.48xlarge", "c7g.4xlarge"])
def test_the_container_is_told_the_same_settings(instance):
    found = fitted("qwen3-0.6b", instance, kv_type="q8_0", context=4096, concurrency=3)
    start = launch(found, ROWS)
    settings = container.read(container_environment(found, start), KINDS)
    arguments = KINDS["llama.cpp"].arguments(settings, Path("/m.gguf"), 1)
    words = {**dict(zip(arguments, [*arguments[1:], ""], strict=True))}
    for flag, value in flags(start).items():
        assert words[flag] == value, flag


@pytest.mark.engine
def test_the_real_llama_server_knows_every_flag(engine):
    helped = subprocess.run([engine, "--help"], capture_output=True, text=True, check=True).stdout
    words = set(helped.replace(",", " ").split())
    start = started("llama-3-8b", "c8g.48xlarge", kv_type="q8_0")
    assert flags(start).keys() <= words


# -- vLLM ------------------------------------------------------------------------------------------


def test_vllm_shards_scout_over_the_8_gpus_of_p5():
    start = started("llama-4-scout", "p5.48xlarge")
    assert start.command == (
        "vllm serve meta-llama/Llama-4-Scout-17B-16E-Instruct --tensor-parallel-size 8 "
        "--max-model-len 8192 --max-num-seqs 16 --dtype bfloat16 --gpu-memory-utilization 0.9"
    )


def test_fp8_weights_and_cache_are_set_on_vllm():
    start = flags(started("llama-4-maverick", "p5.48xlarge", kv_type="fp8"))
    assert start["--kv-cache-dtype"] == "fp8"
    assert start["--dtype"] == "bfloat16"
    assert flags(started("llama-3-70b", "p5.48xlarge", "fp8"))["--quantization"] == "fp8"


def test_a_published_fp8_checkpoint_is_served_as_it_is():
    start = started("llama-4-maverick", "p5.48xlarge")
    assert start.program[-1] == "meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8"
    assert "--quantization" not in flags(start)


def test_llama_4_scales_its_attention_above_32k_only():
    flag = "--override-generation-config"
    assert flag not in flags(started("llama-4-scout", "p5.48xlarge", context=32_768))
    long = started("llama-4-scout", "p5.48xlarge", context=32_769)
    assert flags(long)[flag] == '{"attn_temperature_tuning": true}'
    assert """--override-generation-config '{"attn_temperature_tuning": true}'""" in long.command


def test_half_precision_is_set_as_such():
    assert flags(started("llama-3-8b", "p5.48xlarge", "fp16"))["--dtype"] == "float16"


def test_fp8_on_a_card_without_fp8_units_is_told():
    assert "W8A16" in said(started("llama-4-scout", "p4d.24xlarge", "fp8"))
    assert "A100 40 GB has no FP8 units" in said(started("llama-4-scout", "p4d.24xlarge", "fp8"))
    assert "no FP8 units" not in said(started("llama-4-scout", "p5.48xlarge", "fp8"))


def test_fp8_is_never_the_default_of_a_card_that_does_not_compute_in_it():
    model, card = KNOWN.models["llama-4-scout"], INSTANCES["p4d.24xlarge"]
    ask = default_ask(model, card, KNOWN, context_tokens=300_000)  # bf16 is too large for it
    assert ask.quantisation.id == "bf16"


def test_int8_says_that_it_needs_a_checkpoint():
    assert "quantised checkpoint" in said(started("llama-3-8b", "p5.48xlarge", "int8"))
    assert "quantised beforehand" in said(started("llama-3-8b", "trn2.48xlarge", "int8"))


def test_a_model_that_fits_one_gpu_takes_one_and_may_have_replicas():
    start = started("llama-3-8b", "p5.48xlarge")
    assert flags(start)["--tensor-parallel-size"] == "1"
    assert "8 such replicas fit" in said(start)
    assert "replicas" not in said(started("llama-4-scout", "p5.48xlarge"))


# -- Neuron ----------------------------------------------------------------------------------------


def test_neuron_shards_over_logical_cores():
    start = started("llama-4-scout", "trn2.48xlarge")
    assert "--device" not in flags(start)  # nor has vLLM such a flag, since Neuron is a plugin
    assert "install the vLLM Neuron plugin" in said(start)
    assert flags(start)["--tensor-parallel-size"] == "64"
    assert "128 NeuronCores on 16 chips, 2 to a logical one" in said(start)
    assert "40 attention heads are no multiple of 64" in said(start)
    assert "--gpu-memory-utilization" not in flags(start)


def test_inferentia_is_served_by_the_older_plugin():
    notes = said(started("llama-3-70b", "inf2.48xlarge"))
    assert "vLLM with NxD Inference" in notes
    assert "install the vLLM Neuron plugin" not in notes


def test_inferentia_has_no_logical_cores_to_explain():
    start = started("llama-3-70b", "inf2.48xlarge")
    assert "logical" not in said(start)
    assert "64 attention heads are no multiple of 24" in said(start)


def test_a_model_on_one_neuroncore_needs_no_padding():
    start = started("qwen3-0.6b", "inf2.xlarge", concurrency=4)
    assert flags(start)["--tensor-parallel-size"] == "1"
    assert "pads" not in said(start)
    assert "2 such replicas fit" in said(start)
