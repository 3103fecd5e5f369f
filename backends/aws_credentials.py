"""Whom AWS is called as: what any AWS tool finds in environment, profile, container or machine.

botocore (of the extra `aws`) looks and renews; it is imported by whoever opens a chain, not before.
Who finds all in the environment, as on Lambda, needs no chain.
"""

import importlib.util
import re
from collections.abc import Mapping
from typing import Any

from backends.base import Misconfigured, MissingPackage
from backends.sigv4 import Credentials

NONE_FOUND = "no AWS credentials are found: set them as for any AWS tool"

_VISIBLE = re.compile(r"[!-~]+")
_SAGEMAKER = "`kind: sagemaker`"


class NoneFound(Misconfigured):
    """There are no credentials anywhere."""


class Given:
    """Those of an environment, which doesn't change."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def read(self) -> Credentials:
        return self._credentials

    def forget(self) -> None:
        pass


class Chain:
    """Everything here may wait for the network: call it from a thread. `who` needs it, for a
    message. Raises MissingPackage.
    """

    def __init__(self, who: str = _SAGEMAKER) -> None:
        if importlib.util.find_spec("botocore") is None:
            raise MissingPackage(f"{who} needs the extra `aws`: install `sluice[aws]`")
        import botocore.session  # noqa: F401, PLC0415 (0.4 s, at the start and not in a request)

        self._found: Any = None

    def read(self) -> Credentials:
        """Return what is good now; renewed, if it ends soon. Raises Misconfigured."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 (as above)
        from botocore.session import Session  # noqa: PLC0415 (as above)

        try:
            if self._found is None:
                self._found = Session().get_credentials()
            found = self._found
            if found is None:
                raise NoneFound(NONE_FOUND)
            frozen = found.get_frozen_credentials()
        except (BotoCoreError, ClientError) as exc:
            self._found = None
            said = f"the AWS credentials can't be had ({type(exc).__name__})"
            raise Misconfigured(said) from None
        return _checked(frozen.access_key, frozen.secret_key, frozen.token or None)

    def region(self) -> str | None:
        """Return the region that the profile names, if any."""
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415 (as above)
        from botocore.session import Session  # noqa: PLC0415 (as above)

        try:
            return Session().get_config_variable("region") or None
        except BotoCoreError:
            return None

    def forget(self) -> None:
        """Look anew the next time: a file or an environment may hold others now."""
        self._found = None


def given(environment: Mapping[str, str]) -> Given | None:
    """Return the credentials that an environment holds whole, or None. Raises Misconfigured."""
    access_key = environment.get("AWS_ACCESS_KEY_ID")
    secret_key = environment.get("AWS_SECRET_ACCESS_KEY")
    if not access_key or not secret_key:
        return None
    return Given(_checked(access_key, secret_key, environment.get("AWS_SESSION_TOKEN") or None))


def _checked(access_key: str, secret_key: str, token: str | None) -> Credentials:
    parts = (access_key, secret_key) if token is None else (access_key, secret_key, token)
    if not all(isinstance(part, str) and _VISIBLE.fullmatch(part) for part in parts):
        raise Misconfigured("the AWS credentials have characters that no header may have")
    return Credentials(access_key, secret_key, token)
