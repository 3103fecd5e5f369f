"""Templates with their references in the place of names: what CloudFormation would make of them.

Names that only AWS can know (ids of AppConfig, of a role, of a log group) are the logical id. What
is not known here is an error, never a guess that would let a policy's statement match.
"""

PSEUDO = {"AWS::Partition": "partition", "AWS::Region": "region", "AWS::AccountId": "account"}
SHAPES = {
    "AWS::CloudWatch::Alarm": ("cloudwatch", "alarm:{AlarmName}"),
    "AWS::CloudWatch::CompositeAlarm": ("cloudwatch", "alarm:{AlarmName}"),
    "AWS::DynamoDB::Table": ("dynamodb", "table/{TableName}"),
    "AWS::IAM::Role": ("iam", "role/{id}"),
    "AWS::KMS::Key": ("kms", "key/{id}"),
    "AWS::KinesisFirehose::DeliveryStream": ("firehose", "deliverystream/{DeliveryStreamName}"),
    "AWS::Lambda::Function": ("lambda", "function:{FunctionName}"),
    "AWS::Logs::LogGroup": ("logs", "log-group:{LogGroupName}:*"),
    "AWS::SNS::Topic": ("sns", "{TopicName}"),
    "AWS::SQS::Queue": ("sqs", "{QueueName}"),
    "AWS::Events::Rule": ("events", "rule/{id}"),
}
NAMED = {
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::DynamoDB::Table": "TableName",
    "AWS::KinesisFirehose::DeliveryStream": "DeliveryStreamName",
    "AWS::Lambda::Function": "FunctionName",
}


class Stacks:
    """The templates of one stage, by the stacks' names."""

    def __init__(self, templates, *, account, region, partition="aws"):
        self.templates = templates
        self.world = {"account": account, "region": region, "partition": partition}
        self.prefix = next(iter(templates)).rpartition("-")[0]

    def of(self, name):
        """Return the resources of the stack whose name ends so, by logical id."""
        return next(t for n, t in self.templates.items() if n.endswith(f"-{name}"))["Resources"]

    def all(self, kind):
        """Return (logical id, properties) of a kind of resource, of every stack, resolved."""
        return [
            (logical_id, self.resolve(name, resource.get("Properties", {})))
            for name, template in self.templates.items()
            for logical_id, resource in template["Resources"].items()
            if resource["Type"] == kind
        ]

    def resolve(self, stack, value):
        if isinstance(value, list):
            return [self.resolve(stack, one) for one in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            name, of = next(iter(value.items()))
            if name == "Ref" or name.startswith("Fn::"):
                return self._reference(stack, name, of)
        return {key: self.resolve(stack, one) for key, one in value.items()}

    def _reference(self, stack, name, of):
        if name == "Ref":
            return self.world[PSEUDO[of]] if of in PSEUDO else self._ref(stack, of)
        if name == "Fn::Join":
            return of[0].join(self.resolve(stack, of[1]))
        if name == "Fn::GetAtt":
            return self._attribute(stack, *of)
        if name == "Fn::GetStackOutput":
            output = self.templates[of["StackName"]]["Outputs"][of["OutputName"]]
            return self.resolve(of["StackName"], output["Value"])
        if name == "Fn::ImportValue":
            return self._exported(of)
        return f"<{name} {of}>"  # nothing that a policy's statement could match

    def _exported(self, wanted):
        for stack, template in self.templates.items():
            for output in template.get("Outputs", {}).values():
                if output.get("Export", {}).get("Name") == wanted:
                    return self.resolve(stack, output["Value"])
        raise KeyError(wanted)

    def _ref(self, stack, logical_id):
        template = self.templates[stack]
        if logical_id in template.get("Parameters", {}):
            return f"<parameter {logical_id}>"
        resource = template["Resources"][logical_id]
        kind = resource["Type"]
        if kind == "AWS::SNS::Topic":
            return self._attribute(stack, logical_id, "TopicArn")
        if kind in NAMED and NAMED[kind] in resource["Properties"]:
            return self.resolve(stack, resource["Properties"][NAMED[kind]])
        return logical_id

    def _attribute(self, stack, logical_id, attribute):
        resource = self.templates[stack]["Resources"][logical_id]
        kind = resource["Type"]
        if kind == "AWS::S3::Bucket" and attribute == "Arn":
            return f"arn:{self.world['partition']}:s3:::{logical_id.lower()}"
        if attribute in ("Arn", "TopicArn", "StreamArn") and kind in SHAPES:
            service, shape = SHAPES[kind]
            properties = self.resolve(stack, resource.get("Properties", {}))
            what = shape.format_map({"id": logical_id, NAMED.get(kind): logical_id, **properties})
            region = "" if service == "iam" else self.world["region"]
            arn = f"arn:{self.world['partition']}:{service}:{region}:{self.world['account']}"
            return f"{arn}:{what}" + ("/stream/2026" if attribute == "StreamArn" else "")
        return f"<{logical_id}.{attribute}>"
