"""What can be wrong with a fleet that the stage makes, beside its memory (router.deploy.lane)."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from backends.catalogue import Fleet
from backends.hardware import Instances
from router import lane_names
from router.deploy import purchase
from router.deploy.engine_start import COMPILING_S
from router.deploy.fleet_checks import Row
from router.deploy.given import Given
from router.deploy.lane import PAGED, ROUNDED, Lane, Unmade
from yamlfile import Fault

NAME_MOST: Final = 38  # names on AWS end at 63 characters: `sluice-`, 16 of the stage, `-`, this
SOLD_AT_SAGEMAKER: Final = ("on_demand", "savings_plan")  # endpoints: no Spot, no reservations
FILES: Final = (".safetensors", ".bin", ".pt", ".pth", ".json", ".zip", ".tar", ".gz", ".tgz")
SHARED: Final = ("instance", "region", "purchase", "replicas.min", "replicas.max", "runs.on")


def faults(row: Row, machines: Instances) -> Iterator[Fault]:
    """Yield why the stage can't make this fleet."""
    fleet = row.fleet
    assert fleet.runs is not None, "it exists already"
    if fleet.region != row.given.region:
        said = f"the stage makes its fleets where it is, in {row.given.region}, not in "
        yield row.fault("region", said=f"{said}{fleet.region}")
    if fleet.runs.on == "sagemaker":
        yield from _on_sagemaker(row, machines)
    else:
        yield from _on_machines(row)
    yield from _chip(row, machines)
    yield from _purchase(row)
    if fleet.replicas.min == 0 and fleet.wake_seconds is None:
        said = "it may have no replica (`min: 0`), and nobody knows when one is back: say "
        fix = "`wake: {seconds: ..., min_run_seconds: ...}`, or `min: 1`"
        yield row.fault("replicas", said=said + fix)
    yield from _weights(row)
    name = lane_names.slug(fleet.id)
    if not 0 < len(name) <= NAME_MOST:
        said = f"on AWS it would be called `{name}`: 1 to {NAME_MOST} letters, digits and hyphens"
        yield row.fault("id", said=said)


# ---- where it runs -------------------------------------------------------------------------------


def _on_sagemaker(row: Row, machines: Instances) -> Iterator[Fault]:
    fleet, target = row.fleet, row.fleet.sagemaker
    if target is None:
        said = (
            f"`on: sagemaker` goes with `kind: sagemaker` and `endpoint`, not with `{fleet.kind}`"
        )
        yield row.fault("runs", "on", said=said)
        return
    if not fleet.instance.startswith("ml."):
        said = f"SageMaker's instances are named `ml.{fleet.instance}`, not `{fleet.instance}`"
        yield row.fault("instance", said=said)
    machine = machines.instances.get(fleet.instance.removeprefix("ml."))
    if machine is not None and machine.accelerators is not None:
        said = "on SageMaker this version makes endpoints on Graviton alone: call one of your own "
        yield row.fault("runs", "on", said=said + "(without `runs`), or take `on: ecs`")
    if fleet.host is not None:
        said = "endpoints of SageMaker don't share machines: leave out `host`, or take `on: ecs`"
        yield row.fault("host", said=said)
    if target.inference_component is not None:
        if row.given.partition == "aws-cn":
            said = (
                "China has no inference components: leave it out (the endpoint is then a plain one)"
            )
            yield row.fault("inference_component", said=said)
    elif fleet.replicas.min == 0:
        said = "a plain endpoint of SageMaker doesn't scale to zero (`min: 0`): "
        fix = "take `min: 1`, or an `inference_component`"
        if row.given.partition == "aws-cn":
            fix = "take `min: 1`"
        yield row.fault("replicas", said=said + fix)


def _on_machines(row: Row) -> Iterator[Fault]:
    fleet, given = row.fleet, row.given
    assert fleet.runs is not None
    on = fleet.runs.on
    if fleet.kind != "openai_http":
        said = f"`on: {on}` goes with `kind: openai_http`, not with `{fleet.kind}`"
        yield row.fault("runs", "on", said=said)
        return
    if fleet.instance.startswith("ml."):
        bare = fleet.instance.removeprefix("ml.")
        yield row.fault(
            "instance", said=f"`{fleet.instance}` is SageMaker's: on {on} it is `{bare}`"
        )
    if fleet.api_key is not None:
        said = "an engine that the stage starts asks for no key: leave out `api_key`"
        yield row.fault("api_key", said=said)
    if on == "eks" and given.partition == "aws-cn":
        said = "`on: eks` is for the commercial regions: what Auto Mode has in China is not known "
        yield row.fault("runs", "on", said=said + "here (take `on: ecs`)")
    if not given.prod:
        said = f"`on: {on}` needs machines in a VPC: it goes with `size: prod`"
        yield row.fault("runs", "on", said=said)
    if "lanes" not in given.row:
        said = (
            f"`on: {on}` needs `lanes: {{domain, certificate}}` in the stage: what it is called by"
        )
        yield row.fault("runs", "on", said=said)
        return
    wanted = url(fleet, given.row["lanes"]["domain"])
    if tuple(each.rstrip("/") for each in fleet.urls) != (wanted,):
        key = "url" if "url" in _given(row) else "urls"
        yield row.fault(key, said=f"the stage makes it at `{wanted}`: write `url: {wanted}`")


def url(fleet: Fleet, domain: str) -> str:
    """Return where a fleet on ECS or EKS is called."""
    return f"https://{lane_names.slug(fleet.id)}.{domain}/v1"


def _chip(row: Row, machines: Instances) -> Iterator[Fault]:
    name = row.fleet.instance.removeprefix("ml.")
    machine = machines.instances.get(name)
    if machine is None:
        return  # told by router.deploy.lane
    if "." not in name:
        yield row.fault("instance", said=f"`{name}` is no instance type of EC2 ({machine.chip})")
    elif machine.accelerators is None and not machine.chip.startswith("Graviton"):
        known = (
            each.id.partition(".")[0]
            for each in machines.instances.values()
            if each.chip.startswith("Graviton")
        )
        said = f"the container of llama.cpp is built for Arm, and `{name}` is {machine.chip}: take "
        yield row.fault("instance", said=f"{said}Graviton ({', '.join(dict.fromkeys(known))})")


# ---- what it is bought by, and what it serves ----------------------------------------------------


def _purchase(row: Row) -> Iterator[Fault]:
    fleet, in_tranches = row.fleet, isinstance(_given(row).get("purchase"), list)
    assert fleet.runs is not None
    for i, tranche in enumerate(fleet.tariff.tranches):
        at = ("purchase", i, "option") if in_tranches else ("purchase",)
        if fleet.runs.on == "sagemaker" and tranche.option not in SOLD_AT_SAGEMAKER:
            known = " and ".join(f"`{each}`" for each in SOLD_AT_SAGEMAKER)
            said = f"endpoints of SageMaker are not sold as `{tranche.option}` (known: {known})"
            yield row.fault(*at, said=said)
    if fleet.runs.on == "ecs":
        try:
            purchase.bought([fleet])
        except Unmade as exc:
            yield row.fault(*exc.key, said=str(exc))


def ended(row: Row, now: datetime) -> Iterator[Fault]:
    """Yield which Capacity Blocks have no machine any more."""
    for i, tranche in enumerate(row.fleet.tranches):
        if tranche.until is not None and purchase.moment(tranche.until) <= now:
            said = f"the Capacity Block ended on {tranche.until}: take this tranche out, or write "
            yield row.fault("purchase", i, "until", said=f"{said}the next block's in its place")


def begun(row: Row, now: datetime) -> Iterator[Fault]:
    """Yield which Capacity Blocks run already: a warning, for that is right of a stage that was
    deployed before.
    """
    for i, tranche in enumerate(row.fleet.tranches):
        if tranche.from_ is None or purchase.moment(tranche.from_) > now:
            continue
        if tranche.until is None or purchase.moment(tranche.until) > now:
            said = f"the Capacity Block began on {tranche.from_}: where it was not deployed before "
            fix = "that, no replica comes into it by itself (write a `from` that is still to come)"
            yield row.fault("purchase", i, "from", said=said + fix)


def _weights(row: Row) -> Iterator[Fault]:
    fleet = row.fleet
    assert fleet.runs is not None
    key = fleet.runs.weights
    if fleet.engine == "llama.cpp":
        if key.lower().endswith(FILES):
            said = f"`{key}` is no .gguf: llama.cpp takes one .gguf, or a folder that has it"
            yield row.fault("runs", "weights", said=said)
    elif key.lower().endswith((".gguf", *FILES)):
        said = f"`{key}` is a file: {fleet.engine} takes a folder as Hugging Face has it "
        fix = "(config.json, tokenizer, *.safetensors), as `s3://bucket/models/name/`"
        yield row.fault("runs", "weights", said=said + fix)


def _given(row: Row) -> dict[str, Any]:
    found: dict[str, Any] = row.document.value["fleets"][row.index]
    return found


# ---- fleets beside one another -------------------------------------------------------------------


def between(rows: Sequence[Row]) -> Iterator[Fault]:
    """Yield what is wrong between the fleets of a stage, of which it makes some."""
    made = [row for row in rows if row.fleet.runs is not None]
    yield from _names(made)
    yield from _hosts(rows)
    yield from _clusters(made)


def _clusters(made: Sequence[Row]) -> Iterator[Fault]:
    """One kind of cluster a stage: the balancer and the private zone of its domain are one."""
    kinds = [row for row in made if row.fleet.runs and row.fleet.runs.on in ("ecs", "eks")]
    for row in kinds:
        runs, first = row.fleet.runs, kinds[0].fleet.runs
        assert runs is not None
        assert first is not None
        if runs.on != first.on:
            said = f"a stage has one kind of cluster, and fleet {kinds[0].fleet.id} is on "
            fix = f"{first.on}: take `on: {first.on}`, or a stage of its own"
            yield row.fault("runs", "on", said=said + fix)


def _names(made: Sequence[Row]) -> Iterator[Fault]:
    fleets, machines, endpoints = dict[str, str](), dict[str, str](), dict[str, str]()
    for row in made:
        fleet = row.fleet
        name, host = lane_names.slug(fleet.id), fleet.host or fleet.id
        other = fleets.setdefault(name, fleet.id)
        if other != fleet.id:
            said = f"on AWS `{fleet.id}` and `{other}` would both be called `{name}`: rename one"
            yield row.fault("id", said=said)
        elif (other := machines.setdefault(lane_names.slug(host), host)) != host:
            said = f"the machines of `{host}` and of `{other}` would both be called "
            key = "id" if fleet.host is None else "host"
            yield row.fault(key, said=f"{said}`{lane_names.slug(host)}`: rename one")
        if fleet.sagemaker is not None and fleet.runs is not None:
            endpoint = fleet.sagemaker.endpoint
            other = endpoints.setdefault(endpoint, fleet.id)
            if other != fleet.id:
                said = f"endpoint `{endpoint}` is made for fleet {other} already: name another"
                yield row.fault("endpoint", said=said)


def _hosts(rows: Sequence[Row]) -> Iterator[Fault]:
    by_host: dict[str, list[Row]] = {}
    for row in rows:
        if row.fleet.host is not None:
            by_host.setdefault(row.fleet.host, []).append(row)
    for host, sharing in by_host.items():
        if any(row.fleet.runs is not None for row in sharing):
            yield from _sharing(host, sharing)


def _sharing(host: str, sharing: Sequence[Row]) -> Iterator[Fault]:
    first = sharing[0]
    for row in sharing:
        if (row.fleet.runs is None) != (first.fleet.runs is None):
            said = (
                f"on host `{host}` the stage makes fleet {_made(sharing)} and not this one: give "
            )
            yield row.fault("host", said=f"{said}both `runs`, or another host")
            return
        for key in SHARED:
            its, firsts = _value(row.fleet, key), _value(first.fleet, key)
            if its != firsts:
                said = f"fleets of one host share its machines: `{key}` must be {first.fleet.id}'s"
                yield row.fault(*key.split("."), said=said)


def _made(sharing: Sequence[Row]) -> str:
    return next(row.fleet.id for row in sharing if row.fleet.runs is not None)


def _value(fleet: Fleet, key: str) -> object:
    if key == "purchase":
        has = fleet.tariff.tranches
        return [
            (each.option, each.replicas, each.reservation, each.from_, each.until) for each in has
        ]
    value: object = fleet
    for step in key.split("."):
        value = getattr(value, step)
    return value


def unused(rows: Sequence[Row], given: Given) -> Iterator[Fault]:
    """Yield what the stage says of fleets that it doesn't have: faults of deploy.yaml."""
    on = {row.fleet.runs.on for row in rows if row.fleet.runs is not None}
    if "lanes" in given.row and not on & {"ecs", "eks"}:
        said = (
            "lanes: no fleet of this stage has `runs: {on: ecs}` or `{on: eks}`: nothing would be "
        )
        yield given.fault("lanes", said=said + "at that domain (remove `lanes`)")


# ---- doubts --------------------------------------------------------------------------------------


def unpaid(rows: Sequence[Row]) -> Iterator[Fault]:
    """Yield where machines are made of which a part is in no fleet's cost."""
    shares: dict[str, float] = {}
    last: dict[str, Row] = {}
    for row in rows:
        if row.fleet.runs is not None and row.fleet.host is not None:
            shares[row.fleet.host] = shares.get(row.fleet.host, 0.0) + row.fleet.host_share
            last[row.fleet.host] = row
    for host, share in shares.items():
        if share < 1 - ROUNDED:
            said = f"the shares of host `{host}` add up to {share:g}: the rest of the machine is "
            yield last[host].fault("host", said=f"{said}paid for and in no fleet's cost")


def doubts(row: Row, made: Lane) -> Iterator[Fault]:
    """Yield what looks odd about a fleet that can be made."""
    fleet, fit = row.fleet, made.fit
    streams, fitting = fleet.replicas.concurrency_each, fit.most_concurrency
    if made.family in PAGED and streams > fitting:
        said = f"of {streams} streams {fitting:,} fit with {fleet.context_tokens:,} tokens each; "
        yield row.fault("replicas", said=said + "more that are long are preempted, and start anew")
    if made.family == "neuron":
        heads, size = fit.model.heads, fit.tensor_parallel
        if heads is not None and heads % size:
            said = f"{heads} attention heads over {size} devices are padded: try it before you buy"
            yield row.fault("instance", said=said)
        said = f"nobody has verified `{fleet.model.id}` on Neuron, as far as is known here: try it"
        yield row.fault("model", said=f"{said} before you buy")
        wake = fleet.wake_seconds
        if made.on != "sagemaker" and wake is not None and wake < COMPILING_S / 4:
            said = f"a new machine compiles, for up to {COMPILING_S} s, and `wake.seconds` says "
            fix = f"{wake:g}: say how long it takes"
            yield row.fault("wake", said=said + fix)
    if fleet.replicas.min == 0 and all(t.option == "spot" for t in fleet.tariff.tranches):
        said = "`min: 0` on Spot alone: when it is to wake there may be no machine; put a tranche "
        yield row.fault("purchase", said=said + "`on_demand` before it")
