"""A CloudFormation template as tests ask it."""

import json


class Template:
    """`resources` and `outputs` by their logical ids."""

    def __init__(self, template):
        self.resources = template["Resources"]
        self.outputs = template.get("Outputs", {})

    def all(self, kind):
        """Return the properties of all resources of this kind (`S3::Bucket`)."""
        return [
            resource.get("Properties", {})
            for resource in self.resources.values()
            if resource["Type"] == f"AWS::{kind}"
        ]

    def whole(self, kind):
        """Return them with what stands beside their properties."""
        return [one for one in self.resources.values() if one["Type"] == f"AWS::{kind}"]

    def one(self, kind):
        (found,) = self.all(kind)
        return found

    def text(self):
        return json.dumps(self.resources)

    def statements(self, *kinds):
        """Yield (logical id, statement) of every policy of these kinds."""
        for logical, resource in self.resources.items():
            if resource["Type"].removeprefix("AWS::") in kinds:
                given = resource["Properties"]
                documents = [given.get("PolicyDocument"), given.get("KeyPolicy")]
                documents += [one["PolicyDocument"] for one in given.get("Policies", ())]
                for document in filter(None, documents):
                    yield from ((logical, one) for one in document["Statement"])


def listed(value):
    return value if isinstance(value, list) else [value]


def plain(value):
    """Return a text with what is not known before the deployment as <...>."""
    if isinstance(value, str):
        return value
    if "Fn::Join" in value:
        between, parts = value["Fn::Join"]
        return between.join(map(plain, parts))
    if "Fn::Sub" in value:
        return listed(value["Fn::Sub"])[0]
    (found,) = value.values()
    return f"<{'.'.join(map(str, listed(found)))}>"
