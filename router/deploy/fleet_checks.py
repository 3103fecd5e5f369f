"""Whether the fleets of a stage can be where they are said to be, and be called from it. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from backends import launch_table, memory
from backends.availability import Offers, Service, partition_of
from backends.catalogue import Fleet
from backends.hardware import Instances, Models
from router.deploy import reach
from router.deploy.given import Given
from yamlfile import Document, Fault

_SECRET = re.compile(r"arn:([a-z-]+):secretsmanager:([a-z0-9-]+):(\d+):secret:.+")


@dataclass(frozen=True, slots=True)
class Known:
    """What ships about machines, models and regions; `now`: None, no date is held against it."""

    offers: Offers
    models: Models
    machines: Instances
    launches: Sequence[launch_table.Row]
    now: datetime | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A fleet of fleets.yaml that the stage uses; `index` is its place in the file."""

    document: Document
    index: int
    fleet: Fleet
    given: Given

    def fault(self, *path: str | int, said: str) -> Fault:
        return ("fleets", self.index, *path), f"fleet {self.fleet.id}: {said}{self._whose}"

    @property
    def _whose(self) -> str:
        return f" (stage {self.given.name}, {self.given.document.name})"


def rows(document: Document, fleets: Mapping[str, Fleet], given: Given) -> Iterator[Row]:
    """Yield the fleets that the stage uses, in the order of their file."""
    used = given.row["fleets"]["use"]
    for i, row in enumerate(document.value["fleets"]):
        if row["id"] in used:
            yield Row(document, i, fleets[row["id"]], given)


def faults(row: Row, known: Known) -> Iterator[Fault]:
    """Yield why this fleet can't be part of the stage."""
    if row.fleet.emulated:
        said = "an emulated fleet answers nothing of a model's: it doesn't go to AWS"
        yield row.fault("kind", said=said)
        return
    yield from _offered(row, known.offers)
    if is_made(row):  # for the rest: router.deploy.lane_checks
        if row.fleet.sagemaker is not None:
            yield from _called(row)
        return
    yield from _fits(row, known)
    yield from _reached(row)
    yield from _key(row)


def is_made(row: Row) -> bool:
    """Return whether the stage makes the fleet (router.deploy.lane); else it calls it."""
    return row.fleet.runs is not None


def doubts(row: Row, known: Known) -> Iterator[Fault]:
    """Yield what can't be checked of this fleet: warnings."""
    fleet, offers = row.fleet, known.offers
    if partition_of(fleet.region) is None or fleet.region not in offers.regions:
        said = (
            f"region `{fleet.region}` is not known: nothing is checked of `{fleet.instance}` there"
        )
        yield row.fault("region", said=said)
    elif offers.regions_of(_service(fleet), fleet.instance) is None:
        by = "SageMaker offers" if fleet.sagemaker else "EC2 offers"
        said = f"whether {by} `{fleet.instance}` in {fleet.region} is not known"
        yield row.fault("instance", said=f"{said} ({offers.source}, {offers.as_of})")
    if is_made(row):
        return
    if fleet.model.id not in known.models.models or _machine(fleet, known) is None:
        said = f"whether `{fleet.model.id}` fits `{fleet.instance}` is not known"
        yield row.fault("instance", said=f"{said}: see `sluice fleet fit`")
    for url in () if fleet.sagemaker else fleet.urls:
        for said in reach.doubts(url, prod=row.given.prod):
            yield row.fault("url", said=said)


def _service(fleet: Fleet) -> Service:
    return "sagemaker" if fleet.sagemaker else "ec2"


def _offered(row: Row, offers: Offers) -> Iterator[Fault]:
    fleet = row.fleet
    regions = offers.regions_of(_service(fleet), fleet.instance)
    if regions is None or fleet.region in regions or fleet.region not in offers.regions:
        return
    by = "SageMaker" if fleet.sagemaker else "EC2"
    here = [region for region in regions if partition_of(region) == row.given.partition]
    where = ", ".join(here) or "no region of this partition"
    said = f"{by} has no `{fleet.instance}` in {fleet.region} (it has in: {where}; there are: "
    there = offers.instances_in(_service(fleet), fleet.region)
    said += ", ".join(there) + ")" if there else "none of those that are known)"
    yield row.fault("region", said=f"{said}, by {offers.source}, {offers.as_of}")


def _machine(fleet: Fleet, known: Known) -> str | None:
    name = fleet.instance.removeprefix("ml.")
    return name if name in known.machines.instances else None


def _fits(row: Row, known: Known) -> Iterator[Fault]:
    machine = _machine(row.fleet, known)
    model = known.models.models.get(row.fleet.model.id)
    if machine is None or model is None:
        return
    if not memory.fits_somehow(model, known.machines.instances[machine], known.models):
        said = f"`{model.id}` doesn't fit `{row.fleet.instance}` in any quantisation"
        yield row.fault(
            "instance", said=f"{said}: `sluice fleet fit {model.id} {machine}` says why"
        )


def _reached(row: Row) -> Iterator[Fault]:
    fleet, given = row.fleet, row.given
    if fleet.sagemaker is not None:
        if partition_of(given.region) is None:
            return  # told of the stage
        if partition_of(fleet.region) != given.partition:
            said = f"region {fleet.region} is of another partition than {given.region}: its "
            yield row.fault("region", said=f"{said}credentials are not good there")
        elif given.prod and fleet.region != given.region:
            said = f"it is in {fleet.region}, and the VPC of `size: prod` has no way out (no NAT)"
            yield row.fault("region", said=f"{said}: its endpoint reaches {given.region} alone")
    yield from _called(row)


def _called(row: Row) -> Iterator[Fault]:
    """Yield why a url that the catalogue gives can't be called from the stage."""
    written = row.document.value["fleets"][row.index]
    key = "url" if "url" in written else "urls"
    for url in row.fleet.urls if key in written else ():
        objection = reach.objection(url, prod=row.given.prod)
        if objection is not None:
            yield row.fault(key, said=objection)


def _key(row: Row) -> Iterator[Fault]:
    ref, given = row.fleet.api_key, row.given
    if ref is None:
        return
    if ref.source == "env":
        said = "on AWS nobody sets the environment variable of its key: use `${secret:NAME}`"
        yield row.fault("api_key", said=said)
        return
    if not ref.name.startswith("arn:"):
        return  # a name is looked for in the stage's account and region
    found = _SECRET.fullmatch(ref.name)
    wanted = f"arn:{given.partition}:secretsmanager:{given.region}:{given.account}:secret:NAME"
    if found is None:
        yield row.fault("api_key", said=f"this is no ARN of a secret (as {wanted}, or its name)")
    elif found.groups() != (given.partition, given.region, given.account):
        there = ":".join(found.groups())
        said = f"the secret is in {there}, the stage is not: replicate it (as {wanted})"
        yield row.fault("api_key", said=said)
