"""What would fit where a model doesn't: another quantisation, context or machine. Pure."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from backends.hardware import Instance, Model, Models
from backends.memory import Ask, Fit, default_ask, fits_any, offered

MOST_MACHINES = 3  # S3: a model larger than one machine is split over 2-3


@dataclass(frozen=True, slots=True)
class Way:
    """A change that makes it fit: to what it is asked for, or to where."""

    change: Literal["quantisation", "kv_type", "context", "concurrency", "instance", "machines"]
    to: str
    quantisation: str | None = None  # of an instance: what it would serve it in
    kv_type: str | None = None


def ways_to_fit(found: Fit, known: Models, instances: Sequence[Instance]) -> tuple[Way, ...]:
    """Return the single changes that would make it fit, the least painful first."""
    return tuple(_ways(found, known, instances))


def _ways(found: Fit, known: Models, instances: Sequence[Instance]) -> Iterator[Way]:
    model, instance, ask = found.model, found.instance, found.ask
    for kv_type in offered(known.kv_types, instance.family):  # finest first; as fine won't fit
        if fits_any(model, instance, replace(ask, kv_type=kv_type)):
            yield Way("kv_type", kv_type.id)
            break
    for quantisation in offered(known.quantisations, instance.family):
        if fits_any(model, instance, replace(ask, quantisation=quantisation)):
            yield Way("quantisation", quantisation.id)
            break
    if found.longest_context:
        yield Way("context", str(found.longest_context))
    if found.most_concurrency:
        yield Way("concurrency", str(found.most_concurrency))
    machine = _machine(found, known, instances)
    if machine is not None:
        yield machine
    machines = _machines(found)
    if machines is not None:
        yield Way("machines", str(machines))


def _machine(found: Fit, known: Models, instances: Sequence[Instance]) -> Way | None:
    """Return the smallest machine that takes it: as asked on its kind, else in another's way."""
    model, ask, own = found.model, found.ask, found.instance.family.id
    asks = [
        (each, ask if each.family.id == own else _elsewhere(model, each, ask, known))
        for each in instances
    ]
    fitting = [(each, with_) for each, with_ in asks if fits_any(model, each, with_)]
    fitting.sort(key=lambda pair: (_strangeness(pair[0], found.instance), _size(pair[0])))
    if not fitting:
        return None
    best, with_ = fitting[0]
    return Way("instance", best.id, with_.quantisation.id, with_.kv_type.id)


def _elsewhere(model: Model, instance: Instance, ask: Ask, known: Models) -> Ask:
    return default_ask(
        model,
        instance,
        known,
        context_tokens=ask.context_tokens,
        concurrency=ask.concurrency,
    )


def _strangeness(instance: Instance, to: Instance) -> int:
    """0: the same family; 1: accelerators for accelerators; 2: anything else."""
    if instance.family.id == to.family.id:
        return 0
    return 1 if instance.accelerators and to.accelerators else 2


def _size(instance: Instance) -> tuple[int, int]:
    """Order by memory; of equal ones the one with more cores comes first."""
    return instance.usable_bytes * instance.tensor_parallel[-1], -(instance.cores or 0)


def _machines(found: Fit) -> int | None:
    """Return how many such machines llama.cpp's RPC backend would need, or None."""
    if found.instance.accelerators is not None:
        return None
    split = sum(part.each_bytes for part in found.parts[:2])  # weights and KV cache, by layers
    room = found.instance.usable_bytes - (found.each_bytes - split)
    machines = math.ceil(split / room) if room > 0 else MOST_MACHINES + 1
    return machines if machines <= MOST_MACHINES else None
