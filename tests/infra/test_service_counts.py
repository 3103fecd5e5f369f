"""How many tasks a service has while CloudFormation changes it: ECS is moto's."""

import boto3
import pytest
from moto import mock_aws

from infra.lanes.building.counts import counted

CLUSTER, SERVICE = "sluice-test", "sluice-test-lane"
KEYS = {"region_name": "us-east-1", "aws_access_key_id": "x", "aws_secret_access_key": "x"}


def event(kind, **more):
    properties = {"Cluster": CLUSTER, "Service": SERVICE}
    return {"RequestType": kind, "ResourceProperties": properties, **more}


@pytest.fixture
def ecs():
    with mock_aws():
        made = boto3.client("ecs", **KEYS)
        made.create_cluster(clusterName=CLUSTER)
        yield made


def make(ecs, count):
    container = {"name": "engine", "image": "i", "memory": 512}
    ecs.register_task_definition(family="lane", containerDefinitions=[container])
    ecs.create_service(
        cluster=CLUSTER, serviceName=SERVICE, taskDefinition="lane", desiredCount=count
    )


def test_a_service_that_is_not_there_yet_begins_at_none(ecs):
    assert counted(event("Create"), ecs) == {"PhysicalResourceId": SERVICE, "Data": {"Count": 0}}


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_a_service_that_serves_keeps_its_tasks(ecs, kind):
    make(ecs, 3)
    assert counted(event(kind), ecs)["Data"] == {"Count": 3}


def test_a_service_of_that_name_that_was_deleted_counts_no_more(ecs):
    make(ecs, 3)
    ecs.delete_service(cluster=CLUSTER, service=SERVICE, force=True)
    assert counted(event("Update"), ecs)["Data"] == {"Count": 0}


def test_when_it_is_deleted_nobody_is_asked():
    known = event("Delete", PhysicalResourceId="as-it-was")
    assert counted(known, None) == {"PhysicalResourceId": "as-it-was"}
