"""Write backends/data/availability.yaml anew: which of our machines AWS offers in which region.

The lists are those that cfn-lint (in the lock) keeps, made from AWS's price lists. Run it after
cfn-lint or instances.yaml has changed: .venv/bin/python tools/availability.py
"""

import json
from collections import defaultdict
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import yaml

PLACE = Path("backends/data/availability.yaml")
HEAD = """\
# Which machines AWS offers where, by EC2 and by SageMaker endpoints. A machine that stands here is
# offered in the regions of its row and in no other; one that doesn't is unknown.
# Written by tools/availability.py.
"""


def offered(kind: str) -> dict[str, set[str]]:
    """Return region -> instance types, as cfn-lint has them."""
    schemas = resources.files("cfnlint").joinpath("data", "schemas")
    text = schemas.joinpath("extensions", kind, "instancetype_enum.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return {
        region: set(rule["enum"])
        for region, rule in found.items()
        if region not in ("all", "description")
    }


def rows(lists: dict[str, set[str]], prefix: str, instances: list[str]) -> list[dict[str, Any]]:
    """Return the machines that are offered in the same regions together."""
    together: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for instance in instances:
        where = tuple(sorted(r for r, types in lists.items() if prefix + instance in types))
        if where:
            together[where].append(instance)
    return [{"instances": names, "regions": list(where)} for where, names in together.items()]


def main() -> None:
    schemas = resources.files("cfnlint").joinpath("data", "schemas")
    day = json.loads(schemas.joinpath("version.json").read_text("utf-8"))["schema_date"][:10]
    machines = yaml.safe_load(Path("backends/data/instances.yaml").read_text("utf-8"))["instances"]
    instances = [machine["id"] for machine in machines]
    ec2 = offered("aws_ec2_instance")
    value = {
        "version": 1,
        "as_of": day,
        "source": f"cfn-lint {metadata.version('cfn-lint')}, from AWS's price lists",
        "regions": sorted(ec2),
        "ec2": rows(ec2, "", instances),
        "sagemaker": rows(offered("aws_sagemaker_hosting"), "ml.", instances),
    }
    text = yaml.safe_dump(value, sort_keys=False, default_flow_style=None, width=110)
    PLACE.write_text(HEAD + text, "utf-8")


if __name__ == "__main__":
    main()
