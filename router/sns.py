"""An SNS topic that alerts are published to. boto3 comes with the extra `aws`.

A topic is named by its ARN, ``arn:aws:sns:REGION:ACCOUNT:NAME`` (aws-cn and aws-us-gov too); whom
the call is made as is boto3's own matter: the environment, a profile, the machine's role.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from router.faults import MissingPart

CONNECT_S: Final = 3.0
TIMEOUT_S: Final = 5.0  # a thread can't be stopped: at the end this is waited for
SUBJECT_CHARS: Final = 100  # SNS takes no more

_ARN = re.compile(r"arn:(?:aws|aws-cn|aws-us-gov):sns:([a-z0-9-]+):[0-9]{12}:([A-Za-z0-9_.-]+)")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,256}")
_SHAPE = "arn:aws:sns:REGION:ACCOUNT:NAME, the account 12 digits"


def objection(arn: str) -> str | None:
    """Return why this is no topic that can be told, or None."""
    found = _ARN.fullmatch(arn)
    if found is None:
        return f"`{arn}` is no ARN of an SNS topic ({_SHAPE})"
    if found[2].endswith(".fifo"):
        return f"`{arn}` is a FIFO topic, which can't be told: take a standard one"
    if not _NAME.fullmatch(found[2]):
        return f"`{found[2]}` is no topic's name (letters, digits, `-` and `_`, at most 256)"
    return None


class Topic:
    """Raises ValueError for an ARN that is none, MissingPart without boto3."""

    def __init__(self, arn: str) -> None:
        wrong = objection(arn)
        if wrong is not None:
            raise ValueError(wrong)
        try:
            import boto3  # noqa: PLC0415  (0.2 s, and only for who has a topic)
            import botocore.config  # noqa: PLC0415
            import botocore.exceptions  # noqa: PLC0415
        except ImportError:
            said = "an SNS topic of `--alerts` needs the extra `aws`: install `sluice[aws]`"
            raise MissingPart(said) from None
        config = botocore.config.Config(
            connect_timeout=CONNECT_S,
            read_timeout=TIMEOUT_S,
            retries={"total_max_attempts": 1},  # who sends tries again
        )
        region = arn.split(":")[3]
        self._client: Any = boto3.Session().client("sns", region_name=region, config=config)
        self._errors = (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError)
        self._arn = arn

    async def send(self, message: Mapping[str, object]) -> str | None:
        """Publish it once; return why that failed, or None."""
        return await asyncio.to_thread(self._publish, subject_of(message), orjson.dumps(message))

    async def aclose(self) -> None:
        self._client.close()

    def _publish(self, subject: str, message: bytes) -> str | None:
        try:
            self._client.publish(TopicArn=self._arn, Subject=subject, Message=message.decode())
        except self._errors as exc:
            answer = getattr(exc, "response", None) or {}  # of who didn't answer it is None
            code = answer.get("Error", {}).get("Code")
            return str(code or type(exc).__name__)
        return None


def subject_of(message: Mapping[str, object]) -> str:
    """Return a line of printable ASCII, which is what SNS takes as a subject."""
    text = "sluice: budget {budget} has spent {share:.0%} ({value})"
    if "canary" in message:
        text = "sluice: canary {canary} of policy {policy} is stopped"
    text = text.format_map(message)
    printable = "".join(char if " " <= char <= "~" else "?" for char in text)
    return printable[:SUBJECT_CHARS]
