"""The CDK's provider of custom resources with our handlers in it: it makes CloudFormation wait."""

from collections.abc import Iterable
from typing import Final

from aws_cdk import Duration, RemovalPolicy, Stack, custom_resources
from aws_cdk import aws_codebuild as codebuild
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct, IConstruct

from infra.paths import ROOT
from infra.reasons import acknowledge
from infra.worker import LAMBDA
from router.deploy import adapter
from router.deploy.stage import Stage

HANDLERS: Final = ROOT / "infra" / "lanes" / "building"
LOOK_EVERY_S: Final = 15
WAIT_MINUTES: Final = 55  # CloudFormation itself gives up after an hour


def waiting(
    scope: Construct, stage: Stage, project: codebuild.Project, repository: ecr.Repository
) -> custom_resources.Provider:
    """Return what starts the project's build and waits for its image."""
    log = logs.LogGroup(
        scope,
        "WaitLog",
        retention=logs.RetentionDays.ONE_MONTH,
        removal_policy=RemovalPolicy.DESTROY,
    )
    may = {
        "on_event": [
            (["ecr:DescribeImages"], repository.repository_arn),
            (["codebuild:StartBuild"], project.project_arn),
        ],
        "is_complete": [
            (["ecr:DescribeImages"], repository.repository_arn),
            (["codebuild:BatchGetBuilds"], project.project_arn),
        ],
    }
    handlers = {}
    for name, rights in may.items():
        title = name.title().replace("_", "")
        role = role_of(scope, f"{title}Role", log)
        for actions, on in rights:
            role.add_to_policy(iam.PolicyStatement(actions=actions, resources=[on]))
        handlers[name] = handler_of(scope, title, f"handlers.{name}", stage, role, log)
    framework = [role_of(scope, name, log) for name in ("BeginRole", "EndRole")]
    provider = custom_resources.Provider(
        scope,
        "Wait",
        on_event_handler=handlers["on_event"],
        is_complete_handler=handlers["is_complete"],
        framework_on_event_role=framework[0],
        framework_complete_and_timeout_role=framework[1],
        query_interval=Duration.seconds(LOOK_EVERY_S),
        total_timeout=Duration.minutes(WAIT_MINUTES),
        log_group=log,
        disable_waiter_state_machine_logging=True,
    )
    explain(provider, [*framework, provider], handlers.values())
    return provider


def role_of(scope: Construct, construct_id: str, log: logs.LogGroup) -> iam.Role:
    role = iam.Role(scope, construct_id, assumed_by=iam.ServicePrincipal(LAMBDA))
    log.grant_write(role)
    return role


def handler_of(
    scope: Construct, title: str, handler: str, stage: Stage, role: iam.Role, log: logs.LogGroup
) -> lambda_.Function:
    x86 = adapter.is_x86(stage.partition)
    made = lambda_.Function(
        scope,
        title,
        runtime=lambda_.Runtime.PYTHON_3_13,
        architecture=lambda_.Architecture.X86_64 if x86 else lambda_.Architecture.ARM_64,
        handler=handler,
        code=lambda_.Code.from_asset(str(HANDLERS), exclude=["__pycache__", "*.pyc"]),
        role=role,
        log_group=log,
        timeout=Duration.minutes(1),
    )
    acknowledge(made, {"L1": "Python as all functions of the stage have it"})
    return made


def explain(
    provider: custom_resources.Provider,
    invoking: Iterable[IConstruct],
    handlers: Iterable[lambda_.Function],
) -> None:
    reasons = {
        "L1": "the CDK chooses the runtime of its own functions",
        "SF1": "each step is a call of a function, which has a log",
        "SF2": "it runs for minutes while the stage is deployed",
    }
    acknowledge(provider, reasons)
    stack = Stack.of(provider)
    inside = [each for each in provider.node.find_all() if isinstance(each, lambda_.CfnFunction)]
    called = [*inside, *(each.node.default_child for each in handlers)]
    names = [stack.get_logical_id(each) for each in called if isinstance(each, lambda_.CfnFunction)]
    rules = [f"IAM5[Resource::<{stack.resolve(name)}.Arn>:*]" for name in names]
    for each in invoking:
        acknowledge(each, dict.fromkeys(rules, "the CDK's own: any version of one function"))
