"""An image of backends/engines/container, built on ARM by CodeBuild while the stage is deployed.

Its tag is what it is made of: an unchanged source builds nothing. Whoever needs the image depends
on `built`, for CloudFormation goes on from there only when the image is in its repository.
"""

import hashlib
import json
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_codebuild as codebuild
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3_assets as assets
from constructs import Construct

from infra.lanes.docker_project import PULL, PUSH, docker_project, image_built, may
from infra.paths import ROOT
from router.deploy.stage import Stage

Target = Literal["llama-cpp", "ollama"]
DOCKERFILE: Final = Path("backends/engines/container/Dockerfile")
KEPT: Final = 5  # images: one is used, the others are what it was before
# Images of the Dockerfile that a private registry may have: `-c PYTHON_IMAGE=...` of the CDK.
ARGUMENTS: Final = ("PYTHON_IMAGE", "OLLAMA_IMAGE")
_ECR: Final = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/([^:@]+).*")


class Unbuildable(ValueError):  # noqa: N818 (it reads as what it says)
    """The image can't be built in this stage; the message says what to do instead."""


class ImageBuild(Construct):
    """`image_uri` is what is run, `built` what that must depend on; `repository` holds it."""

    def __init__(
        self, scope: Construct, construct_id: str, *, stage: Stage, target: Target
    ) -> None:
        super().__init__(scope, construct_id)
        if stage.partition == "aws-cn":
            said = f"CodeBuild documents no ARM in {stage.region}: build the {target} image on an"
            raise Unbuildable(f"{said} ARM machine, push it to ECR and name it in `runs.image`")
        given = {name: self.node.try_get_context(name) for name in ARGUMENTS}
        arguments = {name: str(image) for name, image in given.items() if image is not None}
        source = _source(self)
        spec = _build_spec(target, arguments)
        self.tag = _tag(source.asset_hash, spec)
        self.repository = ecr.Repository(
            self,
            "Repository",
            repository_name=f"{Stack.of(self).stack_name.lower()}/{target}",
            image_tag_mutability=ecr.TagMutability.IMMUTABLE,
            image_scan_on_push=True,
            lifecycle_rules=[ecr.LifecycleRule(max_image_count=KEPT)],
            removal_policy=RemovalPolicy.DESTROY,
            empty_on_delete=True,
        )
        mirrored = list(_mirrored(stage, list(arguments.values())))
        self.project = docker_project(
            self,
            f"An image of {stage.prefix}",
            rights=lambda log: (*_rights(source, log, self.repository), *mirrored),
            machine=(
                codebuild.LinuxArmBuildImage.AMAZON_LINUX_2023_STANDARD_3_0,
                codebuild.ComputeType.MEDIUM,
            ),
            variables={"REPOSITORY": self.repository.repository_uri, "TAG": self.tag},
            spec=spec,
            source=codebuild.Source.s3(bucket=source.bucket, path=source.s3_object_key),
        )
        self.built = image_built(self, stage, self.project, self.repository, self.tag)
        self.image_uri = self.repository.repository_uri_for_tag(self.tag)


def context_files() -> Iterator[Path]:
    """Yield what the Dockerfile needs, from the checkout's root: what its .dockerignore lets in."""
    ignored = DOCKERFILE.with_name("Dockerfile.dockerignore")
    yield from (DOCKERFILE, ignored)
    for line in (ROOT / ignored).read_text("utf-8").splitlines():
        if line.startswith("!"):
            yield from (path.relative_to(ROOT) for path in sorted(ROOT.glob(line[1:])))


def _source(scope: Construct) -> assets.Asset:
    """The asset's hash is of names and contents alone: the CDK copies it from here at once."""
    with tempfile.TemporaryDirectory(prefix="sluice-image-") as folder:
        for path in context_files():
            place = Path(folder) / path
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, place)
        return assets.Asset(scope, "Source", path=folder)


def _build_spec(target: Target, arguments: Mapping[str, str]) -> dict[str, Any]:
    """All of it is one phase: the one after it would run after a failure, too.

    SageMaker takes Docker's manifests alone, no OCI ones and no index with a provenance:
    github.com/aws/amazon-sagemaker-feedback/issues/180 (2025-04, open).
    """
    given = "".join(
        f" --build-arg {name}={shlex.quote(image)}" for name, image in arguments.items()
    )
    login = 'docker login --username AWS --password-stdin "${REPOSITORY%%/*}"'
    build = "docker buildx build --provenance=false --sbom=false --output type=docker"
    of = f'-f {DOCKERFILE} --target {target}{given} -t "$REPOSITORY:$TAG"'
    commands = [
        f"aws ecr get-login-password | {login}",
        f"{build} {of} .",
        'docker push "$REPOSITORY:$TAG"',
    ]
    return {"version": "0.2", "phases": {"build": {"commands": commands}}}


def _tag(asset_hash: str, spec: Mapping[str, Any]) -> str:
    """Everything that an image is made of, but for what Debian's archive has on that day."""
    whole = json.dumps([asset_hash, spec], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()[:32]


def _rights(
    source: assets.Asset, log: logs.LogGroup, repository: ecr.Repository
) -> Iterator[iam.PolicyStatement]:
    bucket = source.bucket.bucket_arn
    yield may(["s3:GetObject", "s3:GetObjectVersion"], f"{bucket}/{source.s3_object_key}")
    yield may(["s3:GetBucketAcl", "s3:GetBucketLocation"], bucket)
    yield may(["logs:CreateLogStream", "logs:PutLogEvents"], log.log_group_arn)
    yield may([*PULL, *PUSH], repository.repository_arn)
    yield may(["ecr:GetAuthorizationToken"], "*")


def _mirrored(stage: Stage, images: Sequence[str]) -> Iterator[iam.PolicyStatement]:
    """Let it pull base images from the registry that it is logged in to: the stage's own."""
    for image in images:
        found = _ECR.fullmatch(image)
        if found is None:
            continue
        account, region, name = found.groups()
        if (account, region) != (stage.account, stage.region):
            said = f"{image} is not in the stage's own registry ({stage.account}, {stage.region})"
            raise Unbuildable(f"{said}: copy it there, or give a public image")
        arn = f"arn:{stage.partition}:ecr:{region}:{account}:repository/{name}"
        yield may(PULL, arn)
