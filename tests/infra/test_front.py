"""The front door and the router behind it: routes, streaming, deployment, who is let in."""

from dataclasses import replace

import aws_cdk as cdk
import pytest
from aws_cdk import assertions
from stages import ROOT, examples
from template import Template, plain

from infra.api import LOGGED, NOT_HERE, OPEN, ROUTES
from infra.app import context
from infra.network import Network
from infra.stacks import Zoned
from router import app
from router.deploy import adapter
from router.settings import BALANCED_KEEP_ALIVE_S


def methods(template):
    """Return the API's methods by path."""
    resources = template.resources
    root = {"Fn::GetAtt"}

    def path(resource):
        if set(resource) == root:
            return ""
        found = resources[resource["Ref"]]["Properties"]
        return f"{path(found['ParentId'])}/{found['PathPart']}"

    return {path(one["ResourceId"]): one for one in template.all("ApiGateway::Method")}


@pytest.fixture(params=["dev", "prod", "inner"])
def front(request, synthesised):
    return synthesised.stack(request.param, "Router")


def test_the_routes_are_the_apps_but_those_that_say_why_not(front):
    here = {path: method for path, (method, _) in app.ROUTES.items() if path not in NOT_HERE}
    assert here == ROUTES
    assert {path: one["HttpMethod"] for path, one in methods(front).items()} == here
    assert set(NOT_HERE) <= set(app.ROUTES)


def test_every_answer_streams_for_up_to_15_minutes(front):
    for method in methods(front).values():
        integration = method["Integration"]
        assert integration["ResponseTransferMode"] == "STREAM"
        assert integration["TimeoutInMillis"] == 900_000
        assert plain(integration["Uri"]).endswith("/response-streaming-invocations")
        assert "RouterFunctionLive" in plain(integration["Uri"])
    function = front.one("Lambda::Function")
    assert function["Timeout"] == 900
    assert function["Environment"]["Variables"]["AWS_LWA_INVOKE_MODE"] == "response_stream"


def test_an_api_by_iam_asks_for_a_signature_but_for_health(synthesised):
    for path, method in methods(synthesised.stack("inner", "Router")).items():
        assert method["AuthorizationType"] == ("NONE" if path in OPEN else "AWS_IAM"), path


def test_the_access_log_has_neither_bodies_nor_headers(front):
    stage = front.one("ApiGateway::Stage")
    assert stage["AccessLogSetting"]["Format"].count("$context.") == len(LOGGED)
    assert "$input" not in stage["AccessLogSetting"]["Format"]
    (settings,) = stage["MethodSettings"]
    assert (settings["DataTraceEnabled"], settings["LoggingLevel"]) == (False, "OFF")
    assert settings["ThrottlingRateLimit"] > 0


def test_the_function_is_started_by_the_adapter_of_its_region(front):
    function = front.one("Lambda::Function")
    assert (function["Handler"], function["Architectures"]) == ("run.sh", ["arm64"])
    assert function["Layers"] == [adapter.layer_arn("aws", "us-east-1")]
    variables = function["Environment"]["Variables"]
    assert variables["AWS_LAMBDA_EXEC_WRAPPER"] == "/opt/bootstrap"
    assert variables["AWS_LWA_READINESS_CHECK_PATH"] == "/healthz"
    assert function["LoggingConfig"]["LogFormat"] == "JSON"


def test_a_new_version_that_fails_is_undone(synthesised):
    for stage, config in (("dev", "LambdaAllAtOnce"), ("prod", "LambdaCanary10Percent5Minutes")):
        template = synthesised.stack(stage, "Router")
        group = template.one("CodeDeploy::DeploymentGroup")
        assert group["DeploymentConfigName"] == f"CodeDeployDefault.{config}"
        assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
        assert len(group["AlarmConfiguration"]["Alarms"]) == 2
        (alias,) = template.whole("Lambda::Alias")
        assert alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]


def test_provisioned_environments_are_the_aliass(synthesised):
    live = synthesised.stack("prod", "Router").one("Lambda::Alias")
    assert live["ProvisionedConcurrencyConfig"] == {"ProvisionedConcurrentExecutions": 2}
    assert "ProvisionedConcurrencyConfig" not in (
        synthesised.stack("dev", "Router").one("Lambda::Alias")
    )


def test_a_private_api_is_reached_through_its_endpoint_alone(synthesised):
    front = synthesised.stack("inner", "Router")
    api = front.one("ApiGateway::RestApi")
    assert api["EndpointConfiguration"]["Types"] == ["PRIVATE"]
    refused = [one for one in api["Policy"]["Statement"] if one["Effect"] == "Deny"]
    assert refused[0]["Condition"]["StringNotEquals"]["aws:SourceVpce"]
    public = synthesised.stack("prod", "Router").one("ApiGateway::RestApi")
    assert public["EndpointConfiguration"]["Types"] == ["REGIONAL"]
    assert public["DisableExecuteApiEndpoint"]  # its own name is the only one


def test_a_private_api_lets_keys_through_its_endpoint_and_only_to_this_accounts_apis(synthesised):
    """Who sends a key has no principal: a condition on one would refuse every request."""
    doors = synthesised.stack("inner", "Router").all("EC2::VPCEndpoint")
    (door,) = (one for one in doors if plain(one["ServiceName"]).endswith(".execute-api"))
    (statement,) = door["PolicyDocument"]["Statement"]
    assert "Condition" not in statement
    assert (statement["Effect"], statement["Action"]) == ("Allow", "execute-api:Invoke")
    assert plain(statement["Resource"]).endswith(":<AWS::AccountId>:*")


@pytest.mark.parametrize(
    ("stage", "kind"), [("prod", "Lambda::Function"), ("steady", "ECS::Service")]
)
def test_the_router_starts_when_its_ways_to_aws_are_there(synthesised, stage, kind):
    """A warm environment or a task that starts before them fails, and the deployment with it."""
    front = synthesised.stack(stage, "Router")
    (router,) = front.whole(kind)
    ways = {
        logical
        for logical, one in front.resources.items()
        if one["Type"] == "AWS::EC2::VPCEndpoint" or logical.startswith("NetworkDoorsfrom")
    }
    assert len(ways) > 5
    assert ways <= set(router["DependsOn"])


def test_no_metric_of_the_firewall_has_a_name_of_awss_own(synthesised):
    acl = synthesised.stack("prod", "Router").one("WAFv2::WebACL")
    seen = [acl, *acl["Rules"]]
    names = {one["VisibilityConfig"]["MetricName"] for one in seen}
    assert len(names) == len(seen)
    assert not {name.lower() for name in names} & {"all", "default_action"}


def test_the_firewall_counts_what_prompts_look_like_and_blocks_the_rest(synthesised):
    for stage in ("prod", "steady", "inner"):
        front = synthesised.stack(stage, "Router")
        rules = {rule["Name"]: rule for rule in front.one("WAFv2::WebACL")["Rules"]}
        assert rules["rate"]["Action"] == {"Block": {}}
        common = rules["AWSManagedRulesCommonRuleSet"]["Statement"]["ManagedRuleGroupStatement"]
        counted = {one["Name"] for one in common["RuleActionOverrides"]}
        assert "SizeRestrictions_BODY" in counted
        assert all(name.endswith("_BODY") for name in counted)
        assert front.one("WAFv2::WebACLAssociation")
    assert not synthesised.stack("dev", "Router").all("WAFv2::WebACL")


def test_a_network_has_the_doors_that_its_stage_uses(synthesised):
    def doors(stage):
        found = synthesised.stack(stage, "Router").all("EC2::VPCEndpoint")
        return {plain(one["ServiceName"]).split(".", 3)[3] for one in found}

    usual = {"s3", "dynamodb", "appconfigdata", "kinesis-firehose", "secretsmanager"}
    usual |= {"sagemaker.runtime", "sagemaker.api"}
    assert doors("prod") == usual
    assert doors("inner") == usual | {"execute-api"}
    assert doors("steady") == usual | {"ecr.api", "ecr.dkr", "logs"}


def test_the_network_keeps_out_of_a_zone_that_lacks_services(synthesised):
    """Letters are each account's own: the first two may be such a zone (use1-az3)."""
    for stage, count in (("prod", 2), ("steady", 4)):
        subnets = synthesised.stack(stage, "Router").all("EC2::Subnet")
        assert len(subnets) == count
        assert not any("AvailabilityZone" in one for one in subnets)
        assert {one["AvailabilityZoneId"] for one in subnets} == {"use1-az4", "use1-az6"}


def test_elsewhere_the_network_takes_the_regions_first_zones():
    stage = replace(examples()["prod"], name="west", region="eu-west-1")
    stack = Zoned(cdk.App(context=dict(context())), "west")
    Network(stack, "Network", stage=stage)
    subnets = Template(assertions.Template.from_stack(stack).to_json()).all("EC2::Subnet")
    assert [one["AvailabilityZone"]["Fn::Select"][0] for one in subnets] == [0, 1]
    assert not any("AvailabilityZoneId" in one for one in subnets)


def test_the_service_is_reached_by_tls_and_has_no_address_of_its_own(synthesised):
    front = synthesised.stack("steady", "Router")
    (listener,) = front.all("ElasticLoadBalancingV2::Listener")
    assert (listener["Port"], listener["Protocol"]) == (443, "HTTPS")
    service = front.one("ECS::Service")
    network = service["NetworkConfiguration"]["AwsvpcConfiguration"]
    assert network["AssignPublicIp"] == "DISABLED"
    assert service["DeploymentConfiguration"]["DeploymentCircuitBreaker"]["Rollback"]
    task = front.one("ECS::TaskDefinition")
    assert task["RuntimePlatform"]["CpuArchitecture"] == "ARM64"
    (container,) = task["ContainerDefinitions"]
    assert container["ReadonlyRootFilesystem"]
    variables = {one["Name"]: one["Value"] for one in container["Environment"]}
    assert (variables["SLUICE_ROUTER_ON"], variables["SLUICE_HOST"]) == ("fargate", "0.0.0.0")
    assert front.one("ApplicationAutoScaling::ScalableTarget")["MaxCapacity"] == 10


def test_a_task_may_write_where_its_state_is_mounted(synthesised):
    """Fargate's volume is root's and 0755 unless the image names its folder a VOLUME."""
    (container,) = synthesised.stack("steady", "Router").one("ECS::TaskDefinition")[
        "ContainerDefinitions"
    ]
    lines = (ROOT / "router" / "container" / "Dockerfile").read_text("utf-8").splitlines()
    for mount in container["MountPoints"]:
        assert f'VOLUME ["{mount["ContainerPath"]}"]' in lines


def test_a_task_is_not_replaced_because_its_fleets_are_down(synthesised):
    group = synthesised.stack("steady", "Router").one("ElasticLoadBalancingV2::TargetGroup")
    assert group["HealthCheckPath"] == "/healthz"


def test_streams_of_a_task_that_goes_have_minutes_to_end(synthesised):
    group = synthesised.stack("steady", "Router").one("ElasticLoadBalancingV2::TargetGroup")
    told = {one["Key"]: one["Value"] for one in group["TargetGroupAttributes"]}
    assert told["deregistration_delay.timeout_seconds"] == "300"


def test_the_balancer_ends_an_idle_connection_before_the_router_does(synthesised):
    balancer = synthesised.stack("steady", "Router").one("ElasticLoadBalancingV2::LoadBalancer")
    told = {one["Key"]: one["Value"] for one in balancer["LoadBalancerAttributes"]}
    assert int(told["idle_timeout.timeout_seconds"]) < BALANCED_KEEP_ALIVE_S


def test_in_china_the_layer_is_for_x86():
    said = adapter.layer_arn("aws-cn", "cn-north-1")
    assert said == "arn:aws-cn:lambda:cn-north-1:041581134020:layer:LambdaAdapterLayerX86:26"
    assert adapter.layer_arn("aws", "cn-north-1") is None
