"""What makes CloudFormation wait for an image: every way that a build can go."""

import json

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from infra.lanes.building import handlers
from infra.lanes.building.handlers import NotBuilt, begun, done

PROJECT, REPOSITORY, TAG = "Project-1", "sluice-dev-sagemaker/llama-cpp", "5e838d8834ffed6a"
BUILD = "Project-1:0a1b2c3d"
LOG = "https://console.aws.amazon.com/cloudwatch/home?region=us-east-2#logEvent:group=Log"
IMAGE = {"repositoryName": REPOSITORY, "imageIds": [{"imageTag": TAG}]}
ANSWER_TO = "https://cloudformation.example.com/?X-Amz-Signature=abc"
DOCKER_V2 = "application/vnd.docker.distribution.manifest.v2+json"  # as SageMaker takes it


def event(kind="Create", **more):
    properties = {"Project": PROJECT, "Repository": REPOSITORY, "Tag": TAG}
    told = {"RequestType": kind, "RequestId": "request-1", "ResponseURL": ANSWER_TO}
    return {**told, "ResourceProperties": properties, **more}


class Aws:
    """ECR and CodeBuild that answer what a test says, in order, and nothing else."""

    def __init__(self):
        options = {"region_name": "us-east-2", "aws_access_key_id": "x"}
        options["aws_secret_access_key"] = "x"
        self.ecr = boto3.client("ecr", **options)
        self.codebuild = boto3.client("codebuild", **options)
        self.of_ecr, self.of_codebuild = Stubber(self.ecr), Stubber(self.codebuild)

    def image(self, *, there):
        if there:
            self.of_ecr.add_response("describe_images", {"imageDetails": [{}]}, IMAGE)
        else:
            self.of_ecr.add_client_error("describe_images", "ImageNotFoundException", "", 400)

    def starts(self):
        asked = {"projectName": PROJECT, "idempotencyToken": "request-1"}
        self.of_codebuild.add_response("start_build", {"build": {"id": BUILD}}, asked)

    def build(self, status, **more):
        found = [] if status is None else [{"id": BUILD, "buildStatus": status, **more}]
        self.of_codebuild.add_response("batch_get_builds", {"builds": found}, {"ids": [BUILD]})


@pytest.fixture
def aws():
    made = Aws()
    with made.of_ecr, made.of_codebuild:
        yield made
        made.of_ecr.assert_no_pending_responses()
        made.of_codebuild.assert_no_pending_responses()


# -- what begins -----------------------------------------------------------------------------------


def test_a_new_tag_starts_a_build_once_for_each_request(aws):
    aws.image(there=False)
    aws.starts()
    began = begun(event(), aws.ecr, aws.codebuild)
    assert began == {"PhysicalResourceId": PROJECT, "Build": BUILD}


def test_an_image_that_is_there_already_is_not_built_again(aws):
    aws.image(there=True)
    assert begun(event(), aws.ecr, aws.codebuild) == {"PhysicalResourceId": PROJECT}


def test_an_update_with_the_same_tag_builds_nothing_and_stays_the_same_resource(aws):
    aws.image(there=True)
    same = event("Update", PhysicalResourceId="as-it-was")
    assert begun(same, aws.ecr, aws.codebuild) == {"PhysicalResourceId": "as-it-was"}


def test_an_update_with_another_tag_builds(aws):
    aws.image(there=False)
    aws.starts()
    began = begun(event("Update", PhysicalResourceId="as-it-was"), aws.ecr, aws.codebuild)
    assert began == {"PhysicalResourceId": "as-it-was", "Build": BUILD}


def test_a_deletion_asks_nothing_of_anybody(aws):
    gone = event("Delete", PhysicalResourceId="as-it-was")
    assert begun(gone, aws.ecr, aws.codebuild) == {"PhysicalResourceId": "as-it-was"}
    assert done(gone, aws.ecr, aws.codebuild)


def test_what_ecr_refuses_otherwise_is_no_missing_image(aws):
    aws.of_ecr.add_client_error("describe_images", "RepositoryNotFoundException", "", 400)
    with pytest.raises(aws.ecr.exceptions.RepositoryNotFoundException):
        begun(event(), aws.ecr, aws.codebuild)


# -- what is waited for ----------------------------------------------------------------------------


def test_nothing_is_waited_for_where_no_build_was_started(aws):
    assert done(event(), aws.ecr, aws.codebuild)


def test_a_running_build_is_waited_for(aws):
    aws.image(there=False)
    aws.build("IN_PROGRESS")
    assert not done(event(Build=BUILD), aws.ecr, aws.codebuild)


def test_the_image_ends_the_wait_whatever_became_of_the_build(aws):
    aws.image(there=True)
    assert done(event(Build=BUILD), aws.ecr, aws.codebuild)


@pytest.mark.parametrize("status", ["FAILED", "FAULT", "TIMED_OUT", "STOPPED"])
def test_a_build_that_ends_otherwise_fails_the_deployment_and_links_its_log(aws, status):
    aws.image(there=False)
    secret = {"environment": {"type": "ARM_CONTAINER", "image": "i", "computeType": "c"}}
    logs = {"logs": {"deepLink": LOG}}
    aws.build(status, currentPhase="BUILD", **logs, **secret)
    with pytest.raises(NotBuilt) as failed:
        done(event(Build=BUILD), aws.ecr, aws.codebuild)
    said = f"it ended as {status} in the phase BUILD; its log: {LOG}"
    assert str(failed.value) == f"build {BUILD} of {REPOSITORY}:{TAG}: {said}"


def test_a_build_that_succeeds_without_an_image_fails_the_deployment(aws):
    aws.image(there=False)
    aws.build("SUCCEEDED", logs={"deepLink": LOG})
    with pytest.raises(NotBuilt, match="the image is not in its repository; its log: https"):
        done(event(Build=BUILD), aws.ecr, aws.codebuild)


def test_a_build_without_a_log_says_so(aws):
    aws.image(there=False)
    aws.build("FAULT")
    with pytest.raises(NotBuilt, match="phase unknown; its log: none was written"):
        done(event(Build=BUILD), aws.ecr, aws.codebuild)


def test_a_build_that_codebuild_has_forgotten_fails_the_deployment(aws):
    aws.image(there=False)
    aws.build(None)
    with pytest.raises(NotBuilt, match=f"knows no build {BUILD}: deploy again"):
        done(event(Build=BUILD), aws.ecr, aws.codebuild)


# -- as Lambda calls it ----------------------------------------------------------------------------


@pytest.fixture
def account(monkeypatch):
    for name, value in {"AWS_DEFAULT_REGION": "us-east-2", "AWS_ACCESS_KEY_ID": "x"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with mock_aws():
        boto3.client("ecr").create_repository(repositoryName=REPOSITORY)
        boto3.client("codebuild").create_project(
            name=PROJECT,
            source={"type": "S3", "location": "bucket/source.zip"},
            artifacts={"type": "NO_ARTIFACTS"},
            environment={
                "type": "ARM_CONTAINER",
                "image": "aws/codebuild/amazonlinux-aarch64-standard:3.0",
                "computeType": "BUILD_GENERAL1_LARGE",
            },
            serviceRole="arn:aws:iam::123456789012:role/service-role/build",
        )
        yield


def test_the_handlers_build_wait_and_end(account):
    began = handlers.on_event(event(), None)
    assert began["Build"].startswith(f"{PROJECT}:")
    with pytest.raises(NotBuilt, match="the image is not in its repository"):  # moto builds nothing
        handlers.is_complete(event(**began), None)
    manifest = {
        "schemaVersion": 2,
        "mediaType": DOCKER_V2,
        "config": {"digest": "sha256:0"},
        "layers": [],
    }
    boto3.client("ecr").put_image(
        repositoryName=REPOSITORY, imageManifest=json.dumps(manifest), imageTag=TAG
    )
    assert handlers.is_complete(event(**began), None) == {"IsComplete": True}
    assert handlers.on_event(event("Update", PhysicalResourceId=PROJECT), None) == {
        "PhysicalResourceId": PROJECT
    }


def test_the_handlers_print_nothing(account, capfd):
    began = handlers.on_event(event(), None)
    with pytest.raises(NotBuilt) as failed:
        handlers.is_complete(event(**began), None)
    out, err = capfd.readouterr()
    assert ANSWER_TO not in out + err + str(failed.value)
