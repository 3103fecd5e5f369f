"""Where the stage tells of itself: alarms, budgets' alerts, AWS Budgets."""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from router.deploy.stage import Stage

# Once a topic has a policy of its own, what AWS lets the account's services do by default is gone.
TELLERS = ("cloudwatch.amazonaws.com", "budgets.amazonaws.com")


class Topic(Construct):
    """One topic, by TLS only; `stage.alarm_email` is subscribed and has to confirm it once.

    It has no key of ours: SNS encrypts its disks, a key costs $1 a month, and no message holds
    more than names of alarms and budgets, shares and sums.
    """

    def __init__(self, scope: Construct, construct_id: str, *, stage: Stage) -> None:
        super().__init__(scope, construct_id)
        self.topic = sns.Topic(self, "Topic", topic_name=f"{stage.prefix}-alarms", enforce_ssl=True)
        for service in TELLERS:
            self.topic.add_to_resource_policy(
                iam.PolicyStatement(
                    sid=service.split(".", maxsplit=1)[0].capitalize(),
                    principals=[iam.ServicePrincipal(service)],
                    actions=["sns:Publish"],
                    resources=[self.topic.topic_arn],
                    conditions={"StringEquals": {"aws:SourceAccount": cdk.Aws.ACCOUNT_ID}},
                )
            )
        if stage.alarm_email is not None:
            self.topic.add_subscription(subscriptions.EmailSubscription(stage.alarm_email))
