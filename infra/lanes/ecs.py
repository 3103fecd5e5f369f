"""Makes the fleets on ECS: `Lanes` has what they share, `Fleet-<host>` what each host's have."""

from collections.abc import Iterator, Sequence

import aws_cdk as cdk
from aws_cdk import Tags

from infra.lanes.ecs_fleet import Fleet
from infra.lanes.ecs_machines import fleets
from infra.lanes.ecs_shared import Shared
from infra.lanes.image import Images
from infra.lanes.making import Making
from router.deploy.lane import Lane, hosts
from router.deploy.stage import Stage


def make(given: Making) -> None:
    """Add the stacks. Raises Unmade, image_build.Unbuildable."""
    assert given.network is not None, "the stage's reader refuses it in a small one"
    stage, by_host, images = given.stage, dict(hosts(given.lanes)), Images(given)
    about = "what the fleets on ECS share: cluster, machines, balancer"
    stack = given.stack("Lanes", about)
    shared = Shared(stack, "Ecs", stage=stage, network=given.network, hosts=by_host)
    for host, sharing in by_host.items():
        own = given.stack(f"Fleet-{host}", f"fleets on ECS: {fleets(sharing)}")
        own.add_stack_dependency(stack)
        for fleet in _fleets(own, stage, shared, sharing, images):
            Tags.of(fleet).add("sluice:fleet", fleet.lane.fleet.id)


def _fleets(
    stack: cdk.Stack, stage: Stage, shared: Shared, sharing: Sequence[Lane], images: Images
) -> Iterator[Fleet]:
    for lane in sharing:
        image = images.of(lane, stack)
        name = "Fleet" if len(sharing) == 1 else f"Fleet-{lane.name}"
        yield Fleet(stack, name, stage=stage, shared=shared, lane=lane, image=image)
