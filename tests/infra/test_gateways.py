"""Who gets through the gateways of S3 and DynamoDB, and to which files of others."""

from pathlib import Path

import aws_cdk as cdk
import pytest
from aws_cdk import assertions
from stages import china, examples

from infra.network import Network
from infra.paths import CONFIG
from router.deploy import read


@pytest.fixture(scope="module")
def stages():
    lanes = read.stages(Path(CONFIG).parent / "lanes" / "deploy.yaml")
    return {**examples(), **lanes, **china()}


@pytest.fixture(scope="module")
def policies(stages):
    """By stage and gateway."""
    made = {name: _policies(stages[name]) for name in ("prod", "steady", "lanes", "steppe")}
    return lambda name, service: made[name][service]


def _policies(stage):
    app = cdk.App()
    stack = cdk.Stack(app, "Alone", env=cdk.Environment(account=stage.account, region=stage.region))
    Network(stack, "Network", stage=stage)
    found = assertions.Template.from_stack(stack).find_resources("AWS::EC2::VPCEndpoint")
    return {
        str(one["Properties"]["ServiceName"]).rstrip("']}").rpartition(".")[2]: one["Properties"][
            "PolicyDocument"
        ]["Statement"]
        for one in found.values()
        if one["Properties"]["VpcEndpointType"] == "Gateway"
    }


def resources(statement):
    found = statement["Resource"]
    return [
        "".join(part if isinstance(part, str) else "PARTITION" for part in one["Fn::Join"][1])
        for one in (found if isinstance(found, list) else [found])
    ]


@pytest.mark.parametrize("name", ["prod", "steady", "lanes", "steppe"])
@pytest.mark.parametrize("service", ["s3", "dynamodb"])
def test_only_this_accounts_principals_may_do_anything(policies, name, service):
    """What is inside can't be sent away with somebody else's credentials."""
    own, *others = policies(name, service)
    assert own["Condition"] == {"StringEquals": {"aws:PrincipalAccount": {"Ref": "AWS::AccountId"}}}
    assert all(one["Action"] == "s3:GetObject" for one in others)


def test_machines_read_their_packages_and_layers_of_images_and_nothing_else(policies):
    _, files = policies("lanes", "s3")
    assert resources(files) == [
        "arn:PARTITION:s3:::prod-us-east-2-starport-layer-bucket/*",
        "arn:PARTITION:s3:::al2023-repos-us-east-2-de612dc2/*",
    ]


@pytest.mark.parametrize(("name", "region"), [("steady", "us-east-1"), ("steppe", "cn-north-1")])
def test_a_router_in_a_container_reads_layers_alone(policies, name, region):
    _, files = policies(name, "s3")
    assert resources(files) == [f"arn:PARTITION:s3:::prod-{region}-starport-layer-bucket/*"]


def test_where_no_container_is_pulled_no_file_of_others_is_read(policies):
    assert len(policies("prod", "s3")) == 1
