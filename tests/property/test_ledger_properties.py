"""The ledger against an obvious model: two dictionaries and no cleverness."""

import sqlite3
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from ledger_support import NOW, alert, charge, limit, scope, worst, wrong

from router.ledger.port import Downgrade, NotReserved, Refused, Reserved
from router.ledger.sqlite import SqliteLedger

LEASE_S = 60
# Small pools, so that amounts tie, meet the limits exactly, and ids come again.
IDS = st.sampled_from(["r1", "r2", "r3", "r4"])
NANO = st.sampled_from([0, 1, 30, 50, 70, 100])
SCOPES = {
    "hard": scope("hard", 100, 100),
    "soft": scope("soft", 70, 130, "downgrade"),
    "watch": alert("watch", 50, alert_at=(0.5, 1.0)),
}
SOME = st.lists(st.sampled_from(sorted(SCOPES)), unique=True, max_size=3)
BUDGETS = st.frozensets(st.sampled_from(sorted(SCOPES)))
NEW_LIMITS = st.sampled_from([30, 70, 100, 200])


class Obvious:
    """What the ledger must do, by adding up everything anew each time."""

    def __init__(self):
        self.limits = {name: found.limit for name, found in SCOPES.items()}
        self.open = {}  # request id -> (nano, scopes, lease ends)
        self.lost = {}  # request id -> (nano, scopes)
        self.spent = dict.fromkeys(SCOPES, 0)
        self.rows = []  # (request id, nano)
        self.told = set()

    def reserved(self, name):
        return sum(nano for nano, names, _ in self.open.values() if name in names)

    def left(self, name):
        return self.limits[name].nano - self.spent[name] - self.reserved(name)

    def answer(self, names, nano, downgraded):
        short, soft = [], []
        for name in names:
            floor = self.limits[name].floor
            floor = min(floor, 0) if name in downgraded else floor
            if self.left(name) - nano < floor:
                asks = SCOPES[name].on_spent == "downgrade" and name not in downgraded
                (soft if asks else short).append(name)
        return Downgrade if soft else Refused if short else Reserved

    def charge(self, names, request_id, amounts):
        self.rows += [(request_id, nano) for nano in amounts]
        told = []
        for name in names:
            self.spent[name] += sum(amounts)
            for share in SCOPES[name].alert_at:
                due = self.spent[name] >= share * self.limits[name].soft_nano
                if due and (name, share) not in self.told:
                    self.told.add((name, share))
                    told.append((name, share))
        return sorted(told)


class LedgerMachine(RuleBasedStateMachine):
    """`now` moves on and is set back; every call may be a replay."""

    store = SqliteLedger

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.ledger = self.store(Path(self.folder.name))
        self.model, self.now, self.known = Obvious(), NOW, {}
        self.hashes = 0

    def teardown(self):
        self.ledger.close()
        self.folder.cleanup()

    @rule(id_=IDS, nano=NANO, names=SOME, downgraded=BUDGETS)
    def reserve(self, id_, nano, names, downgraded):
        scopes, model = [SCOPES[name] for name in names], self.model
        ends = self.now + LEASE_S
        if any(id_ == row[0] for row in model.rows):
            assert self.slip(worst(id_, nano), scopes, ends, downgraded).endswith("is charged")
            return
        if id_ in model.open:
            if model.open[id_][:2] != (nano, names):
                assert "other terms" in self.slip(worst(id_, nano), scopes, ends, downgraded)
            else:
                again = self.ledger.reserve(worst(id_, nano), scopes, self.now, ends, downgraded)
                assert again == self.known[id_]
            return
        expected = model.answer(names, nano, downgraded)
        found = self.ledger.reserve(worst(id_, nano), scopes, self.now, ends, downgraded)
        assert type(found) is expected
        if isinstance(found, Reserved):
            self.known[id_] = found
            model.open[id_] = (nano, names, ends)

    def slip(self, row, scopes, ends, downgraded):
        try:
            self.ledger.reserve(row, scopes, self.now, ends, downgraded)
        except ValueError as exc:
            return str(exc)
        raise AssertionError("it was reserved")

    def not_reserved(self, reserved, rows):
        try:
            self.ledger.settle(reserved, rows, self.now)
        except NotReserved:
            return True
        return False

    @rule(id_=IDS, used=st.lists(NANO, min_size=1, max_size=3), replayed=st.booleans())
    def settle(self, id_, used, replayed):
        if id_ not in self.known:
            return
        model, reserved = self.model, self.known[id_]
        rows = [charge(id_, nano, n) for n, nano in enumerate(used)]
        if id_ not in model.open and not any(id_ == row[0] for row in model.rows):
            assert self.not_reserved(reserved, rows)
            return
        found = self.ledger.settle(reserved, rows, self.now)
        if replayed:
            assert self.ledger.settle(reserved, rows, self.now) == []
        told = sorted((tell.budget, tell.share) for tell in found)
        if any(name != "watch" for name in [s.budget for s in reserved.scopes]):
            left = reserved.nano
            for number, nano in enumerate(used):
                used[number] = min(nano, left)
                left -= used[number]
        if id_ in model.open:
            _, names, _ = model.open.pop(id_)
            assert told == model.charge(names, id_, used)
        elif id_ in model.lost:
            nano, names = model.lost.pop(id_)
            assert told == model.charge(names, id_, [-nano, *used])
        else:
            assert told == []

    @rule(id_=IDS)
    def release(self, id_):
        if id_ not in self.known:
            return
        self.ledger.release(self.known[id_], self.now)
        self.model.open.pop(id_, None)
        if id_ in self.model.lost:
            nano, names = self.model.lost.pop(id_)
            self.model.charge(names, id_, [-nano])

    @rule(by=st.sampled_from([-90, 30, 61]))
    def time_moves(self, by):
        self.now += by

    @rule(wait_s=st.sampled_from([0, LEASE_S + 1]))
    def expire(self, wait_s):
        self.now += wait_s
        model, told = self.model, []
        ended = [id_ for id_, (_, _, ends) in model.open.items() if ends < self.now]
        for id_ in sorted(ended):
            nano, names, _ = model.open.pop(id_)
            told += model.charge(names, id_, [nano])
            model.lost[id_] = (nano, names)
        found = self.ledger.expire(self.now)
        assert found.leases == len(ended)
        assert sorted((tell.budget, tell.share) for tell in found.alerts) == sorted(told)

    @rule(soft=NEW_LIMITS, hard=NEW_LIMITS, watch=NEW_LIMITS)
    def adopt(self, soft, hard, watch):
        limits = {
            "hard": limit(hard),
            "soft": limit(soft, soft + 60),
            "watch": limit(watch, None, alert_at=(0.5, 1.0)),
        }
        self.hashes += 1
        assert self.ledger.adopt(limits, f"hash-{self.hashes}", self.now)
        self.model.limits = limits

    @rule()
    def open_again(self):
        self.ledger.close()
        self.ledger = self.store(Path(self.folder.name))

    @invariant()
    def the_books_agree(self):
        model = self.model
        assert [found for found in wrong(self.ledger) if "spent of" not in found] == []
        for name, of in SCOPES.items():
            left = self.ledger.balance(of, self.now)
            limit_nano = model.limits[name].nano
            expected = (limit_nano, model.spent[name], model.reserved(name), model.left(name))
            assert (left.limit, left.spent, left.reserved, left.avail) == expected
        rows = sorted((row.request_id, row.nano) for row in self.ledger.entries("", "9999"))
        assert rows == sorted(model.rows)


SHORT = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestLedger = LedgerMachine.TestCase
TestLedger.settings = SHORT


class TakesUnchecked(SqliteLedger):
    TAKE = SqliteLedger.TAKE.replace("AND avail - ?1 >= MIN(floor, ?3) ", "")


class JudgesNothing(TakesUnchecked):
    """The careful way alone would still refuse."""

    def _known(self, scopes):
        return tuple(row[0] for row in self._scopes.prepared(scopes, NOW))


class SettlesAgain(SqliteLedger):
    LET_GO = "UPDATE ledger_held SET nano = nano WHERE id = ? AND nano = ? AND scopes = ?"


class SettlesWithoutCondition(SqliteLedger):
    """Whatever state the reservation is in: this always does one row."""

    LET_GO = "INSERT INTO ledger_once VALUES (?1 || random(), ?2, ?3, '', 0)"


class RefundsAgain(SqliteLedger):
    TAKE_BACK = "SELECT scopes, charged FROM ledger_lost WHERE id = ?"


class NeverTells(SqliteLedger):
    CHARGE = SqliteLedger.CHARGE_AND_TELL


class ForgetsOneScope(SqliteLedger):
    CHARGE = SqliteLedger.CHARGE.replace("WHERE", "WHERE (?3 > 1 OR ?2 = 0) AND")
    CHARGE_AND_TELL = SqliteLedger.CHARGE_AND_TELL.replace("WHERE", "WHERE ?3 > 1 AND")


FOUND_OUT = (AssertionError, ValueError, NotReserved, sqlite3.IntegrityError, Flaky)


@pytest.mark.parametrize(
    "mutant",
    [
        TakesUnchecked,
        JudgesNothing,
        SettlesAgain,
        SettlesWithoutCondition,
        RefundsAgain,
        NeverTells,
        ForgetsOneScope,
    ],
)
def test_a_ledger_that_is_wrong_is_found_out(mutant):
    class Mutated(LedgerMachine):
        store = mutant

    tries = settings(SHORT, max_examples=300, database=None, phases=[Phase.generate])
    with pytest.raises(FOUND_OUT):
        run_state_machine_as_test(Mutated, settings=tries)
