"""A project of CodeBuild that puts an image into a repository, and what waits for that image."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from aws_cdk import CustomResource, Duration, RemovalPolicy
from aws_cdk import aws_codebuild as codebuild
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.lanes.waiting import waiting
from infra.reasons import acknowledge
from router.deploy.stage import Stage

BUILD_MINUTES: Final = 30  # twice what llama.cpp is taken to need on four cores
QUEUED_MINUTES: Final = 15
PULL: Final = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
PUSH: Final = (
    "ecr:CompleteLayerUpload",
    "ecr:InitiateLayerUpload",
    "ecr:PutImage",
    "ecr:UploadLayerPart",
)


def docker_project(
    scope: Construct,
    description: str,
    *,
    rights: Callable[[logs.LogGroup], Iterable[iam.PolicyStatement]],
    machine: tuple[codebuild.IBuildImage, codebuild.ComputeType],
    variables: Mapping[str, str],
    spec: Mapping[str, Any],
    source: codebuild.ISource | None = None,
) -> codebuild.Project:
    """Return the project, whose role has these rights and no others; `rights` takes its log."""
    log = logs.LogGroup(
        scope,
        "Log",
        retention=logs.RetentionDays.ONE_MONTH,
        removal_policy=RemovalPolicy.DESTROY,
    )
    role = iam.Role(scope, "Role", assumed_by=iam.ServicePrincipal("codebuild.amazonaws.com"))
    allowed = iam.Policy(scope, "Rights", statements=[*rights(log)], roles=[role])
    said = "ecr:GetAuthorizationToken is for the whole registry"
    acknowledge(allowed, {"IAM5[Resource::*]": said})
    build_image, compute_type = machine
    project = codebuild.Project(
        scope,
        "Project",
        description=description,
        source=source,
        role=role.without_policy_updates(),
        environment=codebuild.BuildEnvironment(
            build_image=build_image, compute_type=compute_type, privileged=True
        ),
        environment_variables={
            name: codebuild.BuildEnvironmentVariable(value=value)
            for name, value in variables.items()
        },
        build_spec=codebuild.BuildSpec.from_object(dict(spec)),
        logging=codebuild.LoggingOptions(
            cloud_watch=codebuild.CloudWatchLoggingOptions(log_group=log)
        ),
        timeout=Duration.minutes(BUILD_MINUTES),
        queued_timeout=Duration.minutes(QUEUED_MINUTES),
        grant_report_group_permissions=False,
    )
    project.node.add_dependency(allowed)
    reasons = {
        "CB3": "images are handled with Docker, which asks for it; what it runs is our own",
        "CB4": "it has no artifacts: what it makes is in ECR, encrypted there",
    }
    acknowledge(project, reasons)
    return project


def may(actions: Sequence[str], on: str) -> iam.PolicyStatement:
    return iam.PolicyStatement(actions=[*actions], resources=[on])


def image_built(
    scope: Construct,
    stage: Stage,
    project: codebuild.Project,
    repository: ecr.Repository,
    tag: str,
) -> CustomResource:
    """Return what is there once the image is: it starts the project and waits."""
    provider = waiting(scope, stage, project, repository)
    built = CustomResource(
        scope,
        "Built",
        service_token=provider.service_token,
        resource_type="Custom::SluiceImage",
        properties={
            "Project": project.project_name,
            "Repository": repository.repository_name,
            "Tag": tag,
        },
    )
    built.node.add_dependency(project)  # and so on its role's rights
    return built
