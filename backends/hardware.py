"""What models need and machines have, as ``data/models.yaml`` and ``instances.yaml`` say."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import yamlfile
from backends import hardware_forms
from backends.points import Mark
from yamlfile import Document

GIB = 2**30
GB = 10**9

FamilyId = Literal["cpu", "cuda", "neuron"]


@dataclass(frozen=True, slots=True)
class Model:
    """The shape that memory follows from; without `heads` or `context_tokens` they limit nothing.

    `kv_elements` of a token in one layer: K and V of every KV head, or their one latent vector.
    `kv_heads`: over how many devices the KV cache can be split; 1 for a latent.
    """

    id: str
    repo: str
    params: int
    layers: int
    kv_heads: int
    kv_elements: int
    vocab: int
    source: str
    heads: int | None = None
    context_tokens: int | None = None
    active_params: int | None = None
    experts: int | None = None


@dataclass(frozen=True, slots=True)
class Precision:
    """A quantisation of weights, or a type of the KV cache: bits per element, all scales in."""

    id: str
    bits: float
    families: frozenset[str]
    source: str
    aliases: tuple[str, ...] = ()
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Overhead:
    """What a device holds besides the model; `when`: how many devices share one model."""

    what: str
    gib: float
    when: Literal["always", "alone", "sharded"]
    mark: Mark
    source: str


@dataclass(frozen=True, slots=True)
class Step:
    """Buffers of one step: tokens x (logit_bytes x vocabulary + mask_bytes x context)."""

    tokens: int
    logit_bytes: int
    mask_bytes: int
    mark: Mark
    source: str


@dataclass(frozen=True, slots=True)
class Concurrency:
    """The default: `most`, or where `by_cores` one per core between `least` and `most`."""

    most: int
    least: int
    by_cores: bool
    source: str


@dataclass(frozen=True, slots=True)
class Family:
    """Machines that one engine serves in the same way."""

    id: FamilyId
    engine: str
    usable_share: float
    pads_heads: bool
    defaults: tuple[str, ...]
    defaults_source: str
    context_tokens: int
    context_source: str
    concurrency: Concurrency
    overheads: tuple[Overhead, ...]
    step: Step | None = None


@dataclass(frozen=True, slots=True)
class Accelerators:
    """`devices`: what a model is sharded over (GPUs, NeuronCores); `memory_gib` is one device's."""

    name: str
    devices: int
    memory_gib: float
    tensor_parallel: tuple[int, ...]
    fp8: bool = False
    chips: int | None = None
    physical_cores: int | None = None


@dataclass(frozen=True, slots=True)
class Instance:
    """A machine; `cores` are physical. Without accelerators its own memory is the one device."""

    id: str
    family: Family
    chip: str
    memory_gib: float
    source: str
    as_of: str
    vcpu: int | None = None
    cores: int | None = None
    numa_nodes: int | None = None
    accelerators: Accelerators | None = None

    @property
    def device_bytes(self) -> int:
        """One device's whole memory."""
        gib = self.accelerators.memory_gib if self.accelerators else self.memory_gib
        return int(gib * GIB)

    @property
    def usable_bytes(self) -> int:
        """What the engine may fill of one device."""
        return int(self.device_bytes * self.family.usable_share)

    @property
    def tensor_parallel(self) -> tuple[int, ...]:
        return self.accelerators.tensor_parallel if self.accelerators else (1,)


@dataclass(frozen=True, slots=True)
class Models:
    models: Mapping[str, Model]
    quantisations: tuple[Precision, ...]  # most bits first
    kv_types: tuple[Precision, ...]  # a family's first is its default


@dataclass(frozen=True, slots=True)
class Instances:
    instances: Mapping[str, Instance]


def read_models(text: str, name: str) -> Models:
    """Return the models; raise yamlfile.Invalid with every mistake of the file."""
    document = yamlfile.read(text, name, hardware_forms.MODELS)
    value = document.value
    faults = [
        *_twice(document, "models"),
        *_twice(document, "quantisations"),
        *_twice(document, "kv_types"),
        *_kv_faults(value["models"]),
    ]
    if faults:
        raise document.invalid(faults)
    quantisations = sorted(map(_precision, value["quantisations"]), key=lambda q: -q.bits)
    models = {row["id"]: _model(row) for row in value["models"]}
    return Models(models, tuple(quantisations), tuple(map(_precision, value["kv_types"])))


def read_instances(text: str, name: str) -> Instances:
    """Return the machines; raise yamlfile.Invalid with every mistake of the file."""
    document = yamlfile.read(text, name, hardware_forms.INSTANCES)
    value = document.value
    families = {row["id"]: _family(row) for row in value["families"]}
    faults = [
        *_twice(document, "families"),
        *_twice(document, "instances"),
        *_instance_faults(value["instances"], families),
    ]
    if faults:
        raise document.invalid(faults)
    rows = value["instances"]
    return Instances({row["id"]: _instance(row, families[row["family"]]) for row in rows})


# ---- rows -> values --------------------------------------------------------------------------


def _model(row: Mapping[str, Any]) -> Model:
    latent = row.get("kv_latent")
    return Model(
        id=row["id"],
        repo=row["repo"],
        params=round(row["params"]),
        layers=row["layers"],
        kv_heads=1 if latent else row["kv_heads"],
        kv_elements=latent or 2 * row["kv_heads"] * row["head_dim"],
        vocab=row["vocab"],
        source=row["source"],
        heads=row["heads"],
        context_tokens=row["context_tokens"],
        active_params=round(row["active_params"]) if "active_params" in row else None,
        experts=row.get("experts"),
    )


def _precision(row: Mapping[str, Any]) -> Precision:
    families = frozenset(row["families"])
    aliases = tuple(row.get("aliases", ()))
    return Precision(row["id"], row["bits"], families, row["source"], aliases, row.get("note"))


def _family(row: Mapping[str, Any]) -> Family:
    return Family(
        **{
            **row,
            "defaults": tuple(row["defaults"]),
            "concurrency": Concurrency(**row["concurrency"]),
            "overheads": tuple(Overhead(**overhead) for overhead in row["overheads"]),
            "step": Step(**row["step"]) if "step" in row else None,
        }
    )


def _instance(row: Mapping[str, Any], family: Family) -> Instance:
    has = row.get("accelerators")
    sizes = tuple(sorted(has["tensor_parallel"])) if has else ()
    accelerators = Accelerators(**{**has, "tensor_parallel": sizes}) if has else None
    return Instance(**{**row, "family": family, "accelerators": accelerators})


# ---- what a schema can't say -----------------------------------------------------------------


def _twice(document: Document, table: str) -> Iterable[yamlfile.Fault]:
    seen: set[str] = set()
    for i, row in enumerate(document.value[table]):
        for name in (row["id"], *row.get("aliases", ())):
            if name.lower() in seen:
                yield (table, i), f"`{name}` stands in {table} twice"
            seen.add(name.lower())


def _kv_faults(rows: Sequence[Mapping[str, Any]]) -> Iterable[yamlfile.Fault]:
    for i, row in enumerate(rows):
        heads = {"kv_heads", "head_dim"} & row.keys()
        if len(heads) != (0 if "kv_latent" in row else 2):
            said = f"model {row['id']}: give `kv_heads` and `head_dim`, or `kv_latent` alone"
            yield ("models", i), said


def _instance_faults(
    rows: Sequence[Mapping[str, Any]], families: Mapping[str, Family]
) -> Iterable[yamlfile.Fault]:
    for i, row in enumerate(rows):
        at = ("instances", i)
        if row["family"] not in families:
            yield at, f"instance {row['id']}: family `{row['family']}` has no row"
        if ("accelerators" in row) == (row["family"] == "cpu"):
            yield at, f"instance {row['id']}: every family but `cpu` has `accelerators`"
        if row["family"] == "cpu" and not {"cores", "numa_nodes"} <= row.keys():
            yield at, f"instance {row['id']}: a machine without accelerators says its cores"
        has = row.get("accelerators", {})
        if any(size > has["devices"] for size in has.get("tensor_parallel", ())):
            yield at, f"instance {row['id']}: `tensor_parallel` exceeds its devices"
