"""Roles of a template, and what their policies allow: an evaluator for what ours say.

It knows Allow, actions and resources with `*` and `?`. Anything else in a role's policy (a
condition that is not one of BOUNDS, NotAction, Deny) is an error: so that nothing is taken for
allowed that isn't.
"""

import re
from dataclasses import dataclass

UNKNOWN = {"NotAction", "NotResource", "Principal"}
# Conditions that only bound a resource whose ARN can't be known; their tests read what they say.
BOUNDS = {
    "application-autoscaling:service-namespace",
    "application-autoscaling:scalable-dimension",
}


@dataclass(frozen=True)
class Allowed:
    """One action pattern on some resource patterns."""

    action: str
    resources: tuple[str, ...]

    def holds(self, action, resource):
        return matches(self.action, action) and any(matches(on, resource) for on in self.resources)


def matches(pattern, text):
    """Compare as IAM does: case counts in resources only, but our actions are spelt one way."""
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.fullmatch("".join(parts), text) is not None


def allowed_to(stacks, function_name):
    """Return all that the role of the function of this name may do."""
    roles = {
        properties["Role"]
        for _, properties in stacks.all("AWS::Lambda::Function")
        if properties.get("FunctionName") == function_name
    }
    assert len(roles) == 1, f"{function_name}: {roles}"
    role_id = roles.pop().rpartition("/")[2]
    return [one for statement in _of_role(stacks, role_id) for one in statement_of(statement)]


def conditions_of(stacks, function_name):
    """Return the conditions of all that the role of the function of this name may do."""
    (role,) = {
        properties["Role"]
        for _, properties in stacks.all("AWS::Lambda::Function")
        if properties.get("FunctionName") == function_name
    }
    statements = _of_role(stacks, role.rpartition("/")[2])
    return [statement["Condition"] for statement in statements if "Condition" in statement]


def _of_role(stacks, role_id):
    """Yield the statements of the role's policies."""
    made = dict(stacks.all("AWS::IAM::Role"))[role_id]
    assert not made.get("ManagedPolicyArns"), f"{role_id} has policies that others write"
    documents = [policy["PolicyDocument"] for policy in made.get("Policies", ())]
    documents += [
        properties["PolicyDocument"]
        for _, properties in stacks.all("AWS::IAM::Policy")
        if role_id in properties["Roles"]
    ]
    for document in documents:
        yield from document["Statement"]


def statement_of(statement):
    strange = UNKNOWN & set(statement)
    assert statement["Effect"] == "Allow", statement
    assert not strange, f"{strange} of {statement}"
    if "Condition" in statement:
        asked = {key for of in statement["Condition"].values() for key in of}
        assert asked, f"an empty Condition of {statement}"
        assert asked <= BOUNDS, f"a Condition of {statement}"
    resources = tuple(_list(statement["Resource"]))
    for action in _list(statement["Action"]):
        yield Allowed(action, resources)


def _list(value):
    return value if isinstance(value, list) else [value]
