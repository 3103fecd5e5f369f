"""``sluice fleet fit``: does a model fit an instance, and how is it launched there?"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import click
import orjson

from backends import files, launch_table, memory
from backends.hardware import (
    GB,
    GIB,
    Instance,
    Instances,
    Model,
    Models,
    Precision,
    read_instances,
    read_models,
)
from backends.launch import Launch, container_environment, launch
from backends.memory import Fit, Unfit
from backends.memory_ways import Way, ways_to_fit
from router.cli import options
from router.cli.cited import legend
from router.cli.errors import FAILED, INVALID, Ends, told
from yamlfile import suggest

MOST_PARAMS = 1e15  # a thousand times the largest model: beyond, it is a typing mistake
SHAPE = click.IntRange(1, 100_000)
STREAMS = click.IntRange(1, 1_000_000)
TOKENS = click.IntRange(1, 100_000_000)


@click.command("fit")
@click.argument("model")
@click.argument("instance")
@click.option("--quantisation", metavar="Q", help="Of the weights, such as Q4_K_M, bf16, fp8.")
@click.option("--context", type=TOKENS, help="Tokens of one stream, prompt and answer.")
@click.option("--concurrency", type=STREAMS, help="Streams at a time.")
@click.option("--kv-type", metavar="T", help="Of the KV cache, such as f16, q8_0, fp8.")
@click.option("--params", metavar="N", help="Weights of a model that isn't listed: 8e9.")
@click.option("--layers", type=SHAPE, help="Of a model that isn't listed.")
@click.option("--kv-heads", type=SHAPE, help="Of a model that isn't listed.")
@click.option("--head-dim", type=SHAPE, help="Of a model that isn't listed.")
@click.option("--heads", type=SHAPE, help="Attention heads of such a model; they limit sharding.")
@click.option(
    "--vocab",
    type=click.IntRange(1, 10_000_000),
    default=262_144,
    show_default=True,
    help="Vocabulary of such a model.",
)
@options.as_json
def command(
    model: str,
    instance: str,
    quantisation: str | None,
    context: int | None,
    concurrency: int | None,
    kv_type: str | None,
    as_json: bool,
    **shape: Any,  # noqa: ANN401  (click's values of the options that describe a model)
) -> None:
    """Say what MODEL needs on INSTANCE and how to launch it; exit 1 if it doesn't fit."""
    with told():
        known, machines = read()
        rows = read_launch()
    machine = _instance(machines, instance)
    wanted = _custom(model, shape) or _listed(known, model)
    ask = memory.default_ask(
        wanted,
        machine,
        known,
        quantisation=_precision("quantisation", known.quantisations, machine, quantisation),
        kv_type=_precision("KV type", known.kv_types, machine, kv_type),
        context_tokens=context,
        concurrency=concurrency,
    )
    try:
        found = memory.fit(wanted, machine, ask)
    except Unfit as exc:
        raise Ends(str(exc), INVALID) from None
    start = launch(found, rows) if found.reason is None else None
    ways = ways_to_fit(found, known, list(machines.instances.values())) if start is None else ()
    if as_json:
        click.echo(orjson.dumps(_as_json(found, start, ways)))
    else:
        defaults = None if quantisation else machine.family.defaults
        lines = _text(found, start, ways, defaults)
        click.echo("\n".join([*lines, "", legend(lines)]).rstrip())
    if start is None:
        raise SystemExit(FAILED)


def read_launch() -> tuple[launch_table.Row, ...]:
    """Return the rows of the launch table that ships."""
    table = files.packaged("backends", "data", "launch.yaml")
    return launch_table.read(table.text, table.name)


def read() -> tuple[Models, Instances]:
    """Return the models and the machines that ship."""
    models = files.packaged("backends", "data", "models.yaml")
    instances = files.packaged("backends", "data", "instances.yaml")
    return read_models(models.text, models.name), read_instances(instances.text, instances.name)


def _instance(machines: Instances, name: str) -> Instance:
    if name not in machines.instances:
        raise Ends(f"unknown instance `{name}` {suggest(name, machines.instances)}", INVALID)
    return machines.instances[name]


def _listed(known: Models, name: str) -> Model:
    if name not in known.models:
        said = f"unknown model `{name}` {suggest(name, known.models)}"
        other = "or describe it by --params, --layers, --kv-heads and --head-dim"
        raise Ends(f"{said}; {other}", INVALID)
    return known.models[name]


def _custom(name: str, shape: Mapping[str, Any]) -> Model | None:
    needed = ("params", "layers", "kv_heads", "head_dim")
    missing = [key for key in needed if shape[key] is None]
    if len(missing) == len(needed) and shape["heads"] is None:
        return None
    if missing:
        flags = ", ".join(f"--{key.replace('_', '-')}" for key in missing)
        raise Ends(f"model `{name}` is described in part: {flags} missing", INVALID)
    return Model(
        id=name,
        repo=name,
        params=_params(shape["params"]),
        layers=shape["layers"],
        kv_heads=shape["kv_heads"],
        kv_elements=2 * shape["kv_heads"] * shape["head_dim"],
        vocab=shape["vocab"],
        source="the command line",
        heads=shape["heads"],
    )


def _params(text: str) -> int:
    try:
        params = float(text)
    except ValueError:
        params = 0.0
    if not 1 <= params <= MOST_PARAMS:  # nan is in no range
        said = f"--params: `{text}` is not a number of weights such as 8e9 (at most 1e15)"
        raise Ends(said, INVALID)
    return round(params)


def _precision(
    what: str, precisions: Sequence[Precision], machine: Instance, name: str | None
) -> Precision | None:
    if name is None:
        return None
    offered = memory.offered(precisions, machine.family)
    found = memory.find(offered, name)
    if found is not None:
        return found
    hint = suggest(name, (each.id for each in offered))
    if other := memory.find(precisions, name):
        where = f"{machine.family.engine} on {machine.id} has no {what} `{other.id}`"
        raise Ends(f"{where} ({other.source}) {hint}", INVALID)
    raise Ends(f"unknown {what} `{name}` {hint}", INVALID)


# ---- what is printed -----------------------------------------------------------------------------


def _as_json(found: Fit, start: Launch | None, ways: Sequence[Way]) -> dict[str, Any]:
    ask = found.ask
    return {
        "model": found.model.id,
        "instance": found.instance.id,
        "engine": found.instance.family.engine,
        "quantisation": ask.quantisation.id,
        "kv_type": ask.kv_type.id,
        "context_tokens": ask.context_tokens,
        "concurrency": ask.concurrency,
        "fits": found.reason is None,
        "verdict": found.verdict,
        "tensor_parallel": found.tensor_parallel,
        "parts": [asdict(part) for part in found.parts],
        "needed_bytes": found.needed_bytes,
        "available_bytes": found.available_bytes,
        "each_bytes": found.each_bytes,
        "usable_each_bytes": found.instance.usable_bytes,
        "headroom_each_bytes": found.headroom_bytes,
        "longest_context": found.longest_context,
        "most_concurrency": found.most_concurrency,
        "reason": found.reason,
        "ways": [asdict(way) for way in ways],
        "launch": None
        if start is None
        else {
            "command": start.command,
            "program": start.program,
            "settings": [asdict(setting) for setting in start.settings],
            "notes": start.notes,
            "container": _container(found, start),
        },
    }


def _text(
    found: Fit, start: Launch | None, ways: Sequence[Way], defaults: Sequence[str] | None
) -> list[str]:
    lines = [*_headline(found, defaults), "", *_table(found), "", *_limits(found)]
    if start is None:
        return [*lines, "", *_what_would_fit(found, ways)]
    return [*lines, "", *_launch(start)]


def _headline(found: Fit, defaults: Sequence[str] | None) -> list[str]:
    ask, size = found.ask, found.tensor_parallel
    verdict = {
        "fits": "fits",
        "sharded": f"fits, sharded over {size} devices",
        "no": "DOES NOT FIT",
    }[found.verdict]
    lines = [
        f"{found.model.id} on {found.instance.id}: {verdict}",
        ", ".join(
            (
                f"{ask.quantisation.id} weights",
                f"{ask.kv_type.id} KV cache",
                f"{ask.concurrency:,} streams of {ask.context_tokens:,} tokens",
            )
        ),
    ]
    if found.reason is not None:
        lines.insert(1, found.reason)
    if defaults is not None and ask.quantisation.id != defaults[0]:
        lines.append(f"{ask.quantisation.id} because {defaults[0]} does not fit")
    return lines


def _table(found: Fit) -> list[str]:
    size = found.tensor_parallel
    usable, share = found.instance.usable_bytes, found.instance.family.usable_share
    whole = f"{share:.0%} of {found.instance.device_bytes / GIB:,.1f} GiB"
    rows = [(p.what, p.each_bytes, p.total_bytes, f"{p.how} [{p.mark}]") for p in found.parts]
    rows += [
        ("needed", found.each_bytes, found.needed_bytes, ""),
        ("usable", usable, found.available_bytes, f"{whole} on each device" if size > 1 else whole),
        ("left", found.headroom_bytes, found.headroom_bytes * size, ""),
    ]
    width = max(len(row[0]) for row in rows)
    each = "GiB each  " if size > 1 else ""
    lines = [f"{'part':<{width}}  {each}{'GiB':>9}  {'GB':>9}  how"]
    for what, one, total, how in rows:
        first = f"{one / GIB:>8,.2f}  " if size > 1 else ""
        line = f"{what:<{width}}  {first}{total / GIB:>9,.2f}  {total / GB:>9,.2f}  {how}"
        lines.append(line.rstrip())
    has = found.instance.accelerators
    of_each = f"; each: one of {size} {has.name}" if has and size > 1 else ""
    return [*lines, f"GiB = 2^30 bytes, GB = 10^9 bytes{of_each}"]


def _limits(found: Fit) -> list[str]:
    ask = found.ask
    longest = f"{found.longest_context:,} tokens" if found.longest_context else "none fits"
    most = f"{found.most_concurrency:,}" if found.most_concurrency else "none fits"
    return [
        f"longest context with {ask.concurrency:,} streams: {longest}",
        f"most streams of {ask.context_tokens:,} tokens: {most}",
    ]


def _what_would_fit(found: Fit, ways: Sequence[Way]) -> list[str]:
    if not ways:
        return ["nothing listed would fit it: neither another quantisation nor another instance"]
    return ["what would fit", *(f"  {_way(found, way)}" for way in ways)]


def _way(found: Fit, way: Way) -> str:
    ask = found.ask
    served = f"--quantisation {way.quantisation} --kv-type {way.kv_type}"
    load = f"--context {ask.context_tokens} --concurrency {ask.concurrency}"
    return {
        "kv_type": f"--kv-type {way.to}",
        "quantisation": f"--quantisation {way.to}",
        "context": f"--context {way.to}",
        "concurrency": f"--concurrency {way.to}",
        "instance": f"{way.to} with {served} {load}",
        "machines": f"{way.to} x {found.instance.id} by llama.cpp's RPC backend (S3)",
    }[way.change]


def _container(found: Fit, start: Launch) -> Mapping[str, str] | None:
    """What tells our container the same settings, where it has this engine."""
    return container_environment(found, start) if start.engine == "llama.cpp" else None


def _launch(start: Launch) -> list[str]:
    flags = [" ".join(filter(None, (each.flag, each.value))) for each in start.settings]
    width = max(map(len, flags))
    lines = [f"launch ({start.engine})", f"  {start.command}", ""]
    for flag, setting in zip(flags, start.settings, strict=True):
        lines.append(f"  {flag:<{width}}  {setting.why} [{setting.source}]")
    return [*lines, *(f"  note: {note}" for note in start.notes)]
