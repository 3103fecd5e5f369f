"""How an engine on ECS or EKS is started: its command, its environment, its time. Pure."""

import math
from collections.abc import Mapping
from typing import Final

from router.deploy import images
from router.deploy.lane import Lane

CACHE: Final = "/cache"  # in the container: what an engine compiles and a later start finds
STARTING_S: Final = 1200  # at least; by its catalogue twice the time that the fleet takes to wake
COMPILING_S: Final = 7200  # Neuron compiles a graph for each shape, once for a machine
# Nothing leads out of the VPC: no hub is asked, nobody is told.
OFFLINE: Final = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
CACHED: Final = {"VLLM_CACHE_ROOT": f"{CACHE}/vllm"}
NEURON: Final = {
    "NEURON_COMPILE_CACHE_URL": f"{CACHE}/neuron",
    "NEURON_COMPILED_ARTIFACTS": f"{CACHE}/artifacts",  # NxD Inference's own
    # TorchNeuron's, which is under /tmp otherwise and goes with its container.
    "TORCH_NEURONX_NEFF_CACHE_DIR": f"{CACHE}/neff",
    "NEURON_SKIP_EFA_AFFINITY": "1",  # one machine serves a replica alone: it has no EFA
}
# The route that vLLM Neuron takes anyway on Trn2; named, it also keeps what it traced, below
# VLLM_CACHE_ROOT (AWS Neuron documentation, How to use the Precompile Cache, 2026-10-13). The image
# for Inferentia2 is of the line before, which knows neither.
NATIVE: Final = {"VLLM_NEURON_BACKEND": "neuron_native"}


def starting_s(lane: Lane) -> int:
    """Return how long a replica may take until it answers: it is started anew after that."""
    least = COMPILING_S if lane.family == "neuron" else STARTING_S
    return max(least, 2 * math.ceil(lane.fleet.wake_seconds or 0))


def command(lane: Lane) -> tuple[str, ...]:
    """Return what the container is started with; `vllm serve` takes the model without a flag."""
    before, arguments = images.before(lane), lane.arguments()
    if before[-1:] == ("serve",):
        assert arguments[0] == "--model"
        arguments = arguments[1:]
    return (*before, *arguments)


def environment(lane: Lane) -> Mapping[str, str]:
    """Return the container's environment; where llama.cpp's model lies is for its place to say."""
    if lane.family == "cpu":
        return lane.environment()
    more = _neuron(lane) if lane.family == "neuron" else {}
    # vLLM gives up by itself after 600 s, which neither compiling nor 200 GB of weights keep to.
    patience = {"VLLM_ENGINE_READY_TIMEOUT_S": str(starting_s(lane))}
    return {**OFFLINE, **CACHED, **more, **patience, **lane.environment()}


def _neuron(lane: Lane) -> Mapping[str, str]:
    return NEURON if lane.instance.startswith("inf") else {**NEURON, **NATIVE}
