"""Which store ledger and keys are in, and how it is opened: `sqlite` is the file in the state
folder, `dynamodb:TABLE` a table that any number of routers share.

Credentials, region and endpoint of the latter are found as every AWS tool finds them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from router.aws_api import Api, ApiError, ApiUnreachable, Limits, Misset, NoCredentials
from router.faults import MissingPart, NoSuchLedger
from router.key_rows import Keys
from router.keys import KeyStore
from router.ledger.port import Ledger, LedgerUnavailable
from router.ledger.sqlite import SqliteLedger
from router.settings import table_of

# A request waits for the ledger before it is sent.
LIMITS: Final = Limits(connect_s=1.0, read_s=2.0, attempts=2)
SERVER_ERROR: Final = 500


@dataclass(frozen=True, slots=True)
class Stores:
    """`keys` opens them, for a monotonic clock in seconds; they lie where the ledger does."""

    ledger: Ledger
    keys: Callable[[Callable[[], float]], Keys]


def open_stores(
    setting: str, state: Path, environment: Mapping[str, str], wait_s: float = 5.0
) -> Stores:
    """Open the ledger. `wait_s`: how long a call waits for a file that another process holds.

    Raises ValueError, MissingPart, NoSuchLedger or LedgerUnavailable.
    """
    table = table_of(setting)
    if table is None:
        return Stores(SqliteLedger(state, wait_s), partial(KeyStore, state))
    from router.dynamo_keys import DynamoKeys  # noqa: PLC0415  (only if used)
    from router.ledger.dynamo import DynamoLedger  # noqa: PLC0415  (as above)

    api = open_table(f"ledger `{setting}`", table, environment)
    return Stores(DynamoLedger(api, table), partial(DynamoKeys, api, table))


def open_ledger(setting: str, state: Path, environment: Mapping[str, str]) -> Ledger:
    """Open it alone; raise as `open_stores`."""
    return open_stores(setting, state, environment).ledger


def open_keys(
    setting: str, state: Path, environment: Mapping[str, str], clock: Callable[[], float]
) -> Keys:
    """Open the keys alone; raise as `open_stores`, or KeysUnreadable."""
    table = table_of(setting)
    if table is None:
        return KeyStore(state, clock)
    from router.dynamo_keys import DynamoKeys  # noqa: PLC0415  (only if used)

    return DynamoKeys(open_table(f"ledger `{setting}`", table, environment), table, clock)


def open_table(where: str, table: str, environment: Mapping[str, str]) -> Api:
    """Return DynamoDB as that table is reached, once it has shown to be one of ours.

    Raises MissingPart, NoSuchLedger or LedgerUnavailable; `where` begins their messages.
    """
    try:
        api = Api("dynamodb", None, environment, LIMITS)
        where += f" in {api.region} ({api.endpoint})"
        found = api.call("DescribeTable", {"TableName": table})["Table"]
    except MissingPart as exc:
        raise MissingPart(f"{where}: {exc}") from None
    except NoCredentials:
        said = "no credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        raise NoSuchLedger(f"{where}: {said}, or run it in a role") from None
    except Misset as exc:
        raise NoSuchLedger(f"{where}: {exc}") from None
    except ApiUnreachable as exc:
        raise LedgerUnavailable(f"{where} can't be reached: {exc}") from None
    except ApiError as exc:
        raise _refused(where, exc) from None
    _check(where, found)
    return api


def _refused(where: str, exc: ApiError) -> Exception:
    """Return what DynamoDB's error means: a setting is wrong, or it is out of order."""
    if exc.code == "ResourceNotFoundException":
        return NoSuchLedger(f"{where}: there is no such table (docs/ledger.md says how to make it)")
    if exc.transient or exc.status >= SERVER_ERROR:
        return LedgerUnavailable(f"{where} can't be used now: {exc}")
    return NoSuchLedger(f"{where} can't be used: {exc}")


def _check(where: str, found: Mapping[str, Any]) -> None:
    """Refuse a table that isn't made as ours are, or isn't made yet."""
    from router.ledger.dynamo_table import definition  # noqa: PLC0415  (only if used)

    wanted = definition(found["TableName"])
    indexes = {index["IndexName"]: index for index in found.get("GlobalSecondaryIndexes", ())}
    lacking = [
        f"the index `{index['IndexName']}` over {_keys(index)}"
        for index in wanted["GlobalSecondaryIndexes"]
        if _keys(indexes.get(index["IndexName"], {})) != _keys(index)
    ]
    if _keys(found) != _keys(wanted):
        lacking = [f"the key {_keys(wanted)} (its own is {_keys(found)})"]
    if lacking:
        raise NoSuchLedger(f"{where} is another kind of table: it lacks {' and '.join(lacking)}")
    if found["TableStatus"] not in ("ACTIVE", "UPDATING"):
        raise LedgerUnavailable(f"{where} can't be used while it is {found['TableStatus']}")


def _keys(table: Mapping[str, Any]) -> str:
    return ", ".join(part["AttributeName"] for part in table.get("KeySchema", ()))
