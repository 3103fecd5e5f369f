"""The image that a fleet's containers are started from, on ECS and on EKS alike."""

from dataclasses import dataclass

import aws_cdk as cdk

from infra.lanes.image_build import ImageBuild
from infra.lanes.image_copy import Copies
from infra.lanes.making import Making
from router.deploy import images
from router.deploy.lane import Lane


@dataclass(frozen=True, slots=True)
class Image:
    """What is run. `repository_arn`, `made_in`: where it is made; None: it is there."""

    uri: str
    repository_arn: str | None = None
    made_in: cdk.Stack | None = None


class Images:
    """Each image is made once for all fleets that run it, in the stack `Images`."""

    def __init__(self, given: Making) -> None:
        self._given, self._made = given, dict[str, Image]()
        self._copies = dict[str, Copies]()
        self._stack: cdk.Stack | None = None

    def of(self, lane: Lane, user: cdk.Stack) -> Image:
        """Return the fleet's image; `user` is deployed after it is there.

        Raises Unmade, image_build.Unbuildable.
        """
        stage = self._given.stage
        there = images.image(lane, stage.partition, stage.region)
        if there is not None:
            return Image(there)
        copied = images.copied(lane)
        key = copied or "llama-cpp"
        if key not in self._made:
            self._made[key] = self._make(copied)
        found = self._made[key]
        assert found.made_in is not None
        user.add_stack_dependency(found.made_in)
        return found

    def _make(self, copied: str | None) -> Image:
        stage = self._given.stage
        if self._stack is None:
            self._stack = self._given.stack("Images", "images of the fleets")
        if copied is None:
            new = ImageBuild(self._stack, "LlamaCpp", stage=stage, target="llama-cpp")
            return Image(new.image_uri, new.repository.repository_arn, self._stack)
        public, _, tag = copied.rpartition(":")
        if public not in self._copies:
            self._copies[public] = Copies(self._stack, stage=stage, public=public)
        copies = self._copies[public]
        return Image(copies.uri(tag), copies.repository.repository_arn, self._stack)
