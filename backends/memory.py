"""What a model needs in memory on a machine, against what the machine has.

Pure. What is sharded over several devices (GPUs, NeuronCores) must fit *each* of them: weights are
split evenly; the KV cache by KV heads, so that devices beyond their number hold copies; runtime and
buffers are on every device. Upper bounds, on purpose: layers with sliding or chunked attention
count as full ones, and every stream may fill its context.

* Unfit        what is asked for can't be served there at all, whatever the memory
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from backends.hardware import GIB, Family, Instance, Model, Models, Overhead, Precision
from backends.points import Mark

Verdict = Literal["fits", "sharded", "no"]
SHORT_STREAM = 256  # tokens, prompt and answer
NO_LIMIT = 2**40  # no search for a largest value goes further


class Unfit(ValueError):  # noqa: N818  (it reads as what it says)
    """The engine of this machine has no such quantisation, cache type or context."""


@dataclass(frozen=True, slots=True)
class Ask:
    """How the model is to be served: `concurrency` streams of up to `context_tokens` each."""

    quantisation: Precision
    kv_type: Precision
    context_tokens: int
    concurrency: int


@dataclass(frozen=True, slots=True)
class Part:
    """One line of the need. `each_bytes`: on one device; `total_bytes`: over all of them."""

    what: str
    each_bytes: int
    total_bytes: int
    how: str
    mark: Mark
    source: str


@dataclass(frozen=True, slots=True)
class Fit:
    """`verdict` fits: on one device; sharded: over `tensor_parallel` devices; no: see `reason`.

    `longest_context`: at this concurrency; `most_concurrency`: at this context; 0 if none.
    """

    model: Model
    instance: Instance
    ask: Ask
    verdict: Verdict
    tensor_parallel: int
    parts: tuple[Part, ...]
    longest_context: int
    most_concurrency: int

    @property
    def each_bytes(self) -> int:
        return sum(part.each_bytes for part in self.parts)

    @property
    def needed_bytes(self) -> int:
        return sum(part.total_bytes for part in self.parts)

    @property
    def available_bytes(self) -> int:
        return self.instance.usable_bytes * self.tensor_parallel

    @property
    def headroom_bytes(self) -> int:
        """What is left of one device; below zero: what it lacks."""
        return self.instance.usable_bytes - self.each_bytes

    @property
    def reason(self) -> str | None:
        if self.verdict != "no":
            return None
        each = f" on each of {self.tensor_parallel} devices" if self.tensor_parallel > 1 else ""
        return (
            f"needs {self.each_bytes / GIB:,.1f} GiB{each}, "
            f"of which {self.instance.usable_bytes / GIB:,.1f} GiB can be used: "
            f"{-self.headroom_bytes / GIB:,.1f} GiB too much"
        )


def default_concurrency(instance: Instance) -> int:
    rule = instance.family.concurrency
    if not rule.by_cores or instance.cores is None:
        return rule.most
    return min(max(instance.cores, rule.least), rule.most)


def default_context(model: Model, instance: Instance) -> int:
    return min(instance.family.context_tokens, model.context_tokens or NO_LIMIT)


def default_ask(
    model: Model,
    instance: Instance,
    known: Models,
    *,
    quantisation: Precision | None = None,
    kv_type: Precision | None = None,
    context_tokens: int | None = None,
    concurrency: int | None = None,
) -> Ask:
    """Return what is asked for with the family's defaults for the rest.

    Of the default quantisations, the first that fits is taken, or the first if none does; FP8 only
    where the machine computes in it.
    """
    family = instance.family
    ask = Ask(
        quantisation or _known(known.quantisations, family.defaults[0]),
        kv_type or offered(known.kv_types, family)[0],
        default_context(model, instance) if context_tokens is None else context_tokens,
        default_concurrency(instance) if concurrency is None else concurrency,
    )
    if quantisation is None:
        named = [name for name in family.defaults if name != "fp8" or _computes_fp8(instance)]
        tried = [replace(ask, quantisation=_known(known.quantisations, name)) for name in named]
        ask = next((each for each in tried if fits_any(model, instance, each)), ask)
    return ask


def _computes_fp8(instance: Instance) -> bool:
    return instance.accelerators is not None and instance.accelerators.fp8


def _known(precisions: Sequence[Precision], name: str) -> Precision:
    found = find(precisions, name)
    assert found is not None, f"a family's default `{name}` has no row"
    return found


def offered(precisions: Sequence[Precision], family: Family) -> tuple[Precision, ...]:
    """Return those that the engine of this family can use."""
    return tuple(each for each in precisions if family.id in each.families)


def find(precisions: Sequence[Precision], name: str) -> Precision | None:
    """Return the one of this name or alias, in any case of letters."""
    wanted = name.lower()
    for each in precisions:
        if wanted in (each.id.lower(), *(alias.lower() for alias in each.aliases)):
            return each
    return None


def shardings(model: Model, instance: Instance) -> tuple[int, ...]:
    """Return the numbers of devices that this model can be split over, rising."""
    return tuple(size for size in instance.tensor_parallel if _splits(model, instance.family, size))


def _splits(model: Model, family: Family, size: int) -> bool:
    heads_split = family.pads_heads or model.heads is None or model.heads % size == 0
    return heads_split and (model.kv_heads % size == 0 or size % model.kv_heads == 0)


def fit(model: Model, instance: Instance, ask: Ask) -> Fit:
    """Return the need by part, the verdict and the largest context and concurrency.

    One device is taken if the model fits it, else the most that it can be split over (vLLM,
    parallelism and scaling: the number of GPUs of the node).

    raises Unfit
    """
    _check(model, instance, ask)
    sizes = shardings(model, instance)
    alone = sizes[0]
    size = alone if _fits(model, instance, ask, alone) else sizes[-1]
    fits = _fits(model, instance, ask, size)

    def at_context(tokens: int) -> bool:
        return fits_any(model, instance, replace(ask, context_tokens=tokens))

    def at_concurrency(streams: int) -> bool:
        return fits_any(model, instance, replace(ask, concurrency=streams))

    return Fit(
        model=model,
        instance=instance,
        ask=ask,
        verdict="no" if not fits else "fits" if size == 1 else "sharded",
        tensor_parallel=size,
        parts=need(model, instance.family, ask, size),
        longest_context=_largest(at_context, model.context_tokens or NO_LIMIT),
        most_concurrency=_largest(at_concurrency, NO_LIMIT),
    )


def _check(model: Model, instance: Instance, ask: Ask) -> None:
    family = instance.family
    for what, precision in (("quantisation", ask.quantisation), ("cache type", ask.kv_type)):
        if family.id not in precision.families:
            raise Unfit(f"{family.engine} on {instance.id} has no {what} `{precision.id}`")
    if ask.context_tokens < 1 or ask.concurrency < 1:
        raise Unfit("context and concurrency start at 1")
    if model.context_tokens is not None and ask.context_tokens > model.context_tokens:
        raise Unfit(
            f"a context of {ask.context_tokens:,} tokens exceeds the "
            f"{model.context_tokens:,} of {model.id}"
        )


def _fits(model: Model, instance: Instance, ask: Ask, size: int) -> bool:
    parts = need(model, instance.family, ask, size)
    return sum(part.each_bytes for part in parts) <= instance.usable_bytes


def fits_any(model: Model, instance: Instance, ask: Ask) -> bool:
    """Return whether one device, or the most that it can be split over, take it."""
    sizes = shardings(model, instance)
    return any(_fits(model, instance, ask, size) for size in (sizes[0], sizes[-1]))


def fits_somehow(model: Model, instance: Instance, known: Models) -> bool:
    """Return whether some quantisation with a single short stream fits the machine."""
    kv_type = min(offered(known.kv_types, instance.family), key=lambda each: each.bits)
    asks = (
        Ask(each, kv_type, SHORT_STREAM, 1)
        for each in offered(known.quantisations, instance.family)
    )
    return any(fits_any(model, instance, ask) for ask in asks)


def _largest(holds: Callable[[int], bool], limit: int) -> int:
    """Return the largest n up to the limit at which it holds (it never holds again after)."""
    if not holds(1):
        return 0
    low, high = 1, 2
    while high <= limit and holds(high):
        low, high = high, high * 2
    high = min(high, limit + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


# ---- the parts -------------------------------------------------------------------------------


def need(model: Model, family: Family, ask: Ask, size: int) -> tuple[Part, ...]:
    """Return what the model needs, part by part, if `size` devices share it."""
    return tuple(_need(model, family, ask, size))


def _need(model: Model, family: Family, ask: Ask, size: int) -> Iterator[Part]:
    yield _weights(model, ask, size)
    yield _kv_cache(model, ask, size)
    if family.step is not None:
        step = family.step
        bytes_a_token = step.logit_bytes * model.vocab + step.mask_bytes * ask.context_tokens
        how = (
            f"{step.tokens} tokens x ({step.logit_bytes} bytes x {model.vocab:,} vocabulary + "
            f"{step.mask_bytes} bytes x {ask.context_tokens:,} context)"
        )
        each = step.tokens * bytes_a_token
        yield Part("compute buffers", each, each * size, how, step.mark, step.source)
    for overhead in family.overheads:
        if overhead.when == "always" or (overhead.when == "sharded") == (size > 1):
            yield _overhead(overhead, size)


def _weights(model: Model, ask: Ask, size: int) -> Part:
    bits = ask.quantisation.bits
    total = math.ceil(model.params * bits / 8)
    how = f"{model.params / 1e9:,.2f} billion weights x {bits:g} bits"
    if model.experts:
        how += f", all {model.experts} experts"
    each = math.ceil(total / size)
    source = f"{model.source}; {ask.quantisation.id}: {ask.quantisation.source}"
    return Part("weights", each, each * size, how, "estimated", source)


def _kv_cache(model: Model, ask: Ask, size: int) -> Part:
    held_by = min(size, model.kv_heads)  # beyond that, devices hold copies
    tokens = ask.context_tokens * ask.concurrency
    total = math.ceil(model.kv_elements * model.layers * ask.kv_type.bits / 8 * tokens)
    how = (
        f"{model.layers} layers x {model.kv_elements:,} elements x {ask.kv_type.bits:g} bits x "
        f"{ask.context_tokens:,} context x {ask.concurrency:,} streams"
    )
    if size > held_by:
        how += f", {size // held_by} copies"
    each = math.ceil(total / held_by)
    source = f"{model.source}; {ask.kv_type.id}: {ask.kv_type.source}"
    return Part("KV cache", each, each * size, how, "estimated", source)


def _overhead(overhead: Overhead, size: int) -> Part:
    each = math.ceil(overhead.gib * GIB)
    how = f"{overhead.gib:g} GiB" + (f" on each of {size} devices" if size > 1 else "")
    return Part(overhead.what, each, each * size, how, overhead.mark, overhead.source)
