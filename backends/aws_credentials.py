"""Whom AWS is called as: what any AWS tool finds in environment, profile, container or machine.

botocore (of the extra `aws`) looks and renews; it is imported by whoever opens a chain, not before.
"""

import importlib.util
import re
from typing import Any

from backends.base import Misconfigured, MissingPackage
from backends.sigv4 import Credentials

NONE_FOUND = "no AWS credentials are found: set them as for any AWS tool"

_VISIBLE = re.compile(r"[!-~]+")


class Chain:
    """Everything here may wait for the network: call it from a thread. Raises MissingPackage."""

    def __init__(self) -> None:
        if importlib.util.find_spec("botocore") is None:
            raise MissingPackage("`kind: sagemaker` needs the extra `aws`: install `sluice[aws]`")
        import botocore.session  # noqa: F401, PLC0415 (0.4 s, at the start and not in a request)

        self._found: Any = None

    def read(self) -> Credentials:
        """Return what is good now; renewed, if it ends soon. Raises Misconfigured."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 (as above)
        from botocore.session import Session  # noqa: PLC0415 (as above)

        try:
            if self._found is None:
                self._found = Session().get_credentials()
            if self._found is None:
                raise Misconfigured(NONE_FOUND)
            frozen = self._found.get_frozen_credentials()
        except (BotoCoreError, ClientError) as exc:
            self._found = None
            said = f"the AWS credentials can't be had ({type(exc).__name__})"
            raise Misconfigured(said) from None
        parts = [frozen.access_key, frozen.secret_key]
        parts += [frozen.token] if frozen.token else []
        if not all(isinstance(part, str) and _VISIBLE.fullmatch(part) for part in parts):
            raise Misconfigured("the AWS credentials have characters that no header may have")
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token or None)

    def forget(self) -> None:
        """Look anew the next time: a file or an environment may hold others now."""
        self._found = None
