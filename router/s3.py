"""Objects of one S3 bucket: put (whole or in parts), read, delete; signed, without boto3.

For any thread; a call may wait for the network. Names of objects are ours: letters, digits and
`-_.~/`, so that the path that is sent is the path that is signed.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote

from router.aws_api import Api, ApiError, ApiUnreachable, Limits
from router.aws_http import Answer

# A file of a batch is megabytes, not kilobytes, and nobody waits for it but who sent it.
LIMITS: Final = Limits(connect_s=2.0, read_s=30.0, attempts=3)
PART_BYTES: Final = 8 << 20  # S3 takes parts of 5 MiB and more, 10,000 of them

_KEY: Final = re.compile(r"[A-Za-z0-9_.~/-]{1,1024}")
_CODE: Final = re.compile(rb"<Code>([A-Za-z0-9.]{1,100})</Code>")
_UPLOAD: Final = re.compile(rb"<UploadId>([^<]{1,1024})</UploadId>")
_OK: Final = frozenset({200, 204, 206})
_MISSING: Final = 404


class Missing(ApiError):  # noqa: N818  (it reads as what it says)
    """There is no such object."""


class Bucket:
    """Raises aws_api's ApiError (Missing), ApiUnreachable and Misset; when made, NoRegion, Misset
    and router.faults.MissingPart.
    """

    def __init__(
        self, name: str, environment: Mapping[str, str], region: str | None = None
    ) -> None:
        self.name = name
        self._api = Api("s3", region, environment, LIMITS, bucket=name)

    def put(self, key: str, body: bytes) -> None:
        self._sent("PUT", key, body)

    def get(self, key: str) -> bytes:
        return self._sent("GET", key).body

    def read(self, key: str, first: int, count: int) -> bytes:
        """Return these bytes of it, of which there is at least one."""
        said = {"range": f"bytes={first}-{first + count - 1}"}
        return self._sent("GET", key, headers=said).body

    def delete(self, key: str) -> None:
        """Delete it; that there was none is no error."""
        self._sent("DELETE", key)

    def begin(self, key: str) -> str:
        """Begin an object of parts; return what the upload is called."""
        answer = self._sent("POST", key, query="uploads=")
        found = _UPLOAD.search(answer.body)
        if found is None:
            raise ApiUnreachable(f"{self._api.endpoint}: the upload has no name")
        return found[1].decode()

    def part(self, key: str, upload: str, number: int, body: bytes) -> str:
        """Put a part, the first is 1; return its tag."""
        query = f"partNumber={number}&uploadId={quote(upload, safe='-_.~')}"
        answer = self._sent("PUT", key, body, query=query)
        return answer.headers.get(b"etag", b"").decode("latin-1")

    def finish(self, key: str, upload: str, tags: Sequence[str]) -> None:
        """Make the object of its parts, by their tags; before that nobody sees it."""
        rows = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>"
            for number, tag in enumerate(tags, 1)
        )
        body = f"<CompleteMultipartUpload>{rows}</CompleteMultipartUpload>".encode()
        answer = self._sent("POST", key, body, query=f"uploadId={quote(upload, safe='-_.~')}")
        if b"<Error>" in answer.body:  # it began to answer with 200, and failed then
            raise _error(answer)

    def abort(self, key: str, upload: str) -> None:
        self._sent("DELETE", key, query=f"uploadId={quote(upload, safe='-_.~')}")

    def close(self) -> None:
        self._api.close()

    def _sent(
        self,
        method: str,
        key: str,
        body: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        query: str = "",
    ) -> Answer:
        if not _KEY.fullmatch(key):
            raise ValueError("a name of an object that is none of ours")
        said = {**(headers or {}), "x-amz-content-sha256": hashlib.sha256(body).hexdigest()}

        def once() -> Answer:
            answer = self._api.sent(method, f"/{key}", said, body, query)
            if answer.status not in _OK:
                raise _error(answer)
            return answer

        return self._api.tried(once)


def _error(answer: Answer) -> ApiError:
    """Return what S3 says in XML: its code alone, for its message may quote names."""
    found = _CODE.search(answer.body[:4096])
    code = found[1].decode() if found else str(answer.status)
    kind = Missing if answer.status == _MISSING and code in ("NoSuchKey", "404") else ApiError
    return kind(code, "", answer.status, {})
