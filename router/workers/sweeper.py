"""Each minute: charge the leases that ran out, put the limits of a deployed policy in force
(router.workers.limits), and look whether the budgets' rows add up.

All are bounded. Leases are charged BATCH at a time while there is time; a run that is killed
leaves whole transactions, and the next one goes on. Of the rows ROWS are looked at, and the next
run goes on after them: each row holds its invariant by itself at any moment, so that none has to be
compared with the ledger's entries. Where it runs in a new environment it begins from the start.
"""

import functools
import time
from collections.abc import Callable
from typing import Any, Final

from router.ledger.audit import unbalanced
from router.ledger.dynamo import DynamoLedger
from router.ledger.dynamo_books import scope_rows
from router.ledger.dynamo_table import Key
from router.settings import WorkerSettings
from router.workers.kit import Answer, Event, Kit, opened
from router.workers.limits import CantBeTold, Deployed, InForce
from router.workers.opening import ledger_of

BATCH: Final = 100  # leases, some 20 ms each
ROWS: Final = 2_000  # some 0.4 MB: 100 read units
SPARE_MS: Final = 10_000  # of the function's time, for a batch and the audit


class Sweeper:
    """`now` is the wall clock, in seconds since 1970."""

    def __init__(self, ledger: DynamoLedger, now: Callable[[], float], rows: int = ROWS) -> None:
        self._ledger, self._table = ledger, ledger.table
        self._now, self._rows = now, rows
        self._after: Key | None = None

    def expire(self, left_ms: Callable[[], int], batch: int = BATCH) -> int:
        """Charge what ran out, until it is all or there is no time; return how many leases."""
        leases = 0
        while left_ms() > SPARE_MS:
            found = self._ledger.expire(self._now(), batch).leases
            leases += found
            if found < batch:
                break
        return leases

    def audit(self) -> list[str]:
        """Return what is wrong of the next rows."""
        rows, self._after = scope_rows(self._table, self._after, self._rows)
        return list(unbalanced(rows))


@functools.cache
def _open() -> tuple[Kit, Sweeper, InForce | None]:
    kit = opened("sweeper")
    ledger = ledger_of(kit.settings)
    return kit, Sweeper(ledger, time.time), _in_force(kit.settings, ledger)


def _in_force(settings: WorkerSettings, ledger: DynamoLedger) -> InForce | None:
    if settings.appconfig is None:
        return None
    import boto3  # noqa: PLC0415  (0.2 s, and only in the function)
    from botocore.config import Config  # noqa: PLC0415  (as above)
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  (as above)

    quick = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1})
    session = boto3.Session()
    planes = [session.client(name, config=quick) for name in ("appconfig", "appconfigdata")]
    deployed = Deployed(planes[0], planes[1], (BotoCoreError, ClientError), settings.appconfig)
    return InForce(deployed, ledger, settings.fleets.parent, time.time)


def _look(kit: Kit, in_force: InForce) -> None:
    """Where that can't be done, budgets hold as they are, and the next minute tries again."""
    try:
        policy_hash = in_force.look()
    except CantBeTold as exc:
        kit.log.error("the limits of budgets stay as they are: %s", exc)  # noqa: TRY400  (one line)
        return
    if policy_hash is not None:
        kit.log.warning("the limits of policy %s are in force", policy_hash)


def handler(_event: Event, context: Any) -> Answer:  # noqa: ANN401 (Lambda's context)
    kit, sweeper, in_force = _open()
    with kit.told():
        leases = sweeper.expire(context.get_remaining_time_in_millis)
        if in_force is not None:
            _look(kit, in_force)
        wrong = sweeper.audit()
        for violation in wrong:
            kit.log.error("the ledger's invariant is broken: %s", violation)
        kit.count("LedgerViolations", len(wrong))
        if leases:
            kit.log.warning("leases that ran out were charged in full: %d", leases)
    return {"leases": leases, "violations": len(wrong)}
