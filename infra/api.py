"""The front door: a regional (or private) REST API that streams, with the routes of the app.

A request's body comes whole: API Gateway takes 10 MB, Lambda 6 MB. An answer streams for up to 15
minutes; after 5 minutes of silence it is cut. A policy's `ttft_timeout_ms` (20 s unless it says
otherwise) and `inter_chunk_timeout_ms` (15 s) end it long before.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_apigateway as apigw
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_route53_targets as targets
from constructs import Construct

from infra.domain import record
from infra.firewall import Firewall
from infra.network import Network
from infra.reasons import acknowledge
from infra.router import Router
from router.deploy.stage import Domain, Stage

ROUTES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "/v1/chat/completions": "POST",
        "/v1/route": "POST",
        "/v1/feedback": "POST",
        "/v1/models": "GET",
        "/healthz": "GET",
        "/readyz": "GET",
    }
)
OF_BATCHES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(  # where the stage takes them
    {
        "/v1/files": ("POST", "GET"),
        "/v1/files/{id}": ("GET", "DELETE"),
        "/v1/files/{id}/content": ("GET",),
        "/v1/batches": ("POST", "GET"),
        "/v1/batches/{id}": ("GET",),
        "/v1/batches/{id}/cancel": ("POST",),
    }
)
OPEN: Final = ("/healthz", "/readyz")  # to whoever reaches them, also with IAM; not in China
NOT_HERE: Final[Mapping[str, str]] = MappingProxyType(
    {"/metrics": "an environment of Lambda knows of its own requests alone: CloudWatch has all"}
)
LIMITS: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {"small": (50, 100), "prod": (1000, 2000)}  # requests a second, and at once
)
# What a line of the access log has: neither a body nor a header, so neither prompts nor keys.
LOGGED: Final = (
    "requestId",
    "requestTimeEpoch",
    "httpMethod",
    "resourcePath",
    "status",
    "responseLatency",
    "responseLength",
    "integrationStatus",
    "identity.sourceIp",
    "identity.userArn",
    "error.responseType",
)

_TO_LOGS: Final = "service-role/AmazonAPIGatewayPushToCloudWatchLogs"
REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "APIG2": "the router checks every body, and says which field is wrong",
        "APIG4": "the router verifies keys and tokens itself, the same everywhere; health is open",
        "APIG6": "its log would hold bodies: the access log and receipts say what happened",
        "COG4": "the router verifies keys and tokens itself, the same everywhere",
        f"IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{_TO_LOGS}]": "AWS's own for logs",
    }
)


class Api(Construct):
    """`api` is the REST API; its one stage is called `api`."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        stage: Stage,
        router: Router,
        network: Network | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        self._stage = stage
        assert router.alias is not None, "a service has its own load balancer"
        door = None if network is None else network.api_endpoint
        rate, burst = LIMITS[stage.size]
        log = logs.LogGroup(
            self,
            "AccessLog",
            log_group_name=f"/sluice/{stage.name}/access",
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=RemovalPolicy.DESTROY,
        )
        self.api = apigw.RestApi(
            self,
            "Api",
            rest_api_name=stage.prefix,
            description=f"Sluice, stage {stage.name}",
            cloud_watch_role=True,  # one for the whole account: kept, others may log by it
            cloud_watch_role_removal_policy=RemovalPolicy.RETAIN,
            disable_execute_api_endpoint=stage.domain is not None,
            deploy_options=apigw.StageOptions(
                stage_name="api",
                metrics_enabled=stage.size == "prod",
                throttling_rate_limit=rate,
                throttling_burst_limit=burst,
                logging_level=apigw.MethodLoggingLevel.OFF,  # it would hold bodies
                data_trace_enabled=False,
                access_log_destination=apigw.LogGroupLogDestination(log),
                access_log_format=apigw.AccessLogFormat.custom(
                    json.dumps({name: f"$context.{name}" for name in LOGGED})
                ),
            ),
            endpoint_configuration=apigw.EndpointConfiguration(
                types=[apigw.EndpointType.PRIVATE if door else apigw.EndpointType.REGIONAL],
                vpc_endpoints=[door] if door else None,
            ),
            policy=_through(door) if door else None,
        )
        self._routes(router)
        acknowledge(self.api, REASONS)
        if stage.size == "small":
            acknowledge(
                self.api, {"APIG3": "a WAF alone costs more than all of an idle small stage"}
            )
        if stage.domain is not None:
            self._named(stage.domain)
        if stage.size == "prod":
            protects = self.api.deployment_stage.stage_arn
            Firewall(self, "Firewall", stage=stage, protects=protects)

    def _routes(self, router: Router) -> None:
        assert router.alias is not None
        integration = apigw.LambdaIntegration(
            router.alias,
            response_transfer_mode=apigw.ResponseTransferMode.STREAM,
            timeout=Duration.minutes(15),
            scope_permission_to_method=False,
        )
        kind = apigw.AuthorizationType
        opened = () if self._stage.in_china else OPEN
        routes = [(path, method) for path, method in ROUTES.items()]
        if self._stage.deferrable is not None:
            routes += [(path, method) for path, methods in OF_BATCHES.items() for method in methods]
        for path, method in routes:
            iam_here = self._stage.signed and path not in opened
            self.api.root.resource_for_path(path).add_method(
                method, integration, authorization_type=kind.IAM if iam_here else kind.NONE
            )

    def _named(self, domain: Domain) -> None:
        certificate = acm.Certificate.from_certificate_arn(self, "Cert", domain.certificate)
        named = self.api.add_domain_name(
            "Domain",
            domain_name=domain.name,
            certificate=certificate,
            endpoint_type=apigw.EndpointType.REGIONAL,
            security_policy=apigw.SecurityPolicy.TLS_1_2,
        )
        if domain.zone is not None:
            record(self, domain, route53.RecordTarget.from_alias(targets.ApiGatewayDomain(named)))


def _through(door: ec2.IInterfaceVpcEndpoint) -> iam.PolicyDocument:
    """Let a private API be reached by this endpoint and no other."""
    other = {"StringNotEquals": {"aws:SourceVpce": door.vpc_endpoint_id}}
    return iam.PolicyDocument(
        statements=[
            iam.PolicyStatement(
                effect=effect,
                principals=[iam.AnyPrincipal()],
                actions=["execute-api:Invoke"],
                resources=["execute-api:/*"],
                conditions=conditions,
            )
            for effect, conditions in ((iam.Effect.ALLOW, None), (iam.Effect.DENY, other))
        ]
    )
