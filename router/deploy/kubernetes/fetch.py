"""Runs in a pod before its engine: copies the weights from S3 to the pod's disk.

It needs Python 3.11 alone, which every engine's image has, and `backends/sigv4.py` beside it; who
it is it learns from EKS Pod Identity. What is there already, in its full size, stays.

    python fetch.py BUCKET PREFIX FOLDER
"""

import http.client
import json
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen
from xml.etree import ElementTree as ET

from backends.sigv4 import Credentials, Signer

AT_ONCE: Final = 16
TRIES: Final = 4
CHUNK: Final = 1 << 23
WITHIN_S: Final = 60
OK: Final = 200
SPACE: Final = "{http://s3.amazonaws.com/doc/2006-03-01/}"
EMPTY: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


class Failed(Exception):  # noqa: N818 (it reads as what it says)
    """S3 did not give what was asked for."""


def credentials(environment: Mapping[str, str]) -> Credentials:
    """Ask the agent of EKS Pod Identity, as AWS's own libraries do."""
    uri = environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
    token = Path(environment["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]).read_text("utf-8")
    request = Request(uri, headers={"Authorization": token})  # noqa: S310 (the machine's own agent)
    with urlopen(request, timeout=WITHIN_S) as answer:  # noqa: S310 (as above)
        told = json.load(answer)
    return Credentials(told["AccessKeyId"], told["SecretAccessKey"], told["Token"])


class Bucket:
    """One bucket. Credentials are asked for anew with every file: they last longer than one."""

    def __init__(self, environment: Mapping[str, str], name: str) -> None:
        self._environment, self._name = environment, name
        self._region = environment["AWS_REGION"]
        self._at = urlsplit(environment["SLUICE_S3"])

    @contextmanager
    def get(self, key: str, query: str = "") -> Iterator[http.client.HTTPResponse]:
        """Raises Failed, OSError, http.client.HTTPException."""
        path = f"/{self._name}/{key}"
        signer = Signer(credentials(self._environment), self._region, "s3")
        headers = {"host": self._at.netloc, "x-amz-content-sha256": EMPTY}
        headers |= signer.signed("GET", path, headers, b"", time.time(), query)
        tls = self._at.scheme == "https"
        kind = http.client.HTTPSConnection if tls else http.client.HTTPConnection
        connection = kind(self._at.netloc, timeout=WITHIN_S)
        try:
            where = quote(path, safe="/-_.~") + (f"?{query}" if query else "")
            connection.request("GET", where, headers=headers)
            with connection.getresponse() as answer:
                if answer.status != OK:
                    said = answer.read(2000).decode("utf-8", "replace")
                    raise Failed(f"{answer.status} for s3://{self._name}/{key}: {said}")
                yield answer
        finally:
            connection.close()

    def files(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield the key and the bytes of all that begins so."""
        after: str | None = None
        while True:
            parts = {"list-type": "2", "prefix": prefix}
            if after:
                parts["continuation-token"] = after
            query = "&".join(f"{k}={quote(v, safe='-_.~')}" for k, v in sorted(parts.items()))
            with self.get("", query) as answer:
                page = ET.fromstring(answer.read())  # noqa: S314 (S3's answer, by TLS)
            for row in page.iter(f"{SPACE}Contents"):
                key, size = row.findtext(f"{SPACE}Key"), row.findtext(f"{SPACE}Size")
                if key is not None and size is not None and not key.endswith("/"):
                    yield key, int(size)
            after = page.findtext(f"{SPACE}NextContinuationToken")
            if not after:
                return

    def copy(self, key: str, size: int, to: Path) -> None:
        """Copy one file whole, or raise."""
        if to.exists() and to.stat().st_size == size:
            return
        to.parent.mkdir(parents=True, exist_ok=True)
        for left in reversed(range(TRIES)):
            try:
                self._copy(key, size, to)
            except (OSError, http.client.HTTPException, Failed):
                if not left:
                    raise
                time.sleep(2.0 ** (TRIES - 1 - left))
            else:
                return

    def _copy(self, key: str, size: int, to: Path) -> None:
        part = to.with_name(f"{to.name}.part")
        with self.get(key) as answer, part.open("wb") as file:
            while chunk := answer.read(CHUNK):
                file.write(chunk)
        if part.stat().st_size != size:
            raise Failed(f"s3://{self._name}/{key} was cut off")
        part.rename(to)


def main(environment: Mapping[str, str], bucket: str, prefix: str, folder: str) -> None:
    """Copy a folder, or the one file that `prefix` names."""
    store, began = Bucket(environment, bucket), time.monotonic()
    found = list(store.files(prefix))
    if not found:
        raise Failed(f"nothing is at s3://{bucket}/{prefix}")
    base = prefix[: prefix.rfind("/") + 1]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = [
            pool.submit(store.copy, key, size, Path(folder, key.removeprefix(base)))
            for key, size in found
        ]
        for job in jobs:
            job.result()
    total, seconds = sum(size for _, size in found), time.monotonic() - began
    sys.stdout.write(f"{len(found)} files, {total:,} bytes, {seconds:.0f} s\n")


if __name__ == "__main__":
    import os

    main(dict(os.environ), *sys.argv[1:])  # noqa: TID251 (in a pod, where settings.py is not)
