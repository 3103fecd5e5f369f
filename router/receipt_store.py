"""Where receipts go: `jsonl` is a file a day in the state folder, `firehose:STREAM` a stream of
Amazon Data Firehose, which brings them to S3. A new store is one entry of STORES.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from router.faults import BadSetting
from router.record import Receipts, ReceiptStore
from router.settings import FIREHOSE, JSONL, receipts_at

if TYPE_CHECKING:
    from router.firehose import FirehoseReceipts

CONNECT_S, READ_S, ATTEMPTS = 1.0, 2.0, 2  # as the ledger's (router.store)


def open_receipts(
    setting: str, state: Path, environment: Mapping[str, str], lost: Callable[[], None]
) -> ReceiptStore:
    """Open it; `lost` counts what it could not keep after `append` returned.

    Raises ValueError, MissingPart, BadSetting, or OSError where the folder can't be made.
    """
    kind, name = receipts_at(setting)
    return STORES[kind](name, state, environment, lost)


def _jsonl(
    _name: str, state: Path, _environment: Mapping[str, str], _lost: Callable[[], None]
) -> Receipts:
    return Receipts(state)


def _firehose(
    stream: str, _state: Path, environment: Mapping[str, str], lost: Callable[[], None]
) -> "FirehoseReceipts":
    from router import aws_api  # noqa: PLC0415  (only if used)
    from router.firehose import FirehoseReceipts  # noqa: PLC0415  (as above)

    limits = aws_api.Limits(CONNECT_S, READ_S, ATTEMPTS)
    try:
        api = aws_api.Api("firehose", None, environment, limits)
    except aws_api.Misset as exc:
        raise BadSetting(f"receipts `firehose:{stream}`: {exc}") from None
    return FirehoseReceipts(api, stream, lost)


Opener = Callable[[str, Path, Mapping[str, str], Callable[[], None]], ReceiptStore]
STORES: Final[Mapping[str, Opener]] = {JSONL: _jsonl, FIREHOSE: _firehose}
