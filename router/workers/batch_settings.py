"""What the workers of batches are told by their environment."""

from collections.abc import Mapping
from typing import Final

from router.batches.aws import AwsStore, open_bucket
from router.batches.schedule import Pace, window_of
from router.settings import WorkerSettings, bucket_of, needed
from router.store import open_table

NO_QUOTA: Final = 1 << 62  # workers take no files of users: their quota is the router's to see to


def store_of(settings: WorkerSettings) -> AwsStore:
    """Open the stage's store of batches. Raises ValueError: a variable is missing or wrong; else as
    router.store.open_table and router.batches.aws.open_bucket.
    """
    environment = settings.environment
    wanted = "the name of a bucket"
    name = bucket_of(f"s3:{needed(environment.get('SLUICE_BATCHES'), 'SLUICE_BATCHES', wanted)}")
    where = f"the table `{settings.table}`"
    api = open_table(where, settings.table, environment)
    bucket = open_bucket(name, environment)
    return AwsStore(api, settings.table, bucket, most_bytes=NO_QUOTA, quota=NO_QUOTA)


def pace_of(environment: Mapping[str, str]) -> Pace:
    """Return how lines may be sent. Raises ValueError."""
    written = needed(environment.get("SLUICE_AT_ONCE"), "SLUICE_AT_ONCE", "a number of lines")
    if not written.isdecimal() or not int(written):
        raise ValueError(f"SLUICE_AT_ONCE: `{written[:20]}` is no number of lines (valid: 20)")
    window = environment.get("SLUICE_WINDOW")
    return Pace(window_of(window) if window else None, int(written))
