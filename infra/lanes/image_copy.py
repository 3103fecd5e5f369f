"""A public image, copied by CodeBuild into a repository of the stage's own while it is deployed.

The VPC has no way out, so machines can't pull from a public registry; CodeBuild stands outside.
Whoever needs the image depends on the stack.
"""

import hashlib
import re
from typing import Final

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_codebuild as codebuild
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.lanes.docker_project import PULL, PUSH, docker_project, image_built, may
from router.deploy.stage import Stage

COMMANDS: Final = (
    'aws ecr get-login-password | docker login --username AWS --password-stdin "${REPOSITORY%%/*}"',
    'docker pull --quiet "$COPIED"',
    'docker tag "$COPIED" "$REPOSITORY:$TAG"',
    'docker push --quiet "$REPOSITORY:$TAG"',
)


class Copies(Construct):
    """The repository of a public image, and a copy of each version of it that some fleet runs.

    `repository`: the same, under the same name, whatever versions there are: other stacks import
    it, and CloudFormation takes no export away that is in use.
    """

    def __init__(self, scope: Construct, *, stage: Stage, public: str) -> None:
        """`public`: the image without its tag."""
        name = public.partition("/")[2]
        super().__init__(scope, "Copies" + "".join(w.title() for w in re.split(r"\W|_", name)))
        self._stage, self._public = stage, public
        self._made = dict[str, str]()
        self.repository = ecr.Repository(
            self,
            "Repository",
            repository_name=f"{Stack.of(self).stack_name.lower()}/{name}",
            image_tag_mutability=ecr.TagMutability.IMMUTABLE,
            image_scan_on_push=True,
            # No rule lets go of old versions: one fleet's is often older than many of another's.
            removal_policy=RemovalPolicy.DESTROY,
            empty_on_delete=True,
        )

    def uri(self, tag: str) -> str:
        """Return what is run of this version; its copy is made once."""
        if tag not in self._made:
            ImageCopy(
                self,
                f"Copy{hashlib.sha256(tag.encode()).hexdigest()[:8]}",
                stage=self._stage,
                copied=f"{self._public}:{tag}",
                repository=self.repository,
            )
            self._made[tag] = self.repository.repository_uri_for_tag(tag)
        return self._made[tag]


class ImageCopy(Construct):
    """One version's copy; nothing of it is known outside of its stack."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        stage: Stage,
        copied: str,
        repository: ecr.Repository,
    ) -> None:
        super().__init__(scope, construct_id)
        tag = copied.rpartition(":")[2]

        def rights(log: logs.LogGroup) -> list[iam.PolicyStatement]:
            return [
                may([*PULL, *PUSH], repository.repository_arn),
                may(["ecr:GetAuthorizationToken"], "*"),
                may(["logs:CreateLogStream", "logs:PutLogEvents"], log.log_group_arn),
            ]

        project = docker_project(
            self,
            f"Copies {copied}",
            rights=rights,
            machine=(
                codebuild.LinuxBuildImage.AMAZON_LINUX_2023_5,
                codebuild.ComputeType.LARGE,
            ),
            variables={"REPOSITORY": repository.repository_uri, "TAG": tag, "COPIED": copied},
            spec={"version": "0.2", "phases": {"build": {"commands": list(COMMANDS)}}},
        )
        self.built = image_built(self, stage, project, repository, tag)
