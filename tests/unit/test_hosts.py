"""Every host of AWS is built from its region: from China nothing reaches the commercial one."""

import re
from pathlib import Path

import pytest

from backends import parse_sagemaker
from router.aws_api import PROTOCOLS, Api

HOST = re.compile(r"amazonaws\.com|api\.aws\b|aws\.amazon\.com/")
ALLOWED = {
    # The domains of the partitions, by their regions.
    "backends/regions.py",
    # The OpenAI path's token, which is refused in China (backends/parse_sagemaker.py).
    "backends/sagemaker_identity.py",
    # A namespace of XML, and a group of Kubernetes' APIs: no hosts.
    "router/deploy/kubernetes/fetch.py",
    "router/deploy/kubernetes/nodes.py",
}
DATA = "backends/data"  # prices, with the pages that say them


def code(line):
    """Return the line without its comment and without what documentation links to."""
    return line.partition("#")[0].replace("https://aws.amazon.com/", "")


def test_no_source_spells_a_host_of_one_partition():
    found = set()
    for folder in ("backends", "policies", "router"):
        for path in Path(folder).rglob("*.py"):
            text = re.sub(r'""".*?"""', "", path.read_text("utf-8"), flags=re.DOTALL)
            if any(HOST.search(code(line)) for line in text.splitlines()):
                found.add(path.as_posix())
    assert found == ALLOWED


@pytest.mark.parametrize("region", ["cn-north-1", "cn-northwest-1"])
def test_every_service_is_called_in_china(region):
    environment = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    hosts = [Api(service, region, environment).endpoint for service in PROTOCOLS]
    hosts.append(parse_sagemaker.url(region))
    assert len(hosts) > 2
    for host in hosts:
        assert host.endswith(f".{region}.amazonaws.com.cn"), host
