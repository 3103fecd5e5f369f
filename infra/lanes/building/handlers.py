"""The custom resource that makes an image and waits for it: no stack goes on without its image.

The CDK's provider calls `on_event` once and `is_complete` until it says yes; what either raises is
why the deployment failed. Neither logs its event: it has the address that CloudFormation is
answered at.
"""

from collections.abc import Mapping
from typing import Any, Final

Event = Mapping[str, Any]
RUNNING: Final = "IN_PROGRESS"


class NotBuilt(Exception):  # noqa: N818 (says what happened)
    """There is no image, and none comes: the message is what CloudFormation shows."""


def on_event(event: Event, _context: object) -> dict[str, str]:
    """Start the build. Raises botocore.exceptions.ClientError."""
    import boto3  # noqa: PLC0415  (Lambda's own; the tests of what follows bring their clients)

    return begun(event, boto3.client("ecr"), boto3.client("codebuild"))


def is_complete(event: Event, _context: object) -> dict[str, bool]:
    """Return whether the image is there. Raises NotBuilt, botocore.exceptions.ClientError."""
    import boto3  # noqa: PLC0415  (as above)

    return {"IsComplete": done(event, boto3.client("ecr"), boto3.client("codebuild"))}


def begun(event: Event, ecr: Any, codebuild: Any) -> dict[str, str]:  # noqa: ANN401 (clients)
    """Return the resource, with `Build` where one was started: the image is not there yet.

    Deleting it stops no build: what it still makes goes with the repository.
    """
    wanted = event["ResourceProperties"]
    known = {"PhysicalResourceId": event.get("PhysicalResourceId") or wanted["Project"]}
    if event["RequestType"] == "Delete" or _is_there(wanted, ecr):
        return known
    # Called again for the same request, CodeBuild starts nothing new.
    build = codebuild.start_build(
        projectName=wanted["Project"], idempotencyToken=event["RequestId"]
    )
    return {**known, "Build": build["build"]["id"]}


def done(event: Event, ecr: Any, codebuild: Any) -> bool:  # noqa: ANN401 (clients)
    """The image counts, not the build: another one may have made it meanwhile, and a tag that is
    taken can't be pushed again.
    """
    wanted, build_id = event["ResourceProperties"], event.get("Build")
    if event["RequestType"] == "Delete" or build_id is None or _is_there(wanted, ecr):
        return True
    builds = codebuild.batch_get_builds(ids=[build_id])["builds"]
    if not builds:
        raise NotBuilt(f"CodeBuild knows no build {build_id}: deploy again")
    status = builds[0]["buildStatus"]
    if status == RUNNING:
        return False
    place = f"{wanted['Repository']}:{wanted['Tag']}"
    if status == "SUCCEEDED":
        said = "it succeeded, and the image is not in its repository"
    else:
        said = f"it ended as {status} in the phase {builds[0].get('currentPhase', 'unknown')}"
    log = builds[0].get("logs", {}).get("deepLink", "none was written")
    raise NotBuilt(f"build {build_id} of {place}: {said}; its log: {log}")


def _is_there(wanted: Mapping[str, str], ecr: Any) -> bool:  # noqa: ANN401 (a client)
    try:
        ecr.describe_images(
            repositoryName=wanted["Repository"], imageIds=[{"imageTag": wanted["Tag"]}]
        )
    except ecr.exceptions.ImageNotFoundException:
        return False
    return True
