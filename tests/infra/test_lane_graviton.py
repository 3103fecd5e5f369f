"""Fleets on SageMaker: what is in their templates, and in which order it comes to be."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from template import Template, listed, plain

from backends import aws_prices, files
from infra import app  # before the CDK: it chooses the Node
from infra.lanes import docker_project, image_build
from infra.lanes.image_build import ImageBuild, Unbuildable
from infra.lanes.making import Making
from router.deploy import parts, read
from router.deploy.covers import COVERS
from router.deploy.plan import plan

import aws_cdk as cdk  # isort: skip
from cdk_nag import AwsSolutionsChecks  # isort: skip

from infra.lanes import graviton  # isort: skip

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "infra" / "examples" / "lanes" / "deploy.yaml"
OWN = "111122223333.dkr.ecr.us-east-2.amazonaws.com/ours/llama:7"
IN_CHINA = "111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn/ours/llama:7"


def lane_of(stage):
    (found,) = (lane for lane in stage.lanes if lane.on == "sagemaker")
    return found


def changed(lane, fleet_id, endpoint, component=None, weights=None, image=None, **more):
    """Return another fleet like it."""
    fleet = lane.fleet
    at = replace(fleet.sagemaker, endpoint=endpoint, inference_component=component)
    runs = replace(fleet.runs, image=image, weights=weights or fleet.runs.weights)
    return replace(lane, fleet=replace(fleet, id=fleet_id, sagemaker=at, runs=runs, **more))


def lanes_of(stage):
    lane = lane_of(stage)
    bounds = lane.fleet.replicas
    woken = {"wake_seconds": 600, "min_run_seconds": 900}
    zero = replace(bounds, min=0)
    gguf = "s3://ours/deep/qwen3.gguf"
    return [
        lane,
        changed(lane, "asleep", "zero", "zero-1", replicas=zero, **woken),
        changed(lane, "own", "own", weights=gguf, image=OWN, replicas=replace(bounds, max=1)),
    ]


def synthesise(stage, lanes, folder, context=()):
    made = cdk.App(context={**app.context(), **dict(context)}, outdir=str(folder))
    cdk.Validations.of(made).add_plugins(AwsSolutionsChecks(made))
    place = cdk.Environment(account=stage.account, region=stage.region)

    def stack(name, said):
        return cdk.Stack(made, f"{stage.prefix}-{name}", description=said, env=place)

    graviton.make(Making(stack, stage, lanes, None, ROOT, None, None))
    made.synth()
    return folder


class Made:
    def __init__(self, folder):
        self.folder = folder
        self.manifest = json.loads((folder / "manifest.json").read_text("utf-8"))

    def stack(self, name):
        path = self.folder / f"sluice-lanes-{name}.template.json"
        return Template(json.loads(path.read_text("utf-8")))

    @property
    def whole(self):
        found = {}
        for path in self.folder.glob("*.template.json"):
            resources = json.loads(path.read_text("utf-8"))["Resources"]
            found |= {f"{path.name}/{name}": one for name, one in resources.items()}
        return Template({"Resources": found})

    def nag(self):
        report = json.loads((self.folder / "validation-report.json").read_text("utf-8"))
        (found,) = (r for r in report["pluginReports"] if r["pluginName"] == "AwsSolutions")
        return found


@pytest.fixture(scope="module")
def stage():
    return read.stages(EXAMPLE)["lanes"]


@pytest.fixture(scope="module")
def made(stage, tmp_path_factory):
    return Made(synthesise(stage, lanes_of(stage), tmp_path_factory.mktemp("made")))


@pytest.fixture
def endpoint(made):
    return made.stack("Fleet-qwen3-graviton")


@pytest.fixture
def asleep(made):
    return made.stack("Fleet-asleep")


@pytest.fixture
def own(made):
    return made.stack("Fleet-own")


def lint(paths, *regions):
    command = [Path(sys.executable).with_name("cfn-lint"), "--regions", *regions]
    command += ["--non-zero-exit-code", "error", "--", *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_no_rule_of_cdk_nag_is_broken_without_a_reason(made):
    assert made.nag()["conclusion"] == "success"
    assert not made.nag().get("violations")


def test_cfn_lint_finds_no_error(made):
    ended = lint(made.folder.glob("*.template.json"), "us-east-2")
    assert ended.returncode == 0, ended.stdout


def test_every_resource_is_in_the_plan_or_free(made):
    kinds = {resource["Type"] for resource in made.whole.resources.values()}
    assert sorted(kinds - COVERS.keys()) == []


def test_what_is_paid_for_is_in_the_plan_of_such_a_stage(stage, made):
    source = files.packaged("backends", "data", "aws.yaml")
    stage = replace(stage, lanes=tuple(lanes_of(stage)))
    planned = {
        line.price.id for line in plan(stage, aws_prices.read(source.text, source.name)).lines
    }
    for kind in ("AWS::CodeBuild::Project", "AWS::ECR::Repository"):
        assert planned & set(COVERS[kind].lines), kind


# -- the image -------------------------------------------------------------------------------------


def test_the_image_is_there_before_the_model_that_needs_it(made):
    stacks = {
        name: one["dependencies"]
        for name, one in made.manifest["artifacts"].items()
        if one["type"] == "aws:cloudformation:stack"
    }
    assert "sluice-lanes-SageMaker" in stacks["sluice-lanes-Fleet-qwen3-graviton"]
    assert "sluice-lanes-SageMaker" in stacks["sluice-lanes-Fleet-asleep"]
    assert "sluice-lanes-SageMaker" not in stacks["sluice-lanes-Fleet-own"]


def test_in_one_stack_the_model_waits_for_the_build(stage, tmp_path):
    made = cdk.App(context=dict(app.context()), outdir=str(tmp_path))
    stack = cdk.Stack(made, "sluice-lanes-one")
    build = ImageBuild(stack, "Image", stage=stage, target="llama-cpp")
    graviton.GravitonLane(stack, "Lane", stage=stage, lane=lane_of(stage), image=build)
    made.synth()
    template = Made(tmp_path).stack("one")
    (model,) = template.whole("SageMaker::Model")
    waits = [
        name for name, one in template.resources.items() if one["Type"] == "Custom::SluiceImage"
    ]
    assert set(waits) <= set(model["DependsOn"])


def test_the_image_that_is_run_is_the_one_that_was_waited_for(made, endpoint):
    shared = made.stack("SageMaker")
    (built,) = (one for one in shared.resources.values() if one["Type"] == "Custom::SluiceImage")
    image = plain(endpoint.one("SageMaker::Model")["PrimaryContainer"]["Image"])
    tag = built["Properties"]["Tag"]
    assert image.endswith(f":{tag}")
    (project,) = shared.all("CodeBuild::Project")
    given = {one["Name"]: one["Value"] for one in project["Environment"]["EnvironmentVariables"]}
    assert given["TAG"] == tag


def test_one_build_serves_all_fleets_of_the_stage(made):
    assert len(made.whole.all("CodeBuild::Project")) == 1


def test_it_is_built_on_arm_with_a_limit_and_a_log_that_ends(made):
    shared = made.stack("SageMaker")
    project = shared.one("CodeBuild::Project")
    environment = project["Environment"]
    assert environment["Type"] == "ARM_CONTAINER"
    assert environment["Image"] == "aws/codebuild/amazonlinux-aarch64-standard:3.0"
    assert environment["PrivilegedMode"]
    # CloudFormation gives up after an hour; the build ends before that, and so says why.
    assert project["TimeoutInMinutes"] + project["QueuedTimeoutInMinutes"] < 55
    assert all(log["RetentionInDays"] == 30 for log in shared.all("Logs::LogGroup"))


def test_sagemaker_gets_a_manifest_of_dockers(made):
    spec = json.loads(made.stack("SageMaker").one("CodeBuild::Project")["Source"]["BuildSpec"])
    _, build, push = spec["phases"]["build"]["commands"]
    assert "--provenance=false --sbom=false --output type=docker" in build
    assert build.endswith('--target llama-cpp -t "$REPOSITORY:$TAG" .')
    assert push == 'docker push "$REPOSITORY:$TAG"'
    assert list(spec["phases"]) == ["build"]  # a second phase would run after a failure


def test_the_repository_keeps_few_scans_all_and_goes_with_the_stack(made):
    (whole,) = made.stack("SageMaker").whole("ECR::Repository")
    repository = whole["Properties"]
    assert repository["RepositoryName"] == "sluice-lanes-sagemaker/llama-cpp"
    assert repository["ImageTagMutability"] == "IMMUTABLE"
    assert repository["ImageScanningConfiguration"] == {"ScanOnPush": True}
    assert repository["EmptyOnDelete"]
    assert whole["DeletionPolicy"] == "Delete"
    (rule,) = json.loads(repository["LifecyclePolicy"]["LifecyclePolicyText"])["rules"]
    assert rule["selection"]["countNumber"] == image_build.KEPT


def test_the_source_is_what_the_dockerfile_needs_and_nothing_else(made):
    source = next(made.folder.glob("asset.*/backends")).parent
    found = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    assert found == {str(path) for path in image_build.context_files()}
    assert "backends/engines/container/Dockerfile" in found
    assert "backends/http1.py" in found


def tag_of(stage, folder, **context):
    made = cdk.App(context={**app.context(), **context}, outdir=str(folder))
    stack = cdk.Stack(made, "sluice-lanes-one")
    return ImageBuild(stack, "Image", stage=stage, target="llama-cpp").tag


def test_an_unchanged_source_has_the_same_tag_and_another_base_image_another(stage, tmp_path):
    first = tag_of(stage, tmp_path / "1")
    assert tag_of(stage, tmp_path / "2") == first
    mirror = "public.ecr.aws/docker/library/python:3.13-slim-trixie"
    assert tag_of(stage, tmp_path / "3", PYTHON_IMAGE=mirror) != first


def test_a_base_image_of_ones_own_registry_is_used_and_may_be_pulled(stage, tmp_path):
    mirror = "111122223333.dkr.ecr.us-east-2.amazonaws.com/mirror/python:3.13"
    context = {"PYTHON_IMAGE": mirror}
    folder = synthesise(stage, [lane_of(stage)], tmp_path, context)
    shared = Made(folder).stack("SageMaker")
    assert f"--build-arg PYTHON_IMAGE={mirror} " in shared.text()
    pulled = [
        plain(resource)
        for _, one in shared.statements("IAM::Policy")
        for resource in listed(one["Resource"])
        if "ecr:BatchGetImage" in listed(one["Action"])
    ]
    assert "arn:aws:ecr:us-east-2:111122223333:repository/mirror/python" in pulled


@pytest.mark.parametrize(
    "place", ["999988887777.dkr.ecr.us-east-2", "111122223333.dkr.ecr.eu-west-1"]
)
def test_a_base_image_of_another_registry_is_refused(stage, tmp_path, place):
    with pytest.raises(Unbuildable, match=r"is not in the stage's own registry .*: copy it there"):
        tag_of(stage, tmp_path, PYTHON_IMAGE=f"{place}.amazonaws.com/mirror/python:3.13")


# -- the endpoint ----------------------------------------------------------------------------------


def test_the_launch_settings_are_in_the_template(stage, endpoint):
    container = endpoint.one("SageMaker::Model")["PrimaryContainer"]
    assert container["Environment"] == dict(lane_of(stage).environment())
    assert container["Environment"]["SLUICE_CONTEXT_TOKENS"] == "8192"
    assert container["Environment"]["OLLAMA_NUM_PARALLEL"] == "4"


def test_weights_come_uncompressed_from_their_folder_or_are_one_file(endpoint, own):
    def source(template):
        model = template.one("SageMaker::Model")["PrimaryContainer"]["ModelDataSource"]
        return model["S3DataSource"]

    assert source(endpoint) == {
        "CompressionType": "None",
        "S3DataType": "S3Prefix",
        "S3Uri": "s3://example-models/qwen3-0.6b/",
    }
    assert source(own)["S3DataType"] == "S3Object"
    assert source(own)["S3Uri"] == "s3://ours/deep/qwen3.gguf"


def test_the_endpoint_is_the_one_that_the_catalogue_names(endpoint):
    assert endpoint.one("SageMaker::Endpoint")["EndpointName"] == "sluice-qwen3"
    (variant,) = endpoint.one("SageMaker::EndpointConfig")["ProductionVariants"]
    assert variant["VariantName"] == "all"
    assert variant["InstanceType"] == "ml.c8g.xlarge"
    assert variant["InitialInstanceCount"] == 1
    assert variant["ContainerStartupHealthCheckTimeoutInSeconds"] == 1200
    assert variant["ModelDataDownloadTimeoutInSeconds"] == 1200
    assert variant["RoutingConfig"] == {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"}


def test_one_instance_needs_no_routing_and_no_scaling(own):
    (variant,) = own.one("SageMaker::EndpointConfig")["ProductionVariants"]
    assert "RoutingConfig" not in variant
    assert not own.all("ApplicationAutoScaling::ScalableTarget")


def test_no_model_reaches_the_network_and_nothing_is_captured(made):
    for model in made.whole.all("SageMaker::Model"):
        assert model["EnableNetworkIsolation"]
        assert "VpcConfig" not in model
    for config in made.whole.all("SageMaker::EndpointConfig"):
        assert "DataCaptureConfig" not in config


def test_a_new_configuration_keeps_the_instances_that_scaling_added(endpoint):
    assert endpoint.one("SageMaker::Endpoint")["RetainAllVariantProperties"]


def test_an_endpoint_scales_on_its_concurrent_requests(endpoint):
    target = endpoint.one("ApplicationAutoScaling::ScalableTarget")
    assert target["ResourceId"] == "endpoint/sluice-qwen3/variant/all"
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 4)
    assert plain(target["RoleARN"]).endswith("AutoScaling_SageMakerEndpoint")
    policy = endpoint.one("ApplicationAutoScaling::ScalingPolicy")
    tracking = policy["TargetTrackingScalingPolicyConfiguration"]
    assert tracking["TargetValue"] == pytest.approx(4 * 0.7)
    assert tracking["PredefinedMetricSpecification"] == {
        "PredefinedMetricType": "SageMakerVariantConcurrentRequestsPerModelHighResolution"
    }


# -- at zero ---------------------------------------------------------------------------------------


def test_a_component_brings_the_model_and_its_endpoint_has_none(asleep):
    config = asleep.one("SageMaker::EndpointConfig")
    (variant,) = config["ProductionVariants"]
    assert "ModelName" not in variant
    assert variant["ManagedInstanceScaling"] == {
        "Status": "ENABLED",
        "MinInstanceCount": 0,
        "MaxInstanceCount": 4,
    }
    assert config["EnableNetworkIsolation"]
    assert "ExecutionRoleArn" in config
    component = asleep.one("SageMaker::InferenceComponent")
    assert component["InferenceComponentName"] == "zero-1"
    assert component["VariantName"] == "all"
    assert component["RuntimeConfig"] == {"CopyCount": 1}
    assert component["Specification"]["StartupParameters"] == {
        "ContainerStartupHealthCheckTimeoutInSeconds": 1200,
        "ModelDataDownloadTimeoutInSeconds": 1200,
    }


def test_one_copy_has_a_machine_alone(stage, asleep):
    asked = asleep.one("SageMaker::InferenceComponent")["Specification"]
    asked = asked["ComputeResourceRequirements"]
    machine = lane_of(stage).fit.instance
    assert machine.cores / 2 < asked["NumberOfCpuCoresRequired"] < machine.cores
    assert machine.memory_gib * 512 < asked["MinMemoryRequiredInMb"] < machine.memory_gib * 1024


def test_a_component_scales_to_zero_and_back_as_the_catalogue_says(asleep):
    target = asleep.one("ApplicationAutoScaling::ScalableTarget")
    assert target["ResourceId"] == "inference-component/zero-1"
    assert (target["MinCapacity"], target["MaxCapacity"]) == (0, 4)
    (tracking,) = (
        policy["TargetTrackingScalingPolicyConfiguration"]
        for policy in asleep.all("ApplicationAutoScaling::ScalingPolicy")
        if policy["PolicyType"] == "TargetTrackingScaling"
    )
    metric = tracking["PredefinedMetricSpecification"]["PredefinedMetricType"]
    assert metric == "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution"
    assert tracking["ScaleOutCooldown"] == 600
    assert tracking["ScaleInCooldown"] == 900


def test_what_is_refused_at_zero_wakes_it(asleep):
    (step,) = (
        (name, resource["Properties"])
        for name, resource in asleep.resources.items()
        if resource.get("Properties", {}).get("PolicyType") == "StepScaling"
    )
    assert step[1]["StepScalingPolicyConfiguration"]["StepAdjustments"] == [
        {"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}
    ]
    alarm = asleep.one("CloudWatch::Alarm")
    assert alarm["MetricName"] == "NoCapacityInvocationFailures"
    assert alarm["Dimensions"] == [{"Name": "InferenceComponentName", "Value": "zero-1"}]
    assert alarm["AlarmActions"] == [{"Ref": step[0]}]


def test_alarms_that_wake_are_counted_in_the_plan(stage, made):
    stage = replace(stage, lanes=tuple(lanes_of(stage)))
    assert parts.wake_alarms(stage) == len(made.whole.all("CloudWatch::Alarm"))


def test_an_endpoint_that_is_never_at_zero_needs_no_alarm(endpoint):
    assert not endpoint.all("CloudWatch::Alarm")


# -- who may do what -------------------------------------------------------------------------------

EVERYTHING = {"ecr:GetAuthorizationToken", "cloudwatch:PutMetricData"}  # they have no resource


def allowed(template, role):
    found = {}
    for name, statement in template.statements("IAM::Policy"):
        if name.startswith(role):
            for action in listed(statement["Action"]):
                found.setdefault(action, set()).update(map(plain, listed(statement["Resource"])))
    return found


def test_sagemaker_may_read_this_model_pull_this_image_and_write_its_own_log(own):
    may = allowed(own, "LaneRights")
    assert may.pop("s3:GetObject") == {"arn:<AWS::Partition>:s3:::ours/deep/qwen3.gguf"}
    assert may.pop("s3:ListBucket") == {"arn:<AWS::Partition>:s3:::ours"}
    for action in docker_project.PULL:
        (repository,) = may.pop(action)
        assert repository == "arn:<AWS::Partition>:ecr:us-east-2:111122223333:repository/ours/llama"
    for action in EVERYTHING:
        assert may.pop(action) == {"*"}
    assert {action.partition(":")[0] for action in may} == {"logs"}
    (log,) = {resource for resources in may.values() for resource in resources}
    assert log.startswith("<LaneLog")
    assert own.one("Logs::LogGroup")["LogGroupName"] == "/aws/sagemaker/Endpoints/own"


def test_a_folder_of_weights_is_read_and_no_other(endpoint):
    found = allowed(endpoint, "LaneRights")["s3:GetObject"]
    assert found == {"arn:<AWS::Partition>:s3:::example-models/qwen3-0.6b/*"}


def test_the_build_may_push_into_one_repository_and_read_one_source(made):
    may = allowed(made.stack("SageMaker"), "LlamaCppRights")
    (source,) = may["s3:GetObject"]
    assert source.endswith(".zip")
    for action in (*docker_project.PULL, *docker_project.PUSH):
        (repository,) = may[action]
        assert repository.startswith("<LlamaCppRepository")
    assert [action for action, on in may.items() if "*" in on] == ["ecr:GetAuthorizationToken"]


def test_the_handlers_may_look_and_start_and_nothing_else(made):
    shared = made.stack("SageMaker")
    log = {"logs:CreateLogStream", "logs:PutLogEvents"}
    starts = allowed(shared, "LlamaCppOnEventRole")
    assert set(starts) - log == {"ecr:DescribeImages", "codebuild:StartBuild"}
    waits = allowed(shared, "LlamaCppIsCompleteRole")
    assert set(waits) - log == {"ecr:DescribeImages", "codebuild:BatchGetBuilds"}


def test_every_fleet_is_tagged_with_its_name(made):
    for name in ("qwen3-graviton", "asleep", "own"):
        template = made.stack(f"Fleet-{name}")
        for kind in ("SageMaker::Endpoint", "SageMaker::EndpointConfig", "SageMaker::Model"):
            tags = template.one(kind)["Tags"]
            assert {"Key": "sluice:fleet", "Value": name} in tags


# -- China -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def in_china(stage):
    return replace(stage, region="cn-north-1", partition="aws-cn")


def test_in_china_an_endpoint_with_an_image_of_ones_own_is_made(in_china, tmp_path):
    lane = lane_of(in_china)
    at = replace(lane.fleet.sagemaker, region="cn-north-1")
    lane = replace(lane, fleet=replace(lane.fleet, sagemaker=at, region="cn-north-1"))
    lane = changed(lane, "own", "own", image=IN_CHINA)
    folder = synthesise(in_china, [lane], tmp_path)
    template = Made(folder).stack("Fleet-own")
    assert not template.all("SageMaker::InferenceComponent")
    assert not template.all("CodeBuild::Project")
    assert template.one("SageMaker::Model")["PrimaryContainer"]["Image"] == IN_CHINA
    assert "arn:aws:" not in template.text()
    ended = lint(folder.glob("*.template.json"), "cn-north-1")
    assert ended.returncode == 0, ended.stdout


def test_in_china_nothing_is_built(in_china, tmp_path):
    with pytest.raises(Unbuildable, match=r"no ARM in cn-north-1: .* `runs.image`"):
        tag_of(in_china, tmp_path)
