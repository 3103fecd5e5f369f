"""Which store of files and batches a router has, by its settings."""

import secrets
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from router.batches.api import Batching
from router.batches.hands import Hands
from router.batches.port import Store
from router.batches.schedule import Pace, window_of
from router.faults import BadSetting, Unsafe
from router.settings import Settings, bucket_of, table_of
from router.store import open_table

if TYPE_CHECKING:
    from router.batches.aws import AwsStore
    from router.batches.local import LocalStore

DAY_S = 86_400
KEPT_DAYS: Final = 30  # infra/batches.py: FILE_DAYS is one more
# Lambda takes 6 MB as API Gateway hands them on: quotes and line ends escaped, or all in base64.
LAMBDA_BYTES: Final = 4_500_000
FARGATE_BYTES: Final = 100_000_000  # of one file, as of the embedded store
MB = 1_000_000
ID_BYTES = 12


def is_local(settings: Settings) -> bool:
    """Tell whether this router keeps files and batches itself: one of several that share a ledger
    would not know what the others have, and one that does nothing between requests sends nothing.
    """
    elsewhere = settings.frozen or settings.batches is not None
    return table_of(settings.ledger) is None and not elsewhere


def opened(settings: Settings, now: Callable[[], float]) -> "LocalStore | None":
    """Open the embedded store; None: there is none. Raises StoreUnavailable or StoreFull."""
    if not is_local(settings):
        return None
    from router.batches.local import LocalStore  # noqa: PLC0415  (only if used)

    return LocalStore(settings.state, settings.batch_quota_mb * MB, now)


def opened_on_aws(settings: Settings, now: Callable[[], float]) -> "AwsStore | None":
    """Open the store whose lines workers of the stage send; None: there is none. Raises BadSetting,
    Unsafe, or as router.store.open_table.
    """
    if settings.batches is None:
        return None
    table = table_of(settings.ledger)
    if table is None:
        raise Unsafe(
            f"`--batches {settings.batches}` keeps batches in the ledger's table: it goes with "
            "`--ledger dynamodb:TABLE`"
        )
    if settings.batch_keep_days > KEPT_DAYS:
        said = f"the bucket's own rule removes files after {KEPT_DAYS} days: keep them for less"
        raise BadSetting(f"`--batch-keep-days {settings.batch_keep_days}`: {said}")
    from router.batches.aws import AwsStore, open_bucket  # noqa: PLC0415  (only if used)

    api = open_table(f"ledger `{settings.ledger}`", table, settings.environment)
    bucket = open_bucket(bucket_of(settings.batches), settings.environment)
    return AwsStore(
        api,
        table,
        bucket,
        most_bytes=LAMBDA_BYTES if settings.frozen else FARGATE_BYTES,
        quota=settings.batch_quota_mb * MB,
        now=now,
    )


def pace_of(settings: Settings) -> Pace:
    window = None if settings.batch_window is None else window_of(settings.batch_window)
    return Pace(window, settings.batch_at_once)


def batching(
    settings: Settings,
    store: Store,
    now: Callable[[], float],
    wake: Callable[[], None],
    hands: Hands,
) -> Batching:
    keep_s = settings.batch_keep_days * DAY_S
    return Batching(store, keep_s, now, partial(secrets.token_hex, ID_BYTES), wake, hands)
