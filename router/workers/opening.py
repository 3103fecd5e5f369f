"""What workers open at a cold start."""

from router.ledger.dynamo import DynamoLedger
from router.settings import WorkerSettings
from router.store import open_table


def ledger_of(settings: WorkerSettings) -> DynamoLedger:
    """Open the stage's ledger. Raises MissingPart, NoSuchLedger or LedgerUnavailable."""
    where = f"the table `{settings.table}`"
    return DynamoLedger(open_table(where, settings.table, settings.environment), settings.table)
