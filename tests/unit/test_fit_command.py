"""`sluice fleet fit` as a user types it."""

import json

import pytest
from click.testing import CliRunner

from router.cli.fleet.fit import command


def run(*arguments):
    return CliRunner().invoke(command, [str(each) for each in arguments])


def as_json(*arguments):
    ran = run(*arguments, "--json")
    return ran.exit_code, json.loads(ran.stdout)


OURS = ("--params", "8e9", "--layers", 32, "--kv-heads", 8, "--head-dim", 128)


def test_a_model_that_fits_ends_with_its_launch_command():
    ran = run("qwen3-0.6b", "c8g.xlarge")
    assert ran.exit_code == 0
    assert "qwen3-0.6b on c8g.xlarge: fits\n" in ran.stdout
    assert "  llama-server --model qwen3-0.6b-Q4_K_M.gguf --threads 4 " in ran.stdout
    assert "GiB = 2^30 bytes, GB = 10^9 bytes" in ran.stdout
    for what in ("weights", "KV cache", "compute buffers", "operating system", "needed", "left"):
        assert f"\n{what} " in ran.stdout


def test_a_sharded_model_has_a_column_for_each_device():
    ran = run("llama-4-scout", "p5.48xlarge")
    assert ran.exit_code == 0
    assert "fits, sharded over 8 devices" in ran.stdout
    assert "GiB each" in ran.stdout
    assert "each: one of 8 H100 80 GB" in ran.stdout
    assert "because" not in ran.stdout


def test_fp8_by_default_says_why():
    assert "fp8 because bf16 does not fit" in run("llama-4-maverick", "p5.48xlarge").stdout
    asked = run("llama-4-maverick", "p5.48xlarge", "--quantisation", "fp8")
    assert "because" not in asked.stdout


def test_s2s_claim_is_flagged_with_by_how_much_and_what_would_fit():
    ran = run("llama-4-scout", "h100-80gb", "--quantisation", "BF16")
    assert ran.exit_code == 1
    assert "llama-4-scout on h100-80gb: DOES NOT FIT" in ran.stdout
    assert "218.00" in ran.stdout
    assert "GiB too much" in ran.stdout
    assert "  p4d.24xlarge with --quantisation bf16" in ran.stdout
    assert "launch" not in ran.stdout


def test_a_suggestion_that_is_typed_fits():
    ran = run("llama-3-70b", "c8g.xlarge")
    assert ran.exit_code == 1
    line = next(line for line in ran.stdout.splitlines() if " with --quantisation " in line)
    instance, _, options = line.strip().partition(" with ")
    assert run("llama-3-70b", instance, *options.split()).exit_code == 0


def test_a_smaller_context_is_suggested_where_that_helps():
    ran = run("llama-3-8b", "c8g.xlarge")
    assert ran.exit_code == 1
    line = next(line for line in ran.stdout.splitlines() if line.startswith("  --context "))
    assert run("llama-3-8b", "c8g.xlarge", *line.split()).exit_code == 0


def test_what_nothing_takes_says_so():
    shape = ("--params", "1e15", "--layers", 100, "--kv-heads", 8, "--head-dim", 128)
    ran = run("giant", "p5.48xlarge", *shape)
    assert ran.exit_code == 1
    assert "nothing listed would fit it" in ran.stdout


def test_json_has_every_part_and_the_launch():
    code, found = as_json("llama-4-scout", "p5.48xlarge")
    assert code == 0
    assert found["fits"] is True
    assert found["verdict"] == "sharded"
    assert found["needed_bytes"] == sum(part["total_bytes"] for part in found["parts"])
    assert found["each_bytes"] == sum(part["each_bytes"] for part in found["parts"])
    assert found["headroom_each_bytes"] == found["usable_each_bytes"] - found["each_bytes"]
    assert all(part["source"] and part["mark"] for part in found["parts"])
    assert found["launch"]["command"].startswith("vllm serve ")
    assert found["ways"] == []
    assert found["reason"] is None


def test_json_of_what_does_not_fit_has_ways_and_no_launch():
    code, found = as_json("llama-4-maverick", "p5.48xlarge", "--quantisation", "bf16")
    assert code == 1
    assert found["fits"] is False
    assert found["launch"] is None
    assert {"change": "quantisation", "to": "fp8", "quantisation": None, "kv_type": None} in found[
        "ways"
    ]


def test_options_are_what_is_computed_with():
    options = ("--context", 1024, "--concurrency", 2, "--kv-type", "Q8_0", "--quantisation", "q4_k")
    _, found = as_json("llama-3-8b", "c8g.8xlarge", *options)
    assert (found["context_tokens"], found["concurrency"]) == (1024, 2)
    assert (found["kv_type"], found["quantisation"]) == ("q8_0", "Q4_K_M")


def test_a_model_that_is_not_listed_can_be_described():
    code, found = as_json("ours", "c8g.4xlarge", *OURS, "--vocab", 128_256)
    _, listed = as_json("r1-distill-llama-8b", "c8g.4xlarge")
    assert code == 0
    assert found["model"] == "ours"
    for ours, theirs in zip(found["parts"], listed["parts"], strict=True):
        assert ours["total_bytes"] == pytest.approx(theirs["total_bytes"], rel=0.005)


def test_heads_of_such_a_model_limit_its_sharding():
    big = ("--params", "60e9", *OURS[2:])
    _, free = as_json("ours", "p5.48xlarge", *big)
    _, bound = as_json("ours", "p5.48xlarge", *big, "--heads", 12)
    assert (free["tensor_parallel"], bound["tensor_parallel"]) == (8, 4)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("llama-3-8", "c8g.xlarge"), "unknown model `llama-3-8` (did you mean `llama-3-8b`?"),
        (("llama-3-8b", "c8g.xlrge"), "unknown instance `c8g.xlrge` (did you mean `c8g.xlarge`?"),
        (("通义千问", "c8g.xlarge"), "unknown model `通义千问` (known: "),
        (("llama-3-8b", "c8g.xlarge", "--quantisation", "Q4_K_N"), "(did you mean `Q4_K_"),
        (("llama-3-8b", "p5.48xlarge", "--quantisation", "Q4_0"), "vllm on p5.48xlarge has no"),
        (("llama-3-8b", "trn2.48xlarge", "--quantisation", "fp8"), "FP8 only on GPU (S2)"),
        (("llama-3-8b", "c8g.xlarge", "--kv-type", "fp8"), "has no KV type `fp8`"),
        (("llama-3-8b", "c8g.xlarge", "--kv-type", "f8"), "unknown KV type `f8`"),
        (("llama-3-8b", "c8g.xlarge", "--context", 9000), "exceeds the 8,192 of llama-3-8b"),
        (("ours", "c8g.xlarge", "--params", "8e9"), "--layers, --kv-heads, --head-dim missing"),
        (("ours", "c8g.xlarge", "--heads", "8"), "--params, --layers"),
        (("ours", "c8g.xlarge", *OURS[2:], "--params", "nan"), "`nan` is not a number of weights"),
        (("ours", "c8g.xlarge", *OURS[2:], "--params", "8B"), "`8B` is not a number of weights"),
        (("ours", "c8g.xlarge", *OURS[2:], "--params", "inf"), "`inf` is not a number of weights"),
        (("ours", "c8g.xlarge", *OURS[2:], "--params", "0"), "`0` is not a number of weights"),
    ],
)
def test_what_is_mistyped_ends_with_3_and_what_would_be_valid(arguments, said):
    ran = run(*arguments)
    assert ran.exit_code == 3
    assert said in ran.stderr
    assert "Traceback" not in ran.output
