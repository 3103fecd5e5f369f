"""Principals of AWS: an ARN, or a pattern of them, as a value. Pure.

An assumed role is the role, whatever its session is called: whoever assumes it chooses that name,
and a budget per identity must not be left by choosing another. AWS drops a role's path there, and
names of roles and users are unique in an account without their paths: paths are not compared.
"""

import re
from dataclasses import dataclass

VALID = "`arn:aws:iam::111122223333:role/NAME` or `:user/NAME`; a `*` may end the name"
_ARN = re.compile(
    r"arn:(?P<partition>aws[a-z-]{0,20}):(?P<service>iam|sts)::(?P<account>[0-9]{12}):"
    r"(?P<kind>role|user|assumed-role|federated-user|root)(?:/(?P<rest>[!-~]{1,700}))?"
)
_NAME = re.compile(r"[\w+=,.@-]{1,128}", re.ASCII)
_KINDS = {("iam", "role"), ("iam", "user"), ("iam", "root")}
_KINDS |= {("sts", "assumed-role"), ("sts", "federated-user")}


@dataclass(frozen=True, slots=True)
class Principal:
    """`name` of a pattern may end with `*`; it is empty of the account's root."""

    partition: str
    account: str
    kind: str
    name: str

    def covers(self, other: "Principal") -> bool:
        """Tell whether every principal that fits the other one fits this one."""
        here = (self.partition, self.account, self.kind)
        if here != (other.partition, other.account, other.kind):
            return False
        if self.name.endswith("*"):
            return other.name.startswith(self.name[:-1])
        return self.name == other.name

    def __str__(self) -> str:
        service = "sts" if self.kind == "federated-user" else "iam"
        name = f"/{self.name}" if self.name else ""
        return f"arn:{self.partition}:{service}::{self.account}:{self.kind}{name}"


def principal(arn: str) -> Principal | None:
    """Return who this ARN is, or None if it is none that can sign a request."""
    found = _ARN.fullmatch(arn)
    if found is None or (found["service"], found["kind"]) not in _KINDS:
        return None
    kind, rest = found["kind"], found["rest"]
    if kind == "root":
        return None if rest else Principal(found["partition"], found["account"], kind, "")
    parts = (rest or "").split("/")
    if kind == "assumed-role":  # NAME/SESSION
        if len(parts) != 2 or not _NAME.fullmatch(parts[1]):  # noqa: PLR2004  (as said)
            return None
        kind, name = "role", parts[0]
    else:
        name = parts[-1]
    if not _NAME.fullmatch(name):
        return None
    return Principal(found["partition"], found["account"], kind, name)


def pattern(arn: str) -> Principal | str:
    """Return the principals that are meant, or what is wrong with how they are written."""
    open_end = arn.endswith("*")
    plain = arn[:-1] + "x" if open_end else arn
    found = principal(plain)
    if found is None or (open_end and found.kind == "root"):
        return f"not the ARN of a principal (valid: {VALID})"
    if ":assumed-role/" in arn:
        return f"write the role itself, not a session of it (valid: {VALID})"
    if not open_end:
        return found
    return Principal(found.partition, found.account, found.kind, found.name[:-1] + "*")
