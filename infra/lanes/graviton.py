"""Graviton behind SageMaker: the image from CodeBuild, the weights from S3, one endpoint a fleet.

SageMaker puts the weights where the container looks for them, so that the container needs no
network and has none. Neither prompts nor answers are captured.
"""

import math
import re
from collections.abc import Iterator
from typing import Final

from aws_cdk import Aws, RemovalPolicy, Tags
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from backends.base import SageMakerTarget
from backends.hardware import GIB
from infra.lanes.docker_project import PULL, may
from infra.lanes.endpoint_scaling import scale
from infra.lanes.image_build import ImageBuild
from infra.lanes.making import Making
from infra.reasons import acknowledge
from router import lane_names
from router.deploy import images
from router.deploy.lane import Lane, Unmade
from router.deploy.stage import Stage

SHARED: Final = "SageMaker"  # the stack of what all these fleets share
STARTED_WITHIN_S: Final = 1200  # S1's; the container itself gives up then (SLUICE_LOAD_WITHIN_S)
FETCHED_WITHIN_S: Final = 1200
DISK_GB: Final = 30  # what SageMaker gives where nothing is said
_ECR: Final = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.[a-z.]+/([^:@]+).*")
Config = sagemaker.CfnEndpointConfig
Component = sagemaker.CfnInferenceComponent


def make(given: Making) -> None:
    """Add a stack for each fleet, and one with the image where a fleet names none of its own."""
    stage, build = given.stage, None
    for lane in given.lanes:
        own = images.image(lane, stage.partition, stage.region)
        if own is None and build is None:
            shared = given.stack(SHARED, "the image of the fleets on SageMaker")
            build = ImageBuild(shared, "LlamaCpp", stage=stage, target="llama-cpp")
        stack = given.stack(f"Fleet-{lane.name}", f"the fleet {lane.fleet.id}, on SageMaker")
        GravitonLane(stack, "Lane", stage=stage, lane=lane, image=own or build)
        Tags.of(stack).add("sluice:fleet", lane.fleet.id)


class GravitonLane(Construct):
    """`image`: of ECR, or the build that makes it."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        stage: Stage,
        lane: Lane,
        image: str | ImageBuild | None,
    ) -> None:
        super().__init__(scope, construct_id)
        assert lane.family == "cpu", "SageMaker runs llama.cpp's container alone (checked before)"
        assert lane.fleet.sagemaker is not None, "it is called by its endpoint (checked before)"
        assert image is not None
        self._lane, self._target = lane, lane.fleet.sagemaker
        self._log()
        self.role = self._role(stage, image)
        self.model = self._model(image)
        self.config = self._config()
        self.endpoint = sagemaker.CfnEndpoint(
            self,
            "Endpoint",
            endpoint_name=self._target.endpoint,
            endpoint_config_name=self.config.attr_endpoint_config_name,
            # A new configuration must not take back what scaling has added.
            retain_all_variant_properties=None if self._is_component else True,
        )
        self.component = self._component() if self._is_component else None
        scale(self, stage=stage, lane=lane, scaled=self.component or self.endpoint)

    @property
    def _is_component(self) -> bool:
        return self._target.inference_component is not None

    def _log(self) -> None:
        """SageMaker would make it as well, and keep it for ever."""
        self.log = logs.LogGroup(
            self,
            "Log",
            log_group_name=log_name(self._target),
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=RemovalPolicy.DESTROY,
        )

    def _role(self, stage: Stage, image: str | ImageBuild) -> iam.Role:
        """What SageMaker asks for (Execution Roles, CreateModel), on these resources alone."""
        role = iam.Role(
            self,
            "Role",
            description=f"SageMaker for the fleet {self._lane.fleet.id} of {stage.prefix}",
            assumed_by=iam.ServicePrincipal("sagemaker.amazonaws.com"),
        )
        folder = weights_arn(self._lane)
        rights = iam.Policy(
            self,
            "Rights",
            roles=[role],
            statements=list(_rights(self._lane, self.log, image_arn(image), folder)),
        )
        reasons = {
            "IAM5[Resource::*]": "ecr:GetAuthorizationToken and cloudwatch:PutMetricData have no "
            "resource",
            f"IAM5[Resource::{folder.replace(Aws.PARTITION, '<AWS::Partition>')}]": "the files of "
            "the model, in its folder",
        }
        acknowledge(rights, reasons)
        self.rights = rights
        return role

    def _model(self, image: str | ImageBuild) -> sagemaker.CfnModel:
        """Its name is CloudFormation's: every change makes a new one beside the old."""
        environment = dict(self._lane.environment())
        model = sagemaker.CfnModel(
            self,
            "Model",
            execution_role_arn=self.role.role_arn,
            enable_network_isolation=True,
            primary_container=sagemaker.CfnModel.ContainerDefinitionProperty(
                image=image if isinstance(image, str) else image.image_uri,
                environment=environment,
                model_data_source=sagemaker.CfnModel.ModelDataSourceProperty(
                    s3_data_source=sagemaker.CfnModel.S3DataSourceProperty(
                        compression_type="None",
                        s3_data_type="S3Object" if _is_file(self._lane) else "S3Prefix",
                        s3_uri=f"s3://{self._lane.bucket}/{self._lane.prefix}",
                    )
                ),
            ),
        )
        model.node.add_dependency(self.rights)
        if isinstance(image, ImageBuild):
            model.node.add_dependency(image.built)
        return model

    def _config(self) -> sagemaker.CfnEndpointConfig:
        """An endpoint of components has no model of its own: they bring it."""
        lane, bounds = self._lane, self._lane.fleet.replicas
        managed = Config.ManagedInstanceScalingProperty(
            status="ENABLED", min_instance_count=bounds.min, max_instance_count=bounds.max
        )
        variant = Config.ProductionVariantProperty(
            variant_name=self._variant,
            model_name=None if self._is_component else self.model.attr_model_name,
            instance_type=f"ml.{lane.instance}",
            initial_instance_count=max(1, bounds.min),
            initial_variant_weight=None if self._is_component else 1,
            managed_instance_scaling=managed if self._is_component else None,
            container_startup_health_check_timeout_in_seconds=STARTED_WITHIN_S,
            model_data_download_timeout_in_seconds=FETCHED_WITHIN_S,
            volume_size_in_gb=disk_gb(lane),
            routing_config=Config.RoutingConfigProperty(
                routing_strategy="LEAST_OUTSTANDING_REQUESTS"
            )
            if bounds.max > 1
            else None,
        )
        config = Config(
            self,
            "Config",
            production_variants=[variant],
            execution_role_arn=self.role.role_arn if self._is_component else None,
            enable_network_isolation=True if self._is_component else None,
        )
        config.node.add_dependency(self.rights)
        return config

    @property
    def _variant(self) -> str:
        return self._target.variant or lane_names.VARIANT

    def _component(self) -> sagemaker.CfnInferenceComponent:
        """One copy is one replica: it asks for so much that no second one has a place beside it."""
        assert self._target.inference_component is not None
        cores, mib = component_needs(self._lane)
        return Component(
            self,
            "Component",
            inference_component_name=self._target.inference_component,
            endpoint_name=self.endpoint.attr_endpoint_name,
            variant_name=self._variant,
            runtime_config=Component.InferenceComponentRuntimeConfigProperty(
                copy_count=max(1, self._lane.fleet.replicas.min)
            ),
            specification=Component.InferenceComponentSpecificationProperty(
                model_name=self.model.attr_model_name,
                compute_resource_requirements=(
                    Component.InferenceComponentComputeResourceRequirementsProperty(
                        number_of_cpu_cores_required=cores, min_memory_required_in_mb=mib
                    )
                ),
                startup_parameters=Component.InferenceComponentStartupParametersProperty(
                    container_startup_health_check_timeout_in_seconds=STARTED_WITHIN_S,
                    model_data_download_timeout_in_seconds=FETCHED_WITHIN_S,
                ),
            ),
        )


def log_name(target: SageMakerTarget) -> str:
    """Return the log group that SageMaker writes to; it chooses the name."""
    if target.inference_component is not None:
        return f"/aws/sagemaker/InferenceComponents/{target.inference_component}"
    return f"/aws/sagemaker/Endpoints/{target.endpoint}"


def component_needs(lane: Lane) -> tuple[float, int]:
    """Return cores and MiB of one copy: all cores but one, which are SageMaker's; what the model
    needs beside the operating system, and more than half of what the machine has.
    """
    machine = lane.fit.instance
    cores = machine.cores or 1
    needed = sum(part.total_bytes for part in lane.fit.parts if part.what != "operating system")
    half = int(machine.memory_gib * GIB / 2)
    return max(0.5, cores - 1.0), math.ceil(max(needed, half + 1) / 2**20)


def disk_gb(lane: Lane) -> int | None:
    """Return the volume's size where the weights don't go on the one that SageMaker gives."""
    weights = next(part.total_bytes for part in lane.fit.parts if part.what == "weights")
    wanted = math.ceil(weights / 1e9 * 1.2) + DISK_GB // 2  # beside the image and the logs
    return wanted if wanted > DISK_GB else None


def _is_file(lane: Lane) -> bool:
    return not lane.prefix.endswith("/")


def weights_arn(lane: Lane) -> str:
    """Return what may be read: one file, or what is in its folder."""
    return f"arn:{Aws.PARTITION}:s3:::{lane.bucket}/{lane.prefix}{'' if _is_file(lane) else '*'}"


def image_arn(image: str | ImageBuild) -> str:
    """Return the repository that the image is in. Raises Unmade."""
    if isinstance(image, ImageBuild):
        return image.repository.repository_arn
    found = _ECR.fullmatch(image)
    if found is None:
        raise Unmade(("runs", "image"), f"`{image}` is in no repository of ECR")
    account, region, name = found.groups()
    return f"arn:{Aws.PARTITION}:ecr:{region}:{account}:repository/{name}"


def _rights(
    lane: Lane, log: logs.LogGroup, repository: str, weights: str
) -> Iterator[iam.PolicyStatement]:
    bucket = f"arn:{Aws.PARTITION}:s3:::{lane.bucket}"
    yield may(["s3:GetObject"], weights)
    yield may(["s3:ListBucket"], bucket)  # names alone; a request without a prefix is made, too
    yield may(PULL, repository)
    yield may(["ecr:GetAuthorizationToken", "cloudwatch:PutMetricData"], "*")
    writes = ("CreateLogGroup", "CreateLogStream", "DescribeLogStreams", "PutLogEvents")
    yield may([f"logs:{action}" for action in writes], log.log_group_arn)
