"""How engines are started, wherever they run."""

from dataclasses import replace
from pathlib import Path

import pytest

from router.deploy import engine_start
from router.deploy.read import stages

STAGE = stages(Path("infra/examples/lanes/deploy.yaml"))["lanes"]
LANES = {lane.fleet.id: lane for lane in STAGE.lanes}


@pytest.mark.parametrize(
    ("fleet", "starting"), [("scout-p5", 1800), ("scout-trn2", 7200), ("scout-inf2", 7200)]
)
def test_vllm_waits_for_its_engine_as_long_as_the_fleet_may_take_to_start(fleet, starting):
    lane = LANES[fleet]
    assert engine_start.starting_s(lane) == starting
    assert engine_start.environment(lane)["VLLM_ENGINE_READY_TIMEOUT_S"] == str(starting)


def test_a_fleet_that_takes_long_to_wake_has_twice_that_time():
    lane = LANES["scout-p5"]
    slow = replace(lane, fleet=replace(lane.fleet, wake_seconds=5000.5))
    assert engine_start.starting_s(slow) == 10002


def test_neuron_alone_is_told_where_it_compiles_and_that_there_is_no_efa():
    assert engine_start.environment(LANES["scout-trn2"]).keys() >= engine_start.NEURON.keys()
    assert not engine_start.environment(LANES["scout-p5"]).keys() & engine_start.NEURON.keys()


def test_llama_cpp_has_its_own_environment_and_no_command():
    lane = LANES["qwen3-graviton"]
    assert engine_start.environment(lane) == lane.environment()
    assert engine_start.command(lane) == ()


def test_vllm_serve_takes_the_model_as_its_first_argument():
    assert engine_start.command(LANES["scout-trn2"])[:3] == ("vllm", "serve", "/models/scout-trn2")
    assert "--model" in engine_start.command(LANES["scout-p5"])
