"""Where each kind of resource of the templates is in the plan, or why it costs nothing.

A test holds it against every resource of both sizes: what is added to the templates must be added
here, with its price or with the reason why it has none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Free:
    """No price of its own: why."""

    why: str


@dataclass(frozen=True, slots=True)
class Paid:
    """`lines`: keys of the plan's lines (ids of backends/data/aws.yaml) that pay for it."""

    lines: tuple[str, ...]


def _paid(*lines: str) -> Paid:
    return Paid(lines)


_RIGHTS = Free("IAM costs nothing")
_OF_THE_API = Free("part of the API, which is paid for by request")
_OF_THE_VPC = Free("part of a VPC; without a NAT nothing of it costs")
_OF_APPCONFIG = Free("AppConfig is paid for by request and by configuration received")
_OF_THE_FLEET = Free("paid for by its instances: the fleet's own price, no line of the stage's")
_BY_CDK = Free("a helper of CloudFormation's, which runs while the stage is deployed or deleted")

COVERS: Final[Mapping[str, Paid | Free]] = {
    "AWS::ApiGateway::Account": Free("a setting of the account"),
    "AWS::ApiGateway::BasePathMapping": _OF_THE_API,
    "AWS::ApiGateway::Deployment": _OF_THE_API,
    "AWS::ApiGateway::DomainName": Free("API Gateway's domains cost nothing, nor does ACM"),
    "AWS::ApiGateway::Method": _OF_THE_API,
    "AWS::ApiGateway::Resource": _OF_THE_API,
    "AWS::ApiGateway::RestApi": _paid("api-request", "transfer-out"),
    "AWS::ApiGateway::Stage": _paid("api-request", "logs-gb"),
    "AWS::AppConfig::Application": _OF_APPCONFIG,
    "AWS::AppConfig::ConfigurationProfile": _OF_APPCONFIG,
    "AWS::AppConfig::Deployment": _OF_APPCONFIG,
    "AWS::AppConfig::DeploymentStrategy": _OF_APPCONFIG,
    "AWS::AppConfig::Environment": _paid("appconfig-request"),
    "AWS::AppConfig::HostedConfigurationVersion": _OF_APPCONFIG,
    "AWS::ApplicationAutoScaling::ScalableTarget": Free("scaling is free; its tasks are not"),
    "AWS::ApplicationAutoScaling::ScalingPolicy": Free("scaling is free; its tasks are not"),
    "AWS::Athena::NamedQuery": Free("a query costs $5 per TB that it scans, when somebody runs it"),
    "AWS::Athena::WorkGroup": Free("a query costs $5 per TB that it scans, when somebody runs it"),
    "AWS::AutoScaling::AutoScalingGroup": Free("its machines are the fleet's, by its catalogue"),
    "AWS::Budgets::Budget": Free("a budget that only tells costs nothing"),
    "AWS::CloudWatch::Alarm": _paid("alarm-metric"),
    "AWS::CloudWatch::AnomalyDetector": Free("paid for by its alarm, as three metrics"),
    "AWS::CloudWatch::CompositeAlarm": _paid("composite-alarm"),
    "AWS::CloudWatch::Dashboard": _paid("dashboard"),
    "AWS::CodeBuild::Project": _paid("codebuild-arm-minute", "codebuild-minute"),
    "AWS::CodeDeploy::Application": Free("CodeDeploy is free for Lambda"),
    "AWS::CodeDeploy::DeploymentGroup": Free("CodeDeploy is free for Lambda"),
    "AWS::CodeDeploy::DeploymentConfig": Free("CodeDeploy is free for Lambda"),
    "AWS::DynamoDB::Table": _paid("dynamodb-write", "dynamodb-read", "dynamodb-gb"),
    "AWS::EC2::EIP": _paid("public-ipv4"),
    "AWS::EC2::FlowLog": _paid("logs-gb"),
    "AWS::EC2::InternetGateway": _OF_THE_VPC,
    "AWS::EC2::Route": _OF_THE_VPC,
    "AWS::EC2::LaunchTemplate": _paid("ebs-gb", "ebs-iops", "ebs-mbps"),
    "AWS::EC2::RouteTable": _OF_THE_VPC,
    "AWS::EC2::SecurityGroup": _OF_THE_VPC,
    "AWS::EC2::SecurityGroupEgress": _OF_THE_VPC,
    "AWS::EC2::SecurityGroupIngress": _OF_THE_VPC,
    "AWS::EC2::Subnet": _OF_THE_VPC,
    "AWS::EC2::SubnetRouteTableAssociation": _OF_THE_VPC,
    "AWS::EC2::VPC": _OF_THE_VPC,
    "AWS::EC2::VPCEndpoint": _paid("endpoint-hour", "endpoint-gb"),
    "AWS::EC2::VPCGatewayAttachment": _OF_THE_VPC,
    "AWS::ECR::Repository": _paid("ecr-gb"),
    "AWS::ECS::CapacityProvider": Free("what it adds and takes away are the fleet's machines"),
    "AWS::ECS::Cluster": _paid("metric"),
    "AWS::ECS::ClusterCapacityProviderAssociations": Free("a setting of the cluster"),
    "AWS::ECS::Service": _paid("fargate-vcpu", "fargate-gb", "ebs-gb"),  # on Fargate, on machines
    "AWS::ECS::TaskDefinition": Free("paid for by the service that runs it"),
    "AWS::EKS::AccessEntry": Free("part of the cluster"),
    "AWS::EKS::Cluster": _paid("eks-hour", "eks-auto"),
    "AWS::EKS::PodIdentityAssociation": Free("part of the cluster"),
    "AWS::ElasticLoadBalancingV2::Listener": Free("part of the load balancer"),
    "AWS::ElasticLoadBalancingV2::ListenerRule": Free("an LCU-hour has 1,000 evaluated a second"),
    "AWS::ElasticLoadBalancingV2::LoadBalancer": _paid("alb-hour", "alb-lcu"),
    "AWS::ElasticLoadBalancingV2::TargetGroup": Free("part of the load balancer"),
    "AWS::Events::Rule": Free("rules on a schedule and events of AWS's own cost nothing"),
    "AWS::Glue::Database": Free("$1 a month for 100,000 objects of the catalogue: five are here"),
    "AWS::Glue::Table": Free("$1 a month for 100,000 objects of the catalogue: five are here"),
    "AWS::IAM::InstanceProfile": _RIGHTS,
    "AWS::IAM::ManagedPolicy": _RIGHTS,
    "AWS::IAM::Policy": _RIGHTS,
    "AWS::IAM::Role": _RIGHTS,
    "AWS::KMS::Alias": Free("part of the key"),
    "AWS::KMS::Key": _paid("kms-key", "kms-call"),
    "AWS::KinesisFirehose::DeliveryStream": _paid("firehose-gb"),
    "AWS::Lambda::Alias": Free("paid for by its calls; warm environments are a line of their own"),
    "AWS::Lambda::EventInvokeConfig": Free("a setting of a function"),
    "AWS::Lambda::EventSourceMapping": Free("Lambda's reads of the table's stream cost nothing"),
    "AWS::Lambda::Function": _paid("lambda-gb-second", "lambda-request"),
    "AWS::Lambda::LayerVersion": Free("a part of the function's code"),
    "AWS::Lambda::Permission": _RIGHTS,
    "AWS::Lambda::Version": Free("a version costs nothing; its calls do"),
    "AWS::Logs::LogGroup": _paid("logs-gb"),
    "AWS::Logs::LogStream": Free("part of its group"),
    "AWS::Logs::ResourcePolicy": _RIGHTS,
    "AWS::Route53::HostedZone": _paid("route53-zone"),
    "AWS::Route53::RecordSet": Free("an alias to AWS costs nothing; its zone is paid for"),
    "AWS::S3::Bucket": _paid("s3-put", "s3-gb"),
    "AWS::S3::BucketPolicy": _RIGHTS,
    "AWS::SNS::Subscription": Free("$2 per 100,000 mails: those of alarms are a handful"),
    "AWS::SNS::Topic": Free("$0.50 per million messages: those of alarms are a handful"),
    "AWS::SNS::TopicPolicy": _RIGHTS,
    # Where the stage takes no batches: it holds what failed, and nobody polls.
    "AWS::SQS::Queue": Free("$0.40 per million requests; what batches poll is a line of its own"),
    "AWS::SQS::QueuePolicy": _RIGHTS,
    "AWS::SageMaker::Endpoint": _OF_THE_FLEET,
    "AWS::SageMaker::EndpointConfig": _OF_THE_FLEET,
    "AWS::SageMaker::InferenceComponent": _OF_THE_FLEET,
    "AWS::SageMaker::Model": _OF_THE_FLEET,
    "AWS::StepFunctions::StateMachine": Free(
        "$25 per million transitions: it waits for a build, a few dozen of them"
    ),
    "AWS::WAFv2::WebACL": _paid("waf-acl", "waf-rule", "waf-request"),
    "AWS::WAFv2::WebACLAssociation": Free("part of the web ACL"),
    "AWS::CDK::Metadata": Free("a note of the CDK's"),
    "Custom::S3AutoDeleteObjects": _BY_CDK,
    "Custom::VpcRestrictDefaultSG": _BY_CDK,
    "Custom::AWS": _BY_CDK,
    "Custom::LogRetention": _BY_CDK,
    "Custom::SluiceCount": _BY_CDK,
    "Custom::SluiceImage": Free("it starts a build and waits for it; the build has its line"),
}
