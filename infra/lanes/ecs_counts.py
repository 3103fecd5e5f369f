"""How many tasks a service has while CloudFormation changes it: as many as it had."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from aws_cdk import Aws, CustomResource, RemovalPolicy, Stack, Token, custom_resources
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.lanes.waiting import explain, handler_of, role_of
from infra.reasons import acknowledge
from router import lane_names
from router.deploy.stage import Stage

ANY: Final = "one function for all services of the stage's cluster, which it can only look at"


class Counts(Construct):
    """The function that is asked, once for all services of a stage."""

    def __init__(self, scope: Construct, construct_id: str, *, stage: Stage) -> None:
        super().__init__(scope, construct_id)
        self._cluster = lane_names.cluster(stage.name)
        log = logs.LogGroup(
            self,
            "Log",
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=RemovalPolicy.DESTROY,
        )
        role = role_of(self, "Role", log)
        services = f"service/{self._cluster}/*"
        arn = f"arn:{Aws.PARTITION}:ecs:{Aws.REGION}:{Aws.ACCOUNT_ID}:{services}"
        role.add_to_policy(iam.PolicyStatement(actions=["ecs:DescribeServices"], resources=[arn]))
        said = f"arn:<AWS::Partition>:ecs:<AWS::Region>:<AWS::AccountId>:{services}"
        acknowledge(role, {f"IAM5[Resource::{said}]": ANY})
        handler = handler_of(self, "Handler", "counts.on_event", stage, role, log)
        framework = role_of(self, "FrameworkRole", log)
        provider = custom_resources.Provider(
            self,
            "Ask",
            on_event_handler=handler,
            framework_on_event_role=framework,
            log_group=log,
        )
        explain(provider, [framework, provider], [handler])
        self._token = provider.service_token

    def of(self, scope: Construct, title: str, name: str, given: Mapping[str, Any]) -> float:
        """Return the count as a token; it is asked for anew when anything of `given`, the service's
        properties, changes: only then CloudFormation sends the service to ECS.
        """
        stack = Stack.of(scope)
        whole = json.dumps(stack.resolve(dict(given)), sort_keys=True, default=str)
        asked = CustomResource(
            scope,
            title,
            service_token=self._token,
            resource_type="Custom::SluiceCount",
            properties={
                "Cluster": self._cluster,
                "Service": name,
                "Task": given["task_definition"],
                "Of": hashlib.sha256(whole.encode()).hexdigest()[:16],
            },
        )
        return Token.as_number(asked.get_att("Count"))
