"""What the items of files and batches in the ledger's table are called, and their errors.

| pk | sk | |
|---|---|---|
| `BFILE#<file>` | `-` | a file |
| `BFILES#<tenant>` | `<created>#<file>` | the same: a tenant's files in order |
| `BQUOTA#<tenant>` | `-` | bytes that its files take, batches that have not ended |
| `BDUE` | `<when>#<file>` | files to be removed: they expire, or were never finished |
| `BATCH#<batch>` | `-` | a batch, with the version of its last change |
| `BATCHES#<tenant>` | `<created>#<batch>` | a tenant's batches in order |
| `BOPEN` | `<deadline>#<batch>` | those that have not ended |
| `BREADS#<tenant>` | `<deadline>#<batch>` | the same, a tenant's: the file that each reads |
| `BLINES#<batch>` | `<line>` | a line: where it lies, who has it, what became of it |
| `BCHUNKS#<batch>` | `<first line>` | a chunk of lines: when it may be sent |
| `BCOUNTS#<batch>` | `<shard>` | how many lines have which end |

Prompts and answers are in S3 alone; the backups of the table never hold any.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from router.aws_api import AwsFailed
from router.batches.port import StoreUnavailable
from router.ledger.port import LedgerUnavailable

ONE: Final = "-"
DUE: Final = "BDUE"
OPEN: Final = "BOPEN"
NEW: Final = "attribute_not_exists(#pk)"
THERE: Final = "attribute_exists(#pk)"
ANYHOW: Final = f"{NEW} OR {THERE}"


def ordered(at_s: float, name: str) -> str:
    """Return a sort key: by time first."""
    return f"{int(at_s):012d}#{name}"


def id_of(ordered_key: str) -> str:
    return ordered_key.partition("#")[2]


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Tell what AWS could not do as the port says it: the code, and nothing of what is stored."""
    try:
        yield
    except LedgerUnavailable as exc:
        raise StoreUnavailable(f"{what}: the table can't be used: {exc.__cause__ or exc}") from exc
    except AwsFailed as exc:
        raise StoreUnavailable(f"{what}: S3 can't be used: {exc}") from exc
