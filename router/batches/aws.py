"""The store of batches on AWS: S3, and the ledger's DynamoDB table. Without boto3."""

import time
from collections.abc import Callable, Mapping

from router.aws_api import AwsFailed
from router.batches.aws_batches import AwsBatches
from router.batches.aws_chunks import Chunks
from router.batches.aws_files import AwsFiles
from router.batches.aws_lines import AwsQueue
from router.faults import BadSetting
from router.ledger.dynamo_table import Client, Table
from router.s3 import Bucket


class AwsStore:
    """The port `Store`. `client`: DynamoDB's; `quota`: bytes of a tenant's files."""

    remote = True

    def __init__(
        self,
        client: Client,
        table: str,
        bucket: Bucket,
        *,
        most_bytes: int,
        quota: int,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.most_bytes = most_bytes
        rows = Table(client, table)
        self.files = AwsFiles(rows, bucket, now, quota)
        self.batches = AwsBatches(rows)
        self.queue = AwsQueue(rows, bucket, now)
        self.chunks = Chunks(rows)
        self._bucket = bucket

    def sweep(self, now_s: float) -> int:
        return self.files.sweep(now_s)

    def close(self) -> None:
        self._bucket.close()


def open_bucket(name: str, environment: Mapping[str, str]) -> Bucket:
    """Open it; whether it is there shows with the first call. Raises BadSetting or MissingPart."""
    try:
        return Bucket(name, environment)
    except AwsFailed as exc:
        raise BadSetting(f"batches in `{name}`: {exc}") from None
