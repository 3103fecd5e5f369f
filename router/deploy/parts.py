"""What a stage has of everything that is paid for: numbers that its templates must agree with.

`tests/infra/test_plan_covers.py` holds them against the templates of both sizes. Pure.
"""

from router.deploy import purchase
from router.deploy.lane import Lane, hosts
from router.deploy.stage import Stage

ZONES = 2  # infra/network.py
ADDRESSES = "10.0.0.0/16"  # of a stage's VPC
# Of them, those of the subnets that only the balancer before fleets on EKS is in: pods tell it by
# its address from all others of the VPC (infra/network.py).
BALANCER_ADDRESSES = "10.0.16.0/21"
CLUSTER_ADDRESSES = "172.20.0.0/16"  # of services inside a cluster of EKS, none of the network's
WAF_RULES = 3  # infra/firewall.py
ROUTES = 6  # infra/api.py: CloudWatch counts each one apart where detailed metrics are on
BATCH_ROUTES = 9  # more, where the stage takes batches
API_METRICS = 5  # Count, 4XXError, 5XXError, Latency, IntegrationLatency
ROUTER_METRICS = 12  # router/emf.py
# Of the workers, those that are written every minute: observer 2, sweeper 1. The prices' age is
# written in one hour of every day; CloudWatch bills metrics by the hour.
WORKER_METRICS = 3 + 1 / 24
# The observer looks once in a minute without requests, and every 5 s of one with requests, until
# its function's time is nearly over (router/workers/observer.py): at most so long.
IDLE_SECONDS = 1.0
BUSY_SECONDS = 55.0
BUSY_LOOKS = 12
WORKER_GB = 0.25
# Of a queue that is empty, in a minute: five readers of Lambda's, each waiting for 20 s (docs.aws.
# amazon.com/lambda/latest/dg/services-sqs-scaling.html; with MaximumConcurrency never fewer).
POLLS = 15
FUNCTIONS = 5  # observer, sweeper, prices, stream, validator
# Of the waker: how many woke, and how many couldn't; written in hours with wake-ups alone.
WAKER_METRICS = 2
# AWS makes two alarms for what tracks a target, one above and one below: Application Auto Scaling
# User Guide, Target tracking scaling policies; ECS Developer Guide, cluster auto scaling, the same
# for each capacity provider (docs.amazonaws.cn has it alike; read 2026-11-21).
TRACKING = 2
FAST = 3  # an alarm that looks every 10 s costs as three that look each minute


def sleepers(stage: Stage) -> tuple[Lane, ...]:
    """Return the fleets that the stage's waker wakes: those that scale to zero."""
    return tuple(
        lane
        for lane in stage.lanes
        if lane.fleet.replicas.min == 0 and lane.fleet.wake_seconds is not None
    )


def functions(stage: Stage) -> int:
    """Return the stage's functions beside the router."""
    return FUNCTIONS + bool(sleepers(stage)) + (0 if stage.deferrable is None else 2)


def in_use_metrics(stage: Stage) -> int:
    """Return how many fleets are scaled by the observer's metric (router/workers/in_use.py)."""
    scaled = (lane.fleet.replicas for lane in stage.lanes if lane.on == "ecs")
    return sum(replicas.max > replicas.min for replicas in scaled)


def on_lambda(stage: Stage) -> bool:
    return stage.compute.on == "lambda"


def prod(stage: Stage) -> bool:
    return stage.size == "prod"


def alarm_metrics(stage: Stage) -> int:
    """Return how many metrics the stage's alarms look at; each is paid for."""
    policy, workers, always = 5, 1, 3
    deployment, api = (2, 1) if on_lambda(stage) else (0, 0)
    batches = 0 if stage.deferrable is None else 2
    common = policy + workers + always + deployment + api + batches + wake_alarms(stage)
    if not prod(stage):
        return common
    slo = stage.policy.defaults.slo
    burn, anomaly, named, of_aws = 2 * 2 * 2, 3, 5, 2
    slos = sum(limit is not None for limit in (slo.ttft_p95_ms, slo.e2e_p95_ms))
    return common + burn + anomaly + named + of_aws + slos


def wake_alarms(stage: Stage) -> int:
    """Return how many fleets on SageMaker an alarm wakes (infra/lanes/endpoint_scaling.py)."""
    made = (lane.fleet for lane in stage.lanes if lane.on == "sagemaker")
    return sum(fleet.replicas.min == 0 < fleet.replicas.max for fleet in made)


def scaling_alarms(stage: Stage) -> int:
    """Return the alarms that AWS makes to scale the router on Fargate, and fleets on ECS: a policy
    for each fleet, and one for each group of machines.
    """
    policies = in_use_metrics(stage) + (0 if on_lambda(stage) else 1)
    return TRACKING * (policies + providers(stage))


def fast_scaling_alarms(stage: Stage) -> int:
    """Return the alarms that AWS makes to scale fleets on SageMaker."""
    made = (lane.fleet.replicas for lane in stage.lanes if lane.on == "sagemaker")
    return TRACKING * sum(replicas.max > replicas.min for replicas in made)


def providers(stage: Stage) -> int:
    """Return the groups of machines on ECS, each with a capacity provider."""
    found = 0
    for _, sharing in hosts(lane for lane in stage.lanes if lane.on == "ecs"):
        bought = purchase.bought([lane.fleet for lane in sharing])
        found += (bought.standing is not None) + (bought.block is not None)
    return found


def composite_alarms(stage: Stage) -> int:
    return 2 if prod(stage) else 0


def dashboards(stage: Stage) -> int:
    """A dashboard is $3 a month, as much as all else of an idle small stage."""
    return 1 if prod(stage) else 0


def secrets(stage: Stage) -> int:
    """Return how many secrets of Secrets Manager the stage's fleets name."""
    refs = (fleet.api_key for fleet in stage.catalogue.fleets)
    return len({ref.name for ref in refs if ref is not None and ref.source == "secret"})


def endpoints(stage: Stage) -> tuple[str, ...]:
    """Return the names of the VPC's interface endpoints (infra/network.py: SERVICES); those of S3
    and DynamoDB cost nothing.
    """
    if not prod(stage):
        return ()
    names = ["AppConfig", "Firehose"]
    kinds = {fleet.sagemaker is not None for fleet in stage.catalogue.fleets}
    if True in kinds:
        names.append("SageMaker")
        if False in kinds:  # the observer, too, is in the VPC where fleets are
            names.append("SageMakerApi")
    if secrets(stage):
        names.append("Secrets")
    if stage.private and on_lambda(stage):
        names.append("Api")
    if not on_lambda(stage):
        names += ["EcrApi", "EcrDocker", "Logs"]
    if any(lane.on == "eks" for lane in stage.lanes):
        # EKS, private clusters: images, machines' names, Pod Identity; `Eks` is the observer's.
        names += ["EcrApi", "EcrDocker", "Ec2", "Eks", "EksAuth"]
    if on_ecs(stage):
        names += ["Ecs", "EcsAgent", "EcsTelemetry", "EcrApi", "EcrDocker", "Logs"]
    return tuple(dict.fromkeys(names))


def routes(stage: Stage) -> int:
    return ROUTES + (0 if stage.deferrable is None else BATCH_ROUTES)


def on_ecs(stage: Stage) -> bool:
    """Whether the stage makes fleets on ECS, on machines inside its network."""
    return any(lane.on == "ecs" for lane in stage.lanes)


def on_eks(stage: Stage) -> bool:
    """Whether the stage makes fleets on EKS."""
    return any(lane.on == "eks" for lane in stage.lanes)


def router_metrics(stage: Stage) -> int:
    """Return the metrics of the router once requests come: by stage, and in prod by fleet."""
    return ROUTER_METRICS * (1 + (len(stage.catalogue.fleets) if prod(stage) else 0))


def api_metrics(stage: Stage) -> int:
    """Return what API Gateway counts by route: free by stage, paid for by route."""
    return routes(stage) * API_METRICS if prod(stage) and on_lambda(stage) else 0
