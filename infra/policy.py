"""The policy in AppConfig: what checks it, how it goes out, and what takes it back.

The stack deploys the first version, and only that one: `FIRST` stands in the deployment, not a
reference to the version that this template makes. So no later update of the stack, whether its
policy file changed or not, touches what `sluice policy publish` has put in force since; a changed
file becomes a version that waits to be published.
"""

import aws_cdk as cdk
from aws_cdk import aws_appconfig as appconfig
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.metrics import metric, share
from infra.worker import Form, function
from policies.schema import appconfig_schema
from router.deploy.stage import Stage
from router.published_form import published_form
from router.sources import names_of

FIRST = "1"  # AppConfig counts a profile's hosted versions from here
APPCONFIG = "appconfig.amazonaws.com"
READ = ("appconfig:StartConfigurationSession", "appconfig:GetLatestConfiguration")
VALIDATOR = Form("validator", memory_mb=512, timeout_s=15)  # AppConfig waits no longer
ERRORS_PERCENT = 5
REFUSALS_PERCENT = 25  # callers' own mistakes are among them: wrong keys, unknown models


class Policy(Construct):
    """`reference` is what `--policy appconfig:` takes, `alarms` are what its going out is held
    against: with `monitors_alarm` AppConfig takes a version back when one of them rings.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        stage: Stage,
        code: lambda_.Code,
        monitors_alarm: bool,
    ) -> None:
        super().__init__(scope, construct_id)
        self.validator = function(self, VALIDATOR, stage=stage, code=code, environment={})
        # AppConfig's documentation names no condition on the account that it would meet.
        self.validator.add_permission("AppConfig", principal=iam.ServicePrincipal(APPCONFIG))
        self.alarms = _alarms(self, stage)
        application = appconfig.CfnApplication(self, "Application", name=stage.prefix)
        environment = appconfig.CfnEnvironment(
            self,
            "Environment",
            application_id=application.ref,
            name=stage.name,
            monitors=_monitors(self, self.alarms) if monitors_alarm else None,
        )
        profile = _profile(self, application.ref, self.validator.function_arn)
        profile.node.add_dependency(self.validator)  # and so on its permission
        self.application_id, self.environment_id = application.ref, environment.ref
        self.profile_id = profile.ref
        self.reference = f"{application.ref}/{environment.ref}/{profile.ref}"
        self._deploy_first(stage, _version(self, stage, application.ref, profile.ref))
        _strategy(self, "Linear", f"{stage.prefix}-linear", growth=20, minutes=10, bake=10)

    def grant_read(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let it read this configuration and no other."""
        return iam.Grant.add_to_principal(
            grantee=grantee,
            actions=list(READ),
            resource_arns=[
                cdk.Stack.of(self).format_arn(
                    service="appconfig",
                    resource="application",
                    resource_name=f"{self.application_id}/environment/{self.environment_id}"
                    f"/configuration/{self.profile_id}",
                )
            ],
        )

    @property
    def deployed_arns(self) -> list[str]:
        """Return what a listing of deployments is asked of."""
        arn = cdk.Stack.of(self).format_arn(
            service="appconfig", resource="application", resource_name=self.application_id
        )
        return [arn, f"{arn}/environment/{self.environment_id}"]

    def _deploy_first(self, stage: Stage, version: appconfig.CfnHostedConfigurationVersion) -> None:
        """At once: nobody is served by another policy yet, and nobody waits for ten minutes."""
        at_once = _strategy(self, "AtOnce", f"{stage.prefix}-first", growth=100, minutes=0, bake=0)
        deployment = appconfig.CfnDeployment(
            self,
            "First",
            application_id=self.application_id,
            environment_id=self.environment_id,
            configuration_profile_id=self.profile_id,
            configuration_version=FIRST,
            deployment_strategy_id=at_once.ref,
        )
        deployment.node.add_dependency(version)


def content(stage: Stage) -> str:
    """Return the stage's policy as `sluice policy publish` would publish it."""
    text = stage.policy_file.read_text("utf-8")
    return published_form(text, str(stage.policy_file), names_of(stage.catalogue))[0]


def _alarms(scope: Construct, stage: Stage) -> tuple[cloudwatch.Alarm, ...]:
    """What a policy can do wrong within minutes. Missing numbers are no requests, not faults."""
    watched: dict[str, tuple[cloudwatch.IMetric, int, str]] = {
        "errors": (share(stage, "Errors", minutes=1), ERRORS_PERCENT, "requests end in 5xx"),
        "refusals": (share(stage, "Refusals", minutes=1), REFUSALS_PERCENT, "requests are refused"),
        "stale-policy": (
            metric(stage, "PolicyStale", "Maximum"),
            1,
            "routers can't read or adopt the policy that is in force",
        ),
    }
    return tuple(
        cloudwatch.Alarm(
            scope,
            name.title().replace("-", ""),
            alarm_name=f"{stage.prefix}-{name}",
            alarm_description=f"policy: {said}",
            metric=measured,
            threshold=threshold,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            evaluation_periods=3,
            datapoints_to_alarm=2,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        for name, (measured, threshold, said) in watched.items()
    )


def _monitors(
    scope: Construct, alarms: tuple[cloudwatch.Alarm, ...]
) -> list[appconfig.CfnEnvironment.MonitorsProperty]:
    role = iam.Role(
        scope,
        "MonitorRole",
        assumed_by=iam.ServicePrincipal(APPCONFIG),
        inline_policies={
            "alarms": iam.PolicyDocument(
                statements=[
                    iam.PolicyStatement(
                        actions=["cloudwatch:DescribeAlarms"],
                        resources=[alarm.alarm_arn for alarm in alarms],
                    )
                ]
            )
        },
    )
    return [
        appconfig.CfnEnvironment.MonitorsProperty(
            alarm_arn=alarm.alarm_arn, alarm_role_arn=role.role_arn
        )
        for alarm in alarms
    ]


def _profile(
    scope: Construct, application: str, validator: str
) -> appconfig.CfnConfigurationProfile:
    return appconfig.CfnConfigurationProfile(
        scope,
        "Profile",
        application_id=application,
        name="policy",
        location_uri="hosted",
        type="AWS.Freeform",
        validators=[
            appconfig.CfnConfigurationProfile.ValidatorsProperty(
                type="JSON_SCHEMA", content=appconfig_schema()
            ),
            appconfig.CfnConfigurationProfile.ValidatorsProperty(type="LAMBDA", content=validator),
        ],
    )


def _version(
    scope: Construct, stage: Stage, application: str, profile: str
) -> appconfig.CfnHostedConfigurationVersion:
    version = appconfig.CfnHostedConfigurationVersion(
        scope,
        "Version",
        application_id=application,
        configuration_profile_id=profile,
        content=content(stage),
        content_type="application/json",
    )
    # The version before may be the one in force; with the stack it goes.
    version.cfn_options.update_replace_policy = cdk.CfnDeletionPolicy.RETAIN
    version.cfn_options.deletion_policy = cdk.CfnDeletionPolicy.DELETE
    return version


def _strategy(
    scope: Construct, construct_id: str, name: str, *, growth: int, minutes: int, bake: int
) -> appconfig.CfnDeploymentStrategy:
    return appconfig.CfnDeploymentStrategy(
        scope,
        construct_id,
        name=name,
        growth_type="LINEAR",
        growth_factor=growth,
        deployment_duration_in_minutes=minutes,
        final_bake_time_in_minutes=bake,
        replicate_to="NONE",
    )
