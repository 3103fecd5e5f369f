"""What SageMaker's descriptions of endpoints are read as, in botocore's own shapes."""

import boto3
import pytest
from botocore.exceptions import ReadTimeoutError
from botocore.stub import Stubber
from worker_support import FLEETS

from backends import files
from backends.base import SageMakerTarget, Seen
from router.workers.aws_errors import code_of
from router.workers.endpoints import (
    Described,
    NoSuchService,
    described,
    described_service,
    describing,
    together,
)
from router.world import fleet_models


def variants(*counts):
    return [
        {"VariantName": f"v{n}", "CurrentInstanceCount": now, "DesiredInstanceCount": wanted}
        for n, (now, wanted) in enumerate(counts)
    ]


@pytest.fixture
def sagemaker_of():
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
    return lambda address=None: boto3.client("sagemaker", endpoint_url=address, **keys)


@pytest.fixture
def sagemaker(sagemaker_of):
    return sagemaker_of()


@pytest.mark.parametrize(
    ("status", "variants", "expected"),
    [
        ("InService", variants((2, 2)), Described(Seen("up"), 2)),
        ("InService", variants((2, 2), (1, 3)), Described(Seen("up"), 3)),
        ("Updating", variants((2, 4)), Described(Seen("up"), 2)),
        ("InService", variants((0, 0)), Described(Seen("down"), 0)),
        ("Updating", variants((0, 1)), Described(Seen("loading"), 0)),
        ("Creating", [], Described(Seen("loading"), 0)),
        ("Failed", [], Described(Seen("down"), 0)),
        ("InService", [{"VariantName": "serverless"}], Described(Seen("up"), None)),
    ],
)
def test_an_endpoint_is_what_its_status_and_its_instances_say(
    sagemaker, status, variants, expected
):
    answer = {"EndpointName": "ours", "EndpointArn": "arn:aws:sagemaker:us-east-1:1:endpoint/ours",
              "CreationTime": 0, "LastModifiedTime": 0,
              "EndpointStatus": status}  # fmt: skip
    if variants:
        answer["ProductionVariants"] = variants
    with Stubber(sagemaker) as stub:
        stub.add_response("describe_endpoint", answer, {"EndpointName": "ours"})
        assert described(sagemaker, SageMakerTarget("ours", "us-east-1")) == expected


def test_one_variant_of_an_endpoint_counts_alone(sagemaker):
    class Client:
        def describe_endpoint(self, **_):
            both = variants((2, 2), (5, 5))
            return {"EndpointStatus": "InService", "ProductionVariants": both}

    target = SageMakerTarget("ours", "us-east-1", variant="v1")
    assert described(Client(), target).replicas == 5


def test_an_inference_component_has_copies(sagemaker):
    answer = {"InferenceComponentName": "c", "InferenceComponentStatus": "InService",
              "InferenceComponentArn": "arn:aws:sagemaker:us-east-1:1:inference-component/ccccc",
              "EndpointName": "ours", "EndpointArn": "arn:aws:sagemaker:us-east-1:1:endpoint/ours",
              "CreationTime": 0, "LastModifiedTime": 0,
              "RuntimeConfig": {"CurrentCopyCount": 0, "DesiredCopyCount": 1}}  # fmt: skip
    target = SageMakerTarget("ours", "us-east-1", inference_component="c")
    with Stubber(sagemaker) as stub:
        stub.add_response("describe_inference_component", answer)
        assert described(sagemaker, target) == Described(Seen("loading"), 0)


@pytest.fixture
def ecs(address):
    """ECS as moto plays it, with the cluster of a stage and a service that nothing runs of."""
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
    client = boto3.client("ecs", endpoint_url=address, **keys)
    client.create_cluster(clusterName="sluice-test")
    container = {"name": "engine", "image": "i", "memory": 512}
    client.register_task_definition(family="lane", containerDefinitions=[container])
    client.create_service(
        cluster="sluice-test", serviceName="sluice-test-lane", taskDefinition="lane", desiredCount=0
    )
    yield client
    client.delete_service(cluster="sluice-test", service="sluice-test-lane", force=True)
    client.delete_cluster(cluster="sluice-test")


def test_a_service_that_none_is_wanted_of_sleeps_and_one_that_runs_is_up(ecs):
    service = "sluice-test", "sluice-test-lane"
    assert described_service(ecs, *service) == Described(Seen("down"), 0)
    ecs.update_service(cluster=service[0], service=service[1], desiredCount=1)
    assert described_service(ecs, *service) == Described(Seen("up"), 1)  # moto's start at once
    with pytest.raises(NoSuchService):
        described_service(ecs, "sluice-test", "sluice-test-other")


@pytest.mark.parametrize(
    ("wanted", "running", "expected"),
    [
        (2, 1, Described(Seen("up"), 1)),
        (1, 0, Described(Seen("loading"), 0)),
        (0, 2, Described(Seen("down"), 2)),
    ],
)
def test_tasks_that_run_are_its_replicas_and_are_paid_for_while_they_end(wanted, running, expected):
    class Client:
        def describe_services(self, **_):
            counts = {"desiredCount": wanted, "runningCount": running}
            return {"services": [{"status": "ACTIVE", **counts}]}

    assert described_service(Client(), "c", "s") == expected


def test_tasks_on_a_capacity_block_count_with_those_beside_it():
    counts = {"lane": {"desiredCount": 0, "runningCount": 0}}
    counts["lane-block"] = {"desiredCount": 2, "runningCount": 2}

    class Client:
        def describe_services(self, cluster, services):
            return {"services": [{"status": "ACTIVE", **counts[name]} for name in services]}

    assert described_service(Client(), "c", "lane") == Described(Seen("down"), 0)
    assert described_service(Client(), "c", "lane", "lane-block") == Described(Seen("up"), 2)


def test_a_service_that_is_being_deleted_is_none():
    class Client:
        def describe_services(self, **_):
            return {"services": [{"status": "DRAINING", "desiredCount": 1, "runningCount": 1}]}

    with pytest.raises(NoSuchService):
        described_service(Client(), "c", "s")


UP, RUNS = Seen("up", 3, 1, 4), Described(Seen("up"), 1)


@pytest.mark.parametrize(
    ("told", "seen", "expected"),
    [
        (RUNS, (UP,), (UP,)),
        (RUNS, (Seen("down"),), (Seen("loading"),)),  # its model isn't loaded yet
        (RUNS, (Seen("loading"),), (Seen("loading"),)),
        (RUNS, (Seen("unknown"),), (Seen("unknown"),)),
        (RUNS, (), (Seen("up"), Seen("up"))),  # SageMaker's, which can't be asked
        (Described(Seen("down"), 0), (Seen("loading"),), (Seen("down"), Seen("down"))),
        (Described(Seen("loading"), 0), (Seen("down"),), (Seen("loading"), Seen("loading"))),
    ],
)
def test_what_aws_and_the_engine_say_is_put_together(told, seen, expected):
    assert together(told, seen, 2) == expected


def told_of(place, monkeypatch, tmp_path):
    """Return what SageMaker at that address tells of a fleet that can be asked, and of its own."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", place)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    path = tmp_path / "fleets.yaml"
    path.write_text(FLEETS.format(url="http://127.0.0.1:9/v1"))
    return [describing("test")(model) for model in fleet_models(files.catalogue(path))]


def test_an_endpoint_that_there_is_not_is_unknown(
    address, sagemaker_of, monkeypatch, caplog, tmp_path
):
    sagemaker_of(address).list_endpoints()  # moto imports it at the first call, slowly
    assert told_of(address, monkeypatch, tmp_path) == [None, None]
    assert "fleet c8g-qwen3: SageMaker does not tell: ValidationException" in caplog.text


def test_where_sagemaker_cannot_be_reached_its_endpoints_are_unknown(
    closed_port, monkeypatch, caplog, tmp_path
):
    assert told_of(f"http://127.0.0.1:{closed_port}", monkeypatch, tmp_path) == [None, None]
    assert "SageMaker does not tell: EndpointConnectionError" in caplog.text


def test_a_service_that_answers_nothing_is_named_by_its_error():
    assert code_of(ReadTimeoutError(endpoint_url="http://x")) == "ReadTimeoutError"
