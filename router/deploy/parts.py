"""What a stage has of everything that is paid for: numbers that its templates must agree with.

`tests/infra/test_plan_covers.py` holds them against the templates of both sizes. Pure.
"""

from router.deploy.stage import Stage

ZONES = 2  # infra/network.py
WAF_RULES = 3  # infra/firewall.py
ROUTES = 6  # infra/api.py: CloudWatch counts each one apart where detailed metrics are on
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
FUNCTIONS = 5  # observer, sweeper, prices, stream, validator


def on_lambda(stage: Stage) -> bool:
    return stage.compute.on == "lambda"


def prod(stage: Stage) -> bool:
    return stage.size == "prod"


def alarm_metrics(stage: Stage) -> int:
    """Return how many metrics the stage's alarms look at; each is paid for."""
    policy, workers, always = 5, 1, 3
    deployment, api = (2, 1) if on_lambda(stage) else (0, 0)
    common = policy + workers + always + deployment + api
    if not prod(stage):
        return common
    slo = stage.policy.defaults.slo
    burn, anomaly, named, of_aws = 2 * 2 * 2, 3, 5, 2
    slos = sum(limit is not None for limit in (slo.ttft_p95_ms, slo.e2e_p95_ms))
    return common + burn + anomaly + named + of_aws + slos


def composite_alarms(stage: Stage) -> int:
    return 2 if prod(stage) else 0


def dashboards(stage: Stage) -> int:
    """A dashboard is $3 a month, as much as all else of an idle small stage."""
    return 1 if prod(stage) else 0


def secrets(stage: Stage) -> int:
    """Return how many secrets of Secrets Manager the stage's fleets name."""
    refs = (fleet.api_key for fleet in stage.catalogue.fleets)
    return len({ref.name for ref in refs if ref is not None and ref.source == "secret"})


def endpoints(stage: Stage) -> int:
    """Return the interface endpoints of the VPC; those of S3 and DynamoDB cost nothing."""
    if not prod(stage):
        return 0
    appconfig_and_firehose = 2
    kinds = {fleet.sagemaker is not None for fleet in stage.catalogue.fleets}
    # The observer, too, is in the VPC where fleets are: it asks SageMaker for its endpoints there.
    sagemaker = (2 if False in kinds else 1) if True in kinds else 0
    api = stage.private and on_lambda(stage)
    images_and_logs = 0 if on_lambda(stage) else 3
    return appconfig_and_firehose + sagemaker + bool(secrets(stage)) + api + images_and_logs


def router_metrics(stage: Stage) -> int:
    """Return the metrics of the router once requests come: by stage, and in prod by fleet."""
    return ROUTER_METRICS * (1 + (len(stage.catalogue.fleets) if prod(stage) else 0))


def api_metrics(stage: Stage) -> int:
    """Return what API Gateway counts by route: free by stage, paid for by route."""
    return ROUTES * API_METRICS if prod(stage) and on_lambda(stage) else 0
