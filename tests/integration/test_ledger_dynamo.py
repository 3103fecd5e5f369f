"""What only the DynamoDB store has: round trips, shards, conflicts, processes that die."""

import itertools
import subprocess
import sys

import pytest
from ledger_storm import storm
from ledger_support import (
    LEASE,
    NOW,
    Watched,
    alert,
    charge,
    dynamo_client,
    dynamo_server,
    limit,
    scope,
    worst,
    wrong,
)

from router.aws_api import ApiError
from router.ledger.dynamo import DynamoLedger
from router.ledger.dynamo_table import definition
from router.ledger.port import Before, LedgerUnavailable, Once, Refused, Reserved

TABLES = itertools.count()
CONFLICT = ApiError(
    "TransactionCanceledException",
    "[TransactionConflict]",
    400,
    {"CancellationReasons": [{"Code": "TransactionConflict"}]},
)
THREE = (scope("tenant", 10**6), scope("team", 10**6), alert("watch", 10**6))


class Died(BaseException):
    """The process was killed here."""


@pytest.fixture(scope="module")
def address():
    with dynamo_server() as served:
        yield served


@pytest.fixture
def table(address):
    name = f"sluice-{next(TABLES)}"
    dynamo_client(address).call("CreateTable", definition(name))
    return name


@pytest.fixture
def sent():
    """The operations that `client` sent."""
    return []


@pytest.fixture
def client(address, sent):
    return Watched(dynamo_client(address), before=sent.append)


def test_a_request_takes_two_round_trips(client, table, sent):
    ledger = DynamoLedger(client, table)
    ledger.settle(ledger.reserve(worst("r0", 50), THREE, NOW, LEASE), (charge("r0", 5),), NOW)
    sent.clear()
    reserved = ledger.reserve(worst("r1", 50), THREE, NOW, LEASE)
    assert len(sent) == 1
    ledger.settle(reserved, (charge("r1", 20, last=False), charge("r1", 5, n=1)), NOW)
    assert len(sent) == 2


def test_the_first_request_of_a_period_takes_two_too(client, table, sent):
    ledger = DynamoLedger(client, table)
    ledger.adopt({"team": limit(10**6)}, "hash-a", NOW)
    ledger.settle(ledger.reserve(worst("r0", 50), (), NOW, LEASE), (charge("r0", 5),), NOW)
    sent.clear()
    reserved = ledger.reserve(worst("r1", 50), THREE, NOW, LEASE)
    ledger.settle(reserved, (charge("r1", 5),), NOW)
    assert len(sent) == 2


def test_an_idempotency_key_costs_no_round_trip(client, table, sent):
    ledger, order = DynamoLedger(client, table), Once("ab12cd34", "order-7", "body")
    ledger.settle(ledger.reserve(worst("r0", 50), THREE, NOW, LEASE), (charge("r0", 5),), NOW)
    sent.clear()
    reserved = ledger.reserve(worst("r1", 50), THREE, NOW, LEASE, once=order)
    ledger.settle(reserved, (charge("r1", 5),), NOW)
    assert len(sent) == 2
    again = ledger.reserve(worst("r2", 50), THREE, NOW, LEASE, once=order)
    assert again == Before("r1", "settled", True)
    assert len(sent) == 4  # the key's, and the first request's state


def test_a_refusal_takes_one(client, table, sent):
    ledger, team = DynamoLedger(client, table), scope(soft=100)
    ledger.reserve(worst("r0", 60), (team,), NOW, LEASE)
    sent.clear()
    assert ledger.reserve(worst("r1", 60), (team,), NOW, LEASE) == Refused(team, 40)
    assert len(sent) == 1


def test_another_process_s_policy_is_learned(client, table):
    old, new, team = DynamoLedger(client, table), DynamoLedger(client, table), scope(soft=1000)
    old.adopt({"team": limit(1000)}, "hash-a", NOW)
    new.adopt({"team": limit(300)}, "hash-b", NOW)
    assert old.reserve(worst("r1", 301), (team,), NOW, LEASE) == Refused(team, 300)


def test_a_policy_adopted_half_is_adopted_whole_by_the_next(client, table, address):
    team = scope(soft=1000)
    DynamoLedger(client, table).reserve(worst("r1", 100), (team,), NOW, LEASE)
    for calls in range(1, 7):
        dying = DynamoLedger(killed_after(dynamo_client(address), calls), table)
        with pytest.raises(Died):
            dying.adopt({"team": limit(300)}, "hash-a", NOW)
    DynamoLedger(client, table).adopt({"team": limit(300)}, "hash-a", NOW)
    assert DynamoLedger(client, table).balance(team, NOW).limit == 300


def test_a_hot_scope_is_spread_and_never_overspent(client, table):
    ledger, team = DynamoLedger(client, table, shards={"team": 4}), scope(soft=1003)
    taken = 0
    for number in range(80):
        found = ledger.reserve(worst(f"r{number}", 20), (team,), NOW, LEASE)
        taken += isinstance(found, Reserved)
    assert isinstance(found, Refused)
    left = ledger.balance(team, NOW)
    assert (left.limit, left.reserved) == (1003, 20 * taken)
    assert 0 <= left.avail < 4 * 20  # the bound: shards x nano
    assert len({item["sk"]["S"] for item in scopes_of(client, table)}) == 4
    assert wrong(ledger) == []


def test_what_is_left_is_told_over_all_shards(client, table):
    ledger, team = DynamoLedger(client, table, shards={"team": 4}), scope(soft=1003)
    ledger.adopt({"team": limit(1003)}, "hash-a", NOW)
    for number in range(20):
        ledger.reserve(worst(f"r{number}", 20), (team,), NOW, LEASE)
    (found,) = DynamoLedger(client, table).standings(NOW)
    assert (found.value, found.limit.nano, found.reserved) == ("team=search", 1003, 400)


def test_shards_tell_an_alert_once(client, table):
    ledger, watched = DynamoLedger(client, table, shards={"soft": 4}), alert(alert_at=(0.5,))
    told = []
    for number in range(40):
        reserved = ledger.reserve(worst(f"r{number}", 25), (watched,), NOW, LEASE)
        told += ledger.settle(reserved, (charge(f"r{number}", 25),), NOW)
    assert [found.share for found in told] == [0.5]


def test_the_shards_of_a_running_period_stay_as_many(client, table):
    team = scope()
    DynamoLedger(client, table).reserve(worst("r1", 100), (team,), NOW, LEASE)
    spread = DynamoLedger(client, table, shards={"team": 4})
    with pytest.raises(ValueError, match="spread over 1 shards until its period ends"):
        spread.reserve(worst("r2", 100), (team,), NOW, LEASE)


def test_a_transaction_that_others_come_across_is_tried_again(client, table):
    team, conflicts = scope(), iter([1, 1])

    def conflict(operation):
        if operation == "TransactWriteItems" and next(conflicts, 0):
            raise CONFLICT

    ledger = DynamoLedger(Watched(client, before=conflict), table)
    assert isinstance(ledger.reserve(worst("r1", 100), (team,), NOW, LEASE), Reserved)


def test_conflicts_without_end_are_told(client, table):
    def conflict(operation):
        if operation == "TransactWriteItems":
            raise CONFLICT

    ledger = DynamoLedger(Watched(client, before=conflict), table)
    with pytest.raises(LedgerUnavailable, match="TransactionConflict"):
        ledger.reserve(worst("r1", 100), (scope(),), NOW, LEASE)


def test_a_table_that_is_not_there_is_told(client):
    ledger = DynamoLedger(client, "nowhere")
    with pytest.raises(LedgerUnavailable, match="ResourceNotFound"):
        ledger.reserve(worst("r1", 100), (scope(),), NOW, LEASE)


@pytest.mark.parametrize("calls", range(1, 12))
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_process_killed_at_any_call_leaves_the_books_right(address, table, calls, before):
    team, watched = scope(soft=1000), alert(soft=100)
    dying = DynamoLedger(killed_after(dynamo_client(address), calls, before=before), table)
    try:
        protocol(dying, (team, watched))
    except Died:
        pass
    else:
        assert calls > 8, "the protocol has at least so many calls"
    ledger = DynamoLedger(dynamo_client(address), table)
    assert wrong(ledger) == []
    protocol(ledger, (team, watched))
    assert wrong(ledger) == []
    left = ledger.balance(team, NOW)
    assert (left.spent, left.reserved) == (90 + 45, 0)


def test_sixty_four_threads_never_overspend(address, table):
    counts, _, found = storm(f"{address}#{table}", processes=2, threads=32, operations=2000)
    assert found == []
    assert counts["reserve"] > 500


class SettlesWithoutCondition(DynamoLedger):
    STILL = "attribute_exists(#pk)"


def test_a_ledger_that_settles_without_its_condition_is_found_out(client, table):
    ledger, team = SettlesWithoutCondition(client, table), scope()
    reserved = ledger.reserve(worst("r1", 100), (team,), NOW, LEASE)
    ledger.settle(reserved, (charge("r1", 100),), NOW)
    ledger.settle(reserved, (charge("r1", 100, at_s=NOW + 1),), NOW)
    assert any("-100 reserved" in found for found in wrong(ledger))


def test_boto3_is_not_imported_by_the_router():
    code = "import sys, router.app, router.ledger.dynamo, router.ledger.sqlite; "
    code += "sys.exit(any(name in sys.modules for name in ('boto3', 'botocore', 'moto')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def protocol(ledger, scopes):
    """Do all of it; done again after a crash, it gives the same."""
    first = reserved(ledger, "r1", 120, scopes)
    ledger.settle(first, (charge("r1", 70, last=False), charge("r1", 20, n=1)), NOW)
    late = reserved(ledger, "r3", 80, scopes)
    ledger.expire(LEASE + 1)
    ledger.settle(late, (charge("r3", 45),), LEASE + 2)


def reserved(ledger, request_id, nano, scopes):
    try:
        return ledger.reserve(worst(request_id, nano), scopes, NOW, LEASE)
    except ValueError:  # it is charged already
        return Reserved(request_id, nano, scopes, LEASE, (0,) * len(scopes))


def killed_after(client, calls, *, before=True):
    """The process dies before that call is sent, or as soon as it is answered."""
    left = iter(range(calls - 1))

    def step(_):
        if next(left, None) is None:
            raise Died

    return Watched(client, **{"before" if before else "after": step})


def scopes_of(client, table):
    items = client.call("Scan", {"TableName": table})["Items"]
    return [item for item in items if item["pk"]["S"].startswith("S#")]
