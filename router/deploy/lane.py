"""A fleet that a stage makes: its machine, how its engine is started, where its weights are.

What `infra` builds, what `sluice deploy --plan` prices and what the manifests of EKS say are made
from these values. Pure.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from backends import memory
from backends.catalogue import Fleet
from backends.hardware import Accelerators, Family, Instance, Instances, Models, Precision
from backends.launch import Launch, container_environment, launch
from backends.launch_table import Row
from backends.memory import Fit, Unfit
from router import lane_names
from yamlfile import suggest

On = Literal["sagemaker", "ecs", "eks"]
PAGED: Final = frozenset({"cuda"})  # families whose engine pages its cache: streams share it
SERVED_FROM: Final = "/models"  # where the weights lie in a container
ROUNDED: Final = 0.02  # of a device: 0.3333 of 12 is four
VLLM_PORT: Final = 8000
CONTAINER_PORT: Final = 8080


class Unmade(ValueError):  # noqa: N818  (it reads as what it says)
    """The stage can't make this fleet. `key`: of the fleet's row, what is at fault."""

    def __init__(self, key: tuple[str, ...], said: str) -> None:
        super().__init__(said)
        self.key = key


@dataclass(frozen=True, slots=True)
class Lane:
    """`fit` is on the fleet's share of a machine; `launch` starts the engine of one replica.

    `share`: of a machine's accelerators and cores, which a fleet on a shared host has.
    """

    fleet: Fleet
    on: On
    fit: Fit
    launch: Launch
    share: float = 1.0

    @property
    def family(self) -> str:
        """Return `cpu`, `cuda` or `neuron`."""
        return self.fit.instance.family.id

    @property
    def instance(self) -> str:
        """Return the EC2 type, without the `ml.` of SageMaker."""
        return self.fleet.instance.removeprefix("ml.")

    @property
    def name(self) -> str:
        return lane_names.slug(self.fleet.id)

    @property
    def host(self) -> str:
        """Return what the machines are called: fleets of one host share them."""
        return lane_names.slug(self.fleet.host or self.fleet.id)

    @property
    def devices(self) -> int:
        """Return the accelerators of one replica, as the engine counts them; 0 on a CPU."""
        has = self.fit.instance.accelerators
        return 0 if has is None else has.devices

    @property
    def bucket(self) -> str:
        return self._weights[0]

    @property
    def prefix(self) -> str:
        """Return the key of a .gguf, or a folder's with `/` at its end."""
        key = self._weights[1]
        return key if key.endswith((".gguf", "/")) else f"{key}/"

    @property
    def _weights(self) -> tuple[str, str]:
        assert self.fleet.runs is not None
        bucket, _, key = self.fleet.runs.weights.removeprefix("s3://").partition("/")
        return bucket, key

    @property
    def port(self) -> int:
        return CONTAINER_PORT if self.family == "cpu" else VLLM_PORT

    @property
    def health(self) -> str:
        return "/ping" if self.family == "cpu" else "/health"

    def environment(self) -> Mapping[str, str]:
        """Return the container's environment; vLLM has arguments instead."""
        if self.family != "cpu":
            return {}
        return container_environment(self.fit, self.launch)

    def arguments(self) -> tuple[str, ...]:
        """Return vLLM's arguments in its container; llama.cpp's has an environment instead."""
        if self.family == "cpu":
            return ()
        place = ("--model", f"{SERVED_FROM}/{self.name}", "--port", str(self.port))
        served = ("--served-model-name", self.fleet.upstream_model)
        return (*place, *served, *self.launch.arguments)


@dataclass(frozen=True, slots=True)
class Shelf:
    """What ships about machines, models and launches."""

    models: Models
    machines: Instances
    rows: Sequence[Row]


def lane(fleet: Fleet, shelf: Shelf) -> Lane:
    """Return how the fleet is made. Raises Unmade."""
    assert fleet.runs is not None, "it exists already"
    name = fleet.instance.removeprefix("ml.")
    machine, model = shelf.machines.instances.get(name), shelf.models.models.get(fleet.model.id)
    if machine is None:
        said = f"no engine setting is known for `{fleet.instance}` "
        raise Unmade(("instance",), said + suggest(name, shelf.machines.instances))
    if machine.family.engine != fleet.engine:
        said = f"`{fleet.instance}` is served by {machine.family.engine}, not by {fleet.engine}"
        raise Unmade(("engine",), said)
    if model is None:
        said = f"the shape of `{fleet.model.id}` is not known"
        raise Unmade(("model",), f"{said} (known: {', '.join(sorted(shelf.models.models))})")
    machine = _share(machine, fleet)
    ask = memory.default_ask(
        model,
        machine,
        shelf.models,
        quantisation=_precision(fleet, "quantisation", shelf.models.quantisations),
        kv_type=_precision(fleet, "kv_type", shelf.models.kv_types),
        context_tokens=fleet.context_tokens,
        concurrency=1 if machine.family.id in PAGED else fleet.replicas.concurrency_each,
    )
    try:
        found = memory.fit(model, machine, ask)
    except Unfit as exc:
        raise _unmade(str(exc), machine.family, shelf.models) from None
    if found.reason is not None:
        many = f" and {ask.concurrency} streams" if ask.concurrency > 1 else ""
        said = f"`{model.id}` with {ask.context_tokens:,} tokens of context{many} {found.reason}"
        if not found.longest_context:
            said = (
                f"{said}, and no context fits: `sluice fleet fit {model.id} {name}` says what would"
            )
            raise Unmade(("instance",), said)
        longest = f"the longest context that fits has {found.longest_context:,} tokens"
        raise Unmade(("context_tokens",), f"{said}; {longest}")
    streams = replace(found.ask, concurrency=fleet.replicas.concurrency_each)
    found = replace(found, ask=streams)
    return Lane(fleet, fleet.runs.on, found, launch(found, shelf.rows), fleet.host_share)


def _precision(fleet: Fleet, key: str, known: Sequence[Precision]) -> Precision | None:
    assert fleet.runs is not None
    wanted = getattr(fleet.runs, key)
    if wanted is None:
        return None
    found = memory.find(known, wanted)
    if found is None:
        names = ", ".join(each.id for each in known)
        raise Unmade(("runs", key), f"unknown {key} `{wanted}` (known: {names})")
    return found


def _unmade(said: str, family: Family, known: Models) -> Unmade:
    """Return what memory.fit refuses, with the key at fault and what would be valid."""
    for what, key, rows in (
        ("quantisation", "quantisation", known.quantisations),
        ("cache type", "kv_type", known.kv_types),
    ):
        if what in said:
            names = ", ".join(each.id for each in memory.offered(rows, family))
            return Unmade(("runs", key), f"{said} (known: {names})")
    return Unmade(("context_tokens",), said)


def _share(machine: Instance, fleet: Fleet) -> Instance:
    """Return what a fleet has of a machine that it shares. Raises Unmade for a part of a device."""
    share = fleet.host_share
    if share == 1:
        return machine
    has = machine.accelerators
    if has is None:
        cores = machine.cores or 1
        part = _whole(cores, share, f"{cores} cores of `{machine.id}`")
        return replace(machine, cores=part, memory_gib=machine.memory_gib * part / cores)
    units = has.chips or has.devices  # a NeuronCore is given away with its chip alone
    named = f"{units} {'chips' if has.chips else 'devices'} of `{machine.id}`"
    part = _whole(units, share, named)
    return replace(machine, accelerators=_fewer(has, has.devices // units * part))


def _whole(units: int, share: float, named: str) -> int:
    part = round(units * share)
    if part < 1 or abs(units * share - part) > ROUNDED:
        nearest = min(max(part, 1), units - 1) / units
        said = f"{share:g} of the {named} is {units * share:g}: only whole ones can be shared out"
        raise Unmade(("host_share",), f"{said} (as {nearest:g})")
    return part


def _fewer(has: Accelerators, devices: int) -> Accelerators:
    sizes = tuple(size for size in has.tensor_parallel if size <= devices)
    return replace(has, devices=devices, tensor_parallel=sizes)


def hosts(lanes: Iterable[Lane]) -> Iterator[tuple[str, tuple[Lane, ...]]]:
    """Yield each kind of machines with the fleets that share it."""
    found: dict[str, list[Lane]] = {}
    for each in lanes:
        found.setdefault(each.host, []).append(each)
    for host, sharing in found.items():
        yield host, tuple(sharing)
