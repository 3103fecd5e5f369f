"""Which machines AWS offers in which region, as ``data/availability.yaml`` says. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import yamlfile

Service = Literal["ec2", "sagemaker"]

PARTITIONS: Mapping[str, re.Pattern[str]] = {  # botocore, data/partitions.json
    "aws": re.compile(r"(us|eu|ap|sa|ca|me|af|il|mx)-\w+-\d+"),
    "aws-cn": re.compile(r"cn-\w+-\d+"),
    "aws-us-gov": re.compile(r"us-gov-\w+-\d+"),
}

_NAME = {"type": "string", "minLength": 1}
_NAMES = {"type": "array", "items": _NAME, "minItems": 1, "uniqueItems": True}
_ROWS = {
    "type": "array",
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": ["instances", "regions"],
        "properties": {"instances": _NAMES, "regions": _NAMES},
    },
}
_FORM: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["version", "as_of", "source", "regions", "ec2", "sagemaker"],
    "properties": {
        "version": {"const": 1, "description": "1, the only version of this form"},
        "as_of": {"type": "string", "format": "date", "description": "a date (YYYY-MM-DD)"},
        "source": _NAME,
        "regions": _NAMES,
        "ec2": _ROWS,
        "sagemaker": _ROWS,
    },
}


@dataclass(frozen=True, slots=True)
class Offers:
    """`where`: (service, instance type without ``ml.``) -> the regions that offer it, sorted."""

    as_of: str
    source: str
    regions: tuple[str, ...]
    where: Mapping[tuple[Service, str], tuple[str, ...]]

    def regions_of(self, service: Service, instance: str) -> tuple[str, ...] | None:
        """Return the regions that offer it; None: not known."""
        return self.where.get((service, instance.removeprefix("ml.")))

    def instances_in(self, service: Service, region: str) -> tuple[str, ...]:
        """Return which of the known machines a region offers."""
        rows = self.where.items()
        return tuple(name for (of, name), found in rows if of == service and region in found)


def read(text: str, name: str) -> Offers:
    """Return what the file says; raise yamlfile.Invalid."""
    value = yamlfile.read(text, name, _FORM).value
    services: tuple[Service, ...] = ("ec2", "sagemaker")
    return Offers(
        value["as_of"],
        value["source"],
        tuple(value["regions"]),
        {
            (service, instance): tuple(row["regions"])
            for service in services
            for row in value[service]
            for instance in row["instances"]
        },
    )


def partition_of(region: str) -> str | None:
    """Return the partition whose regions are named so; None: it is no name of a region."""
    return next((name for name, form in PARTITIONS.items() if form.fullmatch(region)), None)
