"""AWS Signature Version 4 for one service in one region. Pure: whoever signs gives the time.

botocore's does the same in three to four times the time (docs/decisions/0010); the tests hold every
signature against it.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

_ALGORITHM = "AWS4-HMAC-SHA256"
_NOTHING = hashlib.sha256(b"").hexdigest()
_END = "aws4_request"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Whom AWS is called as; `session_token` comes with those that expire."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


class Signer:
    """Signs with one set of credentials. Keeps the day's key: deriving it is most of the work."""

    def __init__(self, credentials: Credentials, region: str, service: str) -> None:
        self._credentials = credentials
        self._region = region
        self._service = service
        self._derived = ("", b"")  # one value: a thread that reads it gets a day with its own key

    def signed(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        now_s: float,
        query: str = "",
    ) -> dict[str, str]:
        """Return the headers to add to these, all of which are signed: names in lower case,
        `host` among them, and values with no space at their ends nor two in a row. `query` is
        sorted by name and quoted but for letters, digits and `-_.~`.
        """
        at = _at(now_s)
        added = {"x-amz-date": at}
        if self._credentials.session_token is not None:
            added["x-amz-security-token"] = self._credentials.session_token
        lines = sorted({**headers, **added}.items())
        names = ";".join(name for name, _ in lines)
        canonical = (
            f"{method}\n{_quoted_path(path)}\n{query}\n"
            + "".join(f"{name}:{value}\n" for name, value in lines)
            + f"\n{names}\n{hashlib.sha256(body).hexdigest()}"
        )
        added["authorization"] = (
            f"{_ALGORITHM} Credential={self._credentials.access_key}/{self._scope(at)}, "
            f"SignedHeaders={names}, Signature={self._signature(canonical, at)}"
        )
        return added

    def presigned(
        self, method: str, host: str, query: Mapping[str, str], expires_s: int, now_s: float
    ) -> str:
        """Return `host/?query` for a request without a body, good for so many seconds."""
        at = _at(now_s)
        whole = {
            **query,
            "X-Amz-Algorithm": _ALGORITHM,
            "X-Amz-Credential": f"{self._credentials.access_key}/{self._scope(at)}",
            "X-Amz-Date": at,
            "X-Amz-Expires": str(expires_s),
            "X-Amz-SignedHeaders": "host",
        }
        if self._credentials.session_token is not None:
            whole["X-Amz-Security-Token"] = self._credentials.session_token
        encoded = sorted((quote(k, safe="-_.~"), quote(v, safe="-_.~")) for k, v in whole.items())
        text = "&".join(f"{name}={value}" for name, value in encoded)
        canonical = f"{method}\n/\n{text}\nhost:{host}\n\nhost\n{_NOTHING}"
        return f"{host}/?{text}&X-Amz-Signature={self._signature(canonical, at)}"

    def _scope(self, at: str) -> str:
        return f"{at[:8]}/{self._region}/{self._service}/{_END}"

    def _signature(self, canonical: str, at: str) -> str:
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = f"{_ALGORITHM}\n{at}\n{self._scope(at)}\n{digest}"
        return hmac.digest(self._key_of(at[:8]), text.encode(), "sha256").hex()

    def _key_of(self, day: str) -> bytes:
        known, key = self._derived
        if day != known:
            key = f"AWS4{self._credentials.secret_key}".encode()
            for part in (day, self._region, self._service, _END):
                key = hmac.digest(key, part.encode(), "sha256")
            self._derived = day, key
        return key


def _at(now_s: float) -> str:
    return datetime.fromtimestamp(now_s, UTC).strftime("%Y%m%dT%H%M%SZ")


def _quoted_path(path: str) -> str:
    """Every service but S3 signs the path as it is sent, encoded once more."""
    return quote(path, safe="/-_.~")
