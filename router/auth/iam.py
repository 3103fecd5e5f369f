"""The third verifier: the AWS principal that API Gateway or a function URL let in. Pure.

With IAM auth AWS has checked the caller's signature and tells who signed in the request context,
which the Lambda Web Adapter hands on as a header. Anybody can write such a header: this verifier
exists only inside Lambda (router/auth/__init__.py), where the adapter replaces what a caller wrote.
"""

from collections.abc import Mapping
from dataclasses import replace

import orjson

from router.auth.arn import principal
from router.auth.rules import IamRules
from router.errors import Refusal
from router.identity import CONTEXT, Key

MOST_BYTES = 65_536


class Principals:
    """Believes the request context, and knows who its principals are here."""

    def __init__(self, rules: IamRules) -> None:
        self._rules = rules

    async def verify(self, headers: Mapping[bytes, bytes], _at: str) -> Key | Refusal | None:
        """Return who signed the request; None: nobody did, this route has no IAM auth."""
        arn = _user_arn(headers.get(CONTEXT, b""))
        if arn is None:
            return None
        who = principal(arn)
        if who is not None:
            for listed, key in self._rules.principals:
                if listed.covers(who):
                    return replace(key, id=f"iam:{who}")
        shown = "of a kind that is not known here" if who is None else f"`{who}`"
        said = f"the AWS principal {shown} is nobody's here: `iam.principals` lists who is"
        return Refusal(403, said, "identity_not_mapped")


def _user_arn(context: bytes) -> str | None:
    """Return `userArn` of a REST API's context, or of an HTTP API's or function URL's."""
    if not context or len(context) > MOST_BYTES:
        return None
    try:
        said = orjson.loads(context)
    except ValueError:
        return None
    for way in (("identity", "userArn"), ("authorizer", "iam", "userArn")):
        value: object = said
        for name in way:
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, str) and value:
            return value
    return None
