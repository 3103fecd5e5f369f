"""Which store the ledger is in, and how it is opened: `sqlite` is the file in the state folder,
`dynamodb:TABLE` a table that any number of routers share.

boto3 is imported only for the latter. It finds credentials and the endpoint by itself, as every
AWS tool does; the region is AWS_REGION's, else its own way to one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from router.faults import MissingPart, NoSuchLedger
from router.ledger.port import Ledger, LedgerUnavailable
from router.ledger.sqlite import SqliteLedger
from router.settings import table_of

if TYPE_CHECKING:
    from router.ledger.dynamo import DynamoLedger

CONNECT_S, READ_S, ATTEMPTS = 1.0, 2.0, 2  # a request waits for the ledger before it is sent
CONNECTIONS: Final = 32  # as many as calls at once (router.teller)
SERVER_ERROR: Final = 500


def open_ledger(
    setting: str, state: Path, environment: Mapping[str, str], wait_s: float = 5.0
) -> Ledger:
    """Open it. `wait_s`: how long a call waits for a file that another process holds.

    Raises ValueError, MissingPart, NoSuchLedger or LedgerUnavailable.
    """
    table = table_of(setting)
    if table is None:
        return SqliteLedger(state, wait_s)
    return _dynamo(setting, table, environment.get("AWS_REGION") or None)


def _dynamo(setting: str, table: str, region: str | None) -> "DynamoLedger":
    try:
        import boto3  # noqa: PLC0415  (optional and slow: whoever keeps a file never needs it)
        from botocore import exceptions  # noqa: PLC0415  (as above)
        from botocore.config import Config  # noqa: PLC0415  (as above)
    except ImportError:
        said = f"ledger `{setting}` needs boto3: install `sluice[aws]`, or `pip install boto3`"
        raise MissingPart(said) from None
    from router.ledger.dynamo import DynamoLedger  # noqa: PLC0415  (only if used)

    config = Config(
        connect_timeout=CONNECT_S,
        read_timeout=READ_S,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        max_pool_connections=CONNECTIONS,
    )
    where = f"ledger `{setting}`"
    try:
        client: Any = boto3.client("dynamodb", region_name=region, config=config)
        where += f" in {client.meta.region_name} ({client.meta.endpoint_url})"
        found = client.describe_table(TableName=table)["Table"]
    except exceptions.NoRegionError:
        said = "no region: set AWS_REGION (valid: us-east-1, eu-central-1, cn-north-1, ...)"
        raise NoSuchLedger(f"{where}: {said}") from None
    except exceptions.NoCredentialsError:
        said = "no credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        raise NoSuchLedger(f"{where}: {said}, or run it in a role") from None
    except exceptions.ClientError as exc:
        raise _refused(where, exc.response) from None
    except (exceptions.HTTPClientError, exceptions.ConnectionError) as exc:
        raise LedgerUnavailable(f"{where} can't be reached: {exc}") from None
    except (exceptions.BotoCoreError, ValueError) as exc:
        raise NoSuchLedger(f"{where}: {exc}") from None
    _check(where, found)
    return DynamoLedger(client, table)


def _refused(where: str, answer: Mapping[str, Any]) -> Exception:
    """Return what DynamoDB's error means: a setting is wrong, or it is out of order."""
    code, message = answer["Error"]["Code"], answer["Error"]["Message"]
    if code == "ResourceNotFoundException":
        return NoSuchLedger(f"{where}: there is no such table (docs/ledger.md says how to make it)")
    if answer["ResponseMetadata"]["HTTPStatusCode"] >= SERVER_ERROR or "Thrott" in code:
        return LedgerUnavailable(f"{where} can't be used now: {code}: {message}")
    return NoSuchLedger(f"{where} can't be used: {code}: {message}")


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
