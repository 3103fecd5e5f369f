"""What holds for the memory of every model on every machine.

Small pools, so that models land just below and just above what a machine has. The oracle adds up
device by device and tensor by tensor, in fractions.
"""

from dataclasses import replace
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from backends import files
from backends.hardware import Model, read_instances, read_models
from backends.memory import Ask, fit, fits_any, need, offered, shardings
from backends.memory_ways import ways_to_fit

_MODELS = files.packaged("backends", "data", "models.yaml")
_INSTANCES = files.packaged("backends", "data", "instances.yaml")
KNOWN = read_models(_MODELS.text, _MODELS.name)
MACHINES = tuple(read_instances(_INSTANCES.text, _INSTANCES.name).instances.values())
CHOSEN = tuple(
    each
    for each in MACHINES
    if each.id in {"c8g.xlarge", "c8g.16xlarge", "h100-80gb", "p5.48xlarge", "p4d.24xlarge",
                   "inf2.48xlarge", "inf2.xlarge", "trn2.48xlarge"}
)  # fmt: skip

models = st.builds(
    lambda params, layers, kv_heads, head_dim, heads, latent, limit: Model(
        "any", "any", params, layers,
        1 if latent else kv_heads, latent or 2 * kv_heads * head_dim,
        100_000, "here", heads=heads, context_tokens=limit,
    ),
    st.sampled_from([1, 10**9, 8 * 10**9, 70 * 10**9, 109 * 10**9, 400 * 10**9]),
    st.sampled_from([1, 32, 80]),
    st.sampled_from([1, 2, 8]),
    st.sampled_from([64, 128]),
    st.sampled_from([None, 8, 12, 40, 64]),
    st.sampled_from([None, None, 576]),
    st.sampled_from([None, 8192, 100_000]),
)  # fmt: skip
tokens = st.sampled_from([1, 100, 4096, 8192])
streams = st.sampled_from([1, 2, 16, 100])


@st.composite
def cases(draw):
    model, instance = draw(models), draw(st.sampled_from(CHOSEN))
    ask = Ask(
        draw(st.sampled_from(offered(KNOWN.quantisations, instance.family))),
        draw(st.sampled_from(offered(KNOWN.kv_types, instance.family))),
        draw(tokens),
        draw(streams),
    )
    return model, instance, ask


def device_needs(model, instance, ask, size):
    """The oracle: what one device of `size` holds, in bytes."""
    family = instance.family
    held = Fraction(model.params) * Fraction(str(ask.quantisation.bits)) / 8 / size
    copies = max(Fraction(1, size), Fraction(1, model.kv_heads))
    for _stream in range(ask.concurrency):
        per_token = Fraction(model.kv_elements) * Fraction(str(ask.kv_type.bits)) / 8
        held += copies * per_token * ask.context_tokens * model.layers
    if family.step:
        held += 512 * 4 * model.vocab + 512 * 2 * ask.context_tokens
    for overhead in family.overheads:
        if overhead.when in ("always", "alone" if size == 1 else "sharded"):
            held += Fraction(str(overhead.gib)) * 2**30
    return held


def allowed(model, instance, ask):
    """The oracle: over how many devices it fits, if on one, or on the most that may share it."""
    sizes = [
        size
        for size in instance.tensor_parallel
        if (model.heads is None or model.heads % size == 0 or instance.family.id == "neuron")
        and (size % model.kv_heads == 0 or model.kv_heads % size == 0)
    ]
    usable = Fraction(str(instance.family.usable_share)) * instance.device_bytes
    slack = 64  # bytes that rounding up adds; no pool lands so near
    fitting = [n for n in (1, max(sizes)) if device_needs(model, instance, ask, n) + slack < usable]
    return fitting[0] if fitting else None


@given(cases())
def test_it_fits_where_the_oracle_says_so(case):
    model, instance, ask = case
    found = fit(model, instance, ask)
    size = allowed(model, instance, ask)
    assert (found.verdict == "no") == (size is None)
    if size is not None:
        assert found.tensor_parallel == size
        assert found.verdict == ("fits" if size == 1 else "sharded")


@given(cases())
def test_the_parts_add_up_to_what_the_oracle_counts(case):
    model, instance, ask = case
    for size in shardings(model, instance):
        parts = need(model, instance.family, ask, size)
        each = sum(part.each_bytes for part in parts)
        assert 0 <= each - device_needs(model, instance, ask, size) < len(parts) + 1
        assert sum(part.total_bytes for part in parts) == size * each


def more_of_each(model, instance, ask):
    yield replace(model, params=model.params * 2), ask
    yield replace(model, layers=model.layers + 1), ask
    yield model, replace(ask, context_tokens=ask.context_tokens + 1)
    yield model, replace(ask, concurrency=ask.concurrency + 1)
    for quantisation in offered(KNOWN.quantisations, instance.family):
        if quantisation.bits > ask.quantisation.bits:
            yield model, replace(ask, quantisation=quantisation)
    for kv_type in offered(KNOWN.kv_types, instance.family):
        if kv_type.bits > ask.kv_type.bits:
            yield model, replace(ask, kv_type=kv_type)


@given(cases())
def test_more_of_anything_needs_more_memory(case):
    model, instance, ask = case
    for size in shardings(model, instance):
        before = sum(part.each_bytes for part in need(model, instance.family, ask, size))
        for larger, more in more_of_each(model, instance, ask):
            after = sum(part.each_bytes for part in need(larger, instance.family, more, size))
            weights_alone = replace(more, quantisation=ask.quantisation) == ask
            if weights_alone and model.params == 1:  # a share of one weight is rounded up
                assert after >= before
            else:
                assert after > before


@given(cases())
def test_what_fits_never_stops_fitting_with_less(case):
    model, instance, ask = case
    for larger, more in more_of_each(model, instance, ask):
        if fits_any(larger, instance, more):
            assert fits_any(model, instance, ask)


@given(cases())
def test_the_longest_context_fits_and_one_token_more_does_not(case):
    model, instance, ask = case
    longest = fit(model, instance, ask).longest_context
    if longest:
        assert fits_any(model, instance, replace(ask, context_tokens=longest))
        assert model.context_tokens is None or longest <= model.context_tokens
    if model.context_tokens is None or longest < model.context_tokens:
        assert not fits_any(model, instance, replace(ask, context_tokens=longest + 1))


@given(cases())
def test_the_most_streams_fit_and_one_more_does_not(case):
    model, instance, ask = case
    most = fit(model, instance, ask).most_concurrency
    if most:
        assert fits_any(model, instance, replace(ask, concurrency=most))
    assert not fits_any(model, instance, replace(ask, concurrency=most + 1))


@given(cases())
def test_every_way_out_is_one(case):
    model, instance, ask = case
    found = fit(model, instance, ask)
    if found.verdict != "no":
        return
    quantisations = {each.id: each for each in KNOWN.quantisations}
    kv_types = {each.id: each for each in KNOWN.kv_types}
    machines = {each.id: each for each in MACHINES}
    for way in ways_to_fit(found, KNOWN, MACHINES):
        where, changed = instance, ask
        if way.change == "quantisation":
            changed = replace(ask, quantisation=quantisations[way.to])
        elif way.change == "kv_type":
            changed = replace(ask, kv_type=kv_types[way.to])
        elif way.change == "context":
            changed = replace(ask, context_tokens=int(way.to))
        elif way.change == "concurrency":
            changed = replace(ask, concurrency=int(way.to))
        elif way.change == "instance":
            where = machines[way.to]
            changed = replace(
                ask, quantisation=quantisations[way.quantisation], kv_type=kv_types[way.kv_type]
            )
        else:
            assert 2 <= int(way.to) <= 3
            continue
        assert allowed(model, where, changed)
