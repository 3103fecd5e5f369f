"""What the memory of models comes to, against figures that others measured or stated."""

from dataclasses import replace

import pytest

from backends import files
from backends.hardware import GB, GIB, Model, read_instances, read_models
from backends.memory import (
    Ask,
    Unfit,
    default_ask,
    default_concurrency,
    find,
    fit,
    fits_any,
    need,
    offered,
    shardings,
)
from backends.memory_ways import ways_to_fit
from yamlfile import Invalid

MODELS_TEXT = files.packaged("backends", "data", "models.yaml").text
INSTANCES_TEXT = files.packaged("backends", "data", "instances.yaml").text
KNOWN = read_models(MODELS_TEXT, "models.yaml")
INSTANCES = read_instances(INSTANCES_TEXT, "instances.yaml").instances
MODELS = KNOWN.models


def asked(model, instance, quantisation=None, context=None, concurrency=None, kv_type=None):
    return default_ask(
        MODELS[model],
        INSTANCES[instance],
        KNOWN,
        quantisation=quantisation and find(KNOWN.quantisations, quantisation),
        kv_type=kv_type and find(KNOWN.kv_types, kv_type),
        context_tokens=context,
        concurrency=concurrency,
    )


def fitted(model, instance, *ask, **more):
    return fit(MODELS[model], INSTANCES[instance], asked(model, instance, *ask, **more))


def part(found, what):
    return next(each for each in found.parts if each.what == what)


def weights_gb(model, quantisation):
    params = MODELS[model].params
    return params * find(KNOWN.quantisations, quantisation).bits / 8 / GB


# -- against the sources ---------------------------------------------------------------------------


def test_109b_in_bf16_does_not_fit_one_80_gb_card_as_s2_claims():
    found = fitted("llama-4-scout", "h100-80gb", "bf16")
    assert found.verdict == "no"
    assert part(found, "weights").total_bytes == 218 * GB
    assert part(found, "weights").total_bytes > INSTANCES["h100-80gb"].device_bytes
    assert found.longest_context == found.most_concurrency == 0
    assert "GiB too much" in found.reason


def test_a_4_bit_8b_on_the_8_vcpu_that_s0_starts_with_needs_its_14_gb_within_15_percent():
    # context 8,192 (S3), a stream per core: the defaults of every CPU, not chosen for this row
    found = fitted("llama-3-8b", "c8g.2xlarge", "Q4_0")
    assert (found.ask.context_tokens, found.ask.concurrency) == (8192, 8)
    assert found.needed_bytes / GB == pytest.approx(14, rel=0.15)


@pytest.mark.parametrize(
    ("quantisation", "stated_gb"), [("f16", 135), ("Q4_K_M", 42), ("IQ2_XXS", 20)]
)
def test_the_weights_of_a_70b_are_what_s3_states_within_15_percent(quantisation, stated_gb):
    # S3's figures are weights alone: its FP16 is below 2 bytes x 70.55 billion
    assert weights_gb("r1-distill-llama-70b", quantisation) == pytest.approx(stated_gb, rel=0.15)


def test_one_stream_of_a_70b_stays_within_15_percent_of_s3s_42_gb():
    # as S3 measured, on one process: everything but the operating system
    found = fitted("r1-distill-llama-70b", "c8g.16xlarge", "Q4_K_M", 8192, 1)
    process = found.needed_bytes - part(found, "operating system").total_bytes
    assert process / GB == pytest.approx(42, rel=0.15)


@pytest.mark.parametrize(
    ("model", "gb"), [("llama-3-8b", 4.9), ("llama-3-70b", 43.1), ("deepseek-r1", 404)]
)
def test_q4_k_m_files_are_as_large_as_llama_cpp_and_its_users_publish_them(model, gb):
    assert weights_gb(model, "Q4_K_M") == pytest.approx(gb, rel=0.02)


def test_671b_in_4_bits_is_above_s3s_380_gb():
    for quantisation in ("Q4_0", "Q4_K_S", "Q4_K_M"):
        assert weights_gb("deepseek-r1", quantisation) > 380


@pytest.mark.parametrize(
    ("context", "kv_mib", "compute_mib"), [(2048, 6.0, 4.26), (8192, 24.0, 10.26)]
)
def test_the_shipped_model_needs_what_llama_server_reported_for_it(context, kv_mib, compute_mib):
    tiny = Model("tiny", "tiny", 836_670, 3, 2, 2 * 2 * 32, 3072, "its file", heads=4)
    cpu = INSTANCES["c8g.xlarge"].family
    f16 = find(KNOWN.kv_types, "f16")
    parts = need(tiny, cpu, Ask(find(KNOWN.quantisations, "Q8_0"), f16, context, 4), 1)
    by_name = {each.what: each.total_bytes / 2**20 for each in parts}
    assert by_name["KV cache"] == kv_mib
    # logits for every token of a step are counted, which this build leaves out: an upper bound
    assert compute_mib <= by_name["compute buffers"] <= compute_mib + 512 * 4 * 3072 / 2**20


def test_the_mask_of_the_compute_buffers_grows_by_1024_bytes_a_token_as_measured():
    step = INSTANCES["c8g.xlarge"].family.step
    assert step.tokens * step.mask_bytes == round((10.26 - 4.26) * 2**20 / (8192 - 2048))


def test_vllm_has_left_for_its_cache_what_it_logged():
    # vLLM pull request 10511: Llama 3 8B on one 80 GB card, available_kv_cache_memory 53.29 GiB
    found = fitted("llama-3-8b", "h100-80gb", "bf16", 8192, 1)
    room = found.headroom_bytes + part(found, "KV cache").total_bytes
    assert room / GIB == pytest.approx(53.29, abs=0.02)
    assert part(found, "weights").total_bytes / GIB == pytest.approx(14.96, abs=0.01)


# -- what fits where -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "instance", "quantisation", "verdict", "devices"),
    [
        ("llama-4-scout", "p5.48xlarge", "bf16", "sharded", 8),
        ("llama-4-scout", "p4d.24xlarge", "bf16", "sharded", 8),
        ("llama-4-scout", "g6e.48xlarge", "bf16", "sharded", 8),
        ("llama-4-scout", "inf2.48xlarge", "bf16", "sharded", 24),
        ("llama-4-scout", "trn2.48xlarge", "bf16", "sharded", 64),
        ("llama-4-maverick", "p5.48xlarge", "bf16", "no", 8),
        ("llama-4-maverick", "p5.48xlarge", "fp8", "sharded", 8),
        ("llama-4-maverick", "trn2.48xlarge", "bf16", "sharded", 64),
        ("llama-3-70b", "c8g.xlarge", "Q4_K_M", "no", 1),
        ("llama-3-70b", "c8g.16xlarge", "Q4_K_M", "fits", 1),
        ("qwen3-0.6b", "c8g.xlarge", "Q4_K_M", "fits", 1),
        ("qwen3-0.6b", "p5.48xlarge", "bf16", "fits", 1),
        ("deepseek-r1", "p5.48xlarge", "fp8", "no", 8),
        ("deepseek-r1", "r8g.24xlarge", "Q4_K_M", "fits", 1),
    ],
)
def test_models_fit_where_the_sources_run_them(model, instance, quantisation, verdict, devices):
    found = fitted(model, instance, quantisation)
    assert (found.verdict, found.tensor_parallel) == (verdict, devices)
    assert (found.headroom_bytes >= 0) == (verdict != "no")
    assert (found.reason is None) == (verdict != "no")


def test_a_million_tokens_of_scout_fit_a_p5_as_s2_runs_it():
    assert fitted("llama-4-scout", "p5.48xlarge", "bf16", 1_000_000, 1).verdict == "sharded"


def test_fp8_is_the_default_only_where_bf16_does_not_fit():
    assert asked("llama-4-maverick", "p5.48xlarge").quantisation.id == "fp8"
    assert asked("llama-4-scout", "p5.48xlarge").quantisation.id == "bf16"
    assert asked("deepseek-r1", "p5.48xlarge").quantisation.id == "bf16"  # neither fits


@pytest.mark.parametrize(
    ("instance", "streams"),
    [
        ("c7i.xlarge", 4),
        ("c8g.xlarge", 4),
        ("c8g.2xlarge", 8),
        ("c8g.48xlarge", 16),
        ("p5.48xlarge", 16),
    ],
)
def test_a_cpu_has_a_stream_per_core_from_4_to_16(instance, streams):
    assert default_concurrency(INSTANCES[instance]) == streams


def test_the_default_context_is_no_longer_than_the_models():
    short = replace(MODELS["llama-3-8b"], context_tokens=2048)
    assert default_ask(short, INSTANCES["c8g.xlarge"], KNOWN).context_tokens == 2048


def test_a_quantised_cache_takes_its_share_of_bits():
    full = part(fitted("llama-3-8b", "c8g.8xlarge"), "KV cache").total_bytes
    less = part(fitted("llama-3-8b", "c8g.8xlarge", kv_type="q8_0"), "KV cache").total_bytes
    assert less / full == 8.5 / 16


# -- over several devices --------------------------------------------------------------------------


def test_devices_beyond_the_kv_heads_hold_copies_of_the_cache():
    found = fitted("llama-4-scout", "inf2.48xlarge")
    cache = part(found, "KV cache")
    one = 2 * 48 * 8 * 128 * 2 * 8192 * 16
    assert cache.each_bytes == one // 8
    assert cache.total_bytes == 3 * one


def test_every_device_holds_the_whole_of_a_latent_cache():
    found = fitted("deepseek-r1", "p5.48xlarge", "fp8")
    cache = part(found, "KV cache")
    assert cache.each_bytes == 61 * 576 * 2 * 8192 * 16
    assert cache.total_bytes == 8 * cache.each_bytes


def test_what_can_be_used_is_nine_tenths_of_every_device():
    found = fitted("llama-4-scout", "p5.48xlarge")
    assert found.available_bytes / GIB == pytest.approx(8 * 0.9 * 79.22)
    assert fitted("llama-3-8b", "c8g.4xlarge").available_bytes == 32 * GIB


def test_sharding_costs_nccl_on_every_device():
    alone = {each.what for each in fitted("llama-3-8b", "h100-80gb").parts}
    sharded = {each.what for each in fitted("llama-4-scout", "p5.48xlarge").parts}
    assert alone - sharded == {"CUDA runtime"}
    assert sharded - alone == {"CUDA runtime and NCCL"}


def test_gpus_share_a_model_only_where_they_divide_its_attention_heads():
    odd = replace(MODELS["llama-3-8b"], heads=12, kv_heads=4)
    assert shardings(odd, INSTANCES["p5.48xlarge"]) == (1, 2, 4)
    assert shardings(replace(odd, heads=None), INSTANCES["p5.48xlarge"]) == (1, 2, 4, 8)


def test_neuron_pads_attention_heads_but_not_kv_heads():
    scout = MODELS["llama-4-scout"]
    assert shardings(scout, INSTANCES["inf2.48xlarge"]) == (1, 2, 4, 8, 24)
    assert shardings(replace(scout, kv_heads=16), INSTANCES["inf2.48xlarge"]) == (1, 2, 4, 8)


# -- what can't be asked ---------------------------------------------------------------------------


def test_fp8_is_refused_on_neuron_and_gguf_on_gpu():
    for instance, quantisation in (("trn2.48xlarge", "fp8"), ("p5.48xlarge", "Q4_K_M")):
        with pytest.raises(Unfit, match=f"has no quantisation `{quantisation}`"):
            fitted("llama-3-8b", instance, quantisation)


def test_a_cache_type_of_another_engine_is_refused():
    with pytest.raises(Unfit, match=r"llama\.cpp on c8g\.xlarge has no cache type `fp8`"):
        fitted("llama-3-8b", "c8g.xlarge", kv_type="fp8")


def test_a_context_beyond_the_models_is_refused():
    with pytest.raises(Unfit, match="8,193 tokens exceeds the 8,192 of llama-3-8b"):
        fitted("llama-3-8b", "c8g.8xlarge", context=8193)
    assert fitted("llama-3-8b", "c8g.8xlarge", context=8192).verdict == "fits"


@pytest.mark.parametrize("load", [{"context": 0}, {"concurrency": 0}])
def test_no_context_and_no_streams_are_refused(load):
    with pytest.raises(Unfit, match="start at 1"):
        fitted("llama-3-8b", "c8g.8xlarge", **load)


def test_names_are_found_in_any_case_and_by_alias():
    assert find(KNOWN.quantisations, "q4_k").id == "Q4_K_M"
    assert find(KNOWN.quantisations, "FP16").id == "f16"
    assert find(KNOWN.quantisations, "Q9") is None


# -- what would fit --------------------------------------------------------------------------------


def suggested(*ask, **more):
    found = fitted(*ask, **more)
    assert found.verdict == "no"
    ways = ways_to_fit(found, KNOWN, list(INSTANCES.values()))
    return found, {way.change: way for way in ways}


def test_maverick_on_p5_would_fit_in_fp8_or_on_trn2():
    _, ways = suggested("llama-4-maverick", "p5.48xlarge", "bf16")
    assert ways["quantisation"].to == "fp8"
    assert ways["instance"].to == "trn2.48xlarge"
    assert "context" not in ways


def test_scout_on_one_card_would_fit_the_smallest_box_of_cards():
    _, ways = suggested("llama-4-scout", "h100-80gb", "bf16")
    assert ways["instance"].to == "p4d.24xlarge"
    assert ways["instance"].quantisation == "bf16"


def test_a_cpu_is_offered_more_machines_only_up_to_three():
    _, two = suggested("llama-3-70b", "r8g.xlarge")
    assert two["machines"].to == "2"
    _, many = suggested("llama-3-70b", "c8g.xlarge")
    assert "machines" not in many
    _, gpus = suggested("llama-4-maverick", "p5.48xlarge", "bf16")
    assert "machines" not in gpus


def test_more_machines_share_weights_and_cache_but_each_has_its_own_system():
    found, ways = suggested("llama-3-70b", "r8g.xlarge")
    own = part(found, "compute buffers").each_bytes + part(found, "operating system").each_bytes
    shared = part(found, "weights").each_bytes + part(found, "KV cache").each_bytes
    room = INSTANCES["r8g.xlarge"].usable_bytes - own
    assert (int(ways["machines"].to) - 1) * room < shared <= int(ways["machines"].to) * room


def test_each_suggestion_fits_when_it_is_taken():
    model, instance = "llama-3-8b", "c8g.xlarge"
    found, ways = suggested(model, instance)
    assert ways.keys() >= {"kv_type", "context", "concurrency", "instance"}
    asks = {
        "quantisation": lambda to: {"quantisation": to},
        "kv_type": lambda to: {"kv_type": to},
        "context": lambda to: {"context": int(to)},
        "concurrency": lambda to: {"concurrency": int(to)},
    }
    for change, ask in asks.items():
        if change in ways:
            assert fitted(model, instance, **ask(ways[change].to)).verdict == "fits", change
    assert fits_any(MODELS[model], INSTANCES[ways["instance"].to], found.ask)


def test_the_finest_quantisation_and_cache_that_fit_are_suggested():
    found, ways = suggested("llama-3-70b", "r8g.xlarge", concurrency=1, quantisation="Q8_0")
    finer = [
        each
        for each in offered(KNOWN.quantisations, found.instance.family)
        if find(KNOWN.quantisations, ways["quantisation"].to).bits < each.bits < 8.5
    ]
    assert finer
    for each in finer:
        assert not fits_any(found.model, found.instance, replace(found.ask, quantisation=each))


# -- the files -------------------------------------------------------------------------------------


def test_every_default_of_a_family_is_served_by_it():
    for instance in INSTANCES.values():
        for name in instance.family.defaults:
            assert find(offered(KNOWN.quantisations, instance.family), name)
        assert offered(KNOWN.kv_types, instance.family)


def test_every_machine_of_the_sources_is_listed():
    assert INSTANCES.keys() >= {
        "c7i.xlarge", "c7g.xlarge", "c8g.xlarge", "c8g.16xlarge", "p5.48xlarge",
        "p4d.24xlarge", "g6e.48xlarge", "trn2.48xlarge", "inf2.48xlarge",
    }  # fmt: skip


def test_a_graviton_vcpu_is_a_core_and_an_intel_one_half():
    for instance in INSTANCES.values():
        if instance.family.id == "cpu":
            threads = 1 if instance.chip.startswith("Graviton") else 2
            assert instance.vcpu == instance.cores * threads, instance.id


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("kv_latent: 576", "kv_latent: 576, kv_heads: 8", "`kv_latent` alone"),
        ("layers: 28, heads: 16, kv_heads: 8,", "layers: 28, heads: 16,", "or `kv_latent` alone"),
        ("id: qwen3-1.7b", "id: qwen3-0.6b", "`qwen3-0.6b` stands in models twice"),
        ("id: Q5_0", "id: q4_k", "`Q4_K` stands in quantisations twice"),
        ("params: 0.6e+9", "params: -1", "is not above 0"),
        ("families: [cuda], bits: 8,", "families: [tpu], bits: 8,", "unknown value `tpu`"),
    ],
)
def test_a_wrong_model_file_is_told_with_its_line(old, new, said):
    assert old in MODELS_TEXT
    with pytest.raises(Invalid, match=r"models\.yaml:\d+: ") as told:
        read_models(MODELS_TEXT.replace(old, new, 1), "models.yaml")
    assert said in str(told.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("id: c8g.2xlarge", "id: c8g.xlarge", "`c8g.xlarge` stands in instances twice"),
        ("family: cpu, chip", "family: cuda, chip", "every family but `cpu` has `accelerators`"),
        ("vcpu: 4, cores: 4,", "vcpu: 4,", "says its cores"),
        ("tensor_parallel: [1, 2, 4, 8]", "tensor_parallel: [16]", "exceeds its devices"),
        ("  - id: cuda", "  - id: neuron", "`neuron` stands in families twice"),
        ("usable_share: 0.9", "usable_share: 1.1", "is above 1"),
    ],
)
def test_a_wrong_instance_file_is_told_with_its_line(old, new, said):
    assert old in INSTANCES_TEXT
    with pytest.raises(Invalid, match=r"instances\.yaml:\d+: ") as told:
        read_instances(INSTANCES_TEXT.replace(old, new, 1), "instances.yaml")
    assert said in str(told.value)


def test_an_instance_of_a_family_without_a_row_is_told():
    cut = INSTANCES_TEXT.index("  - id: neuron")
    end = INSTANCES_TEXT.index("# cores: physical")
    with pytest.raises(Invalid, match="family `neuron` has no row"):
        read_instances(INSTANCES_TEXT[:cut] + INSTANCES_TEXT[end:], "instances.yaml")
