"""What SageMaker's descriptions of endpoints are read as, in botocore's own shapes."""

import boto3
import pytest
from botocore.exceptions import ReadTimeoutError
from botocore.stub import Stubber
from ledger_support import dynamo_server
from worker_support import FLEETS

from backends import files
from backends.base import SageMakerTarget, Seen
from router.workers.aws_errors import code_of
from router.workers.endpoints import Described, described, describing
from router.world import fleet_models


@pytest.fixture(scope="module")
def address():
    with dynamo_server() as served:
        yield served


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


def told_of(place, monkeypatch, tmp_path):
    """Return what SageMaker at that address tells of a fleet that can be asked, and of its own."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", place)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    path = tmp_path / "fleets.yaml"
    path.write_text(FLEETS.format(url="http://127.0.0.1:9/v1"))
    return [describing()(model) for model in fleet_models(files.catalogue(path))]


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
