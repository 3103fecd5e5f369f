"""What every store of the ledger does alike: one suite over the table of stores."""

import itertools

import pytest
from ledger_support import (
    ENDS,
    LEASE,
    NOW,
    alert,
    charge,
    dynamo_client,
    dynamo_server,
    limit,
    scope,
    worst,
    wrong,
)

from router.ledger.dynamo import DynamoLedger
from router.ledger.dynamo_table import definition
from router.ledger.entry import stamp
from router.ledger.fleet_time import FleetTime
from router.ledger.port import (
    Adopted,
    Alert,
    Before,
    Downgrade,
    NotReserved,
    Once,
    Override,
    Refused,
    Reserved,
    Standing,
)
from router.ledger.sqlite import SqliteLedger

FOREVER = "9999"


@pytest.fixture(scope="module")
def dynamo():
    with dynamo_server() as address:
        yield dynamo_client(address)


def on_sqlite(request):
    return SqliteLedger(request.getfixturevalue("tmp_path"))


def on_dynamo(request, **more):
    client, name = request.getfixturevalue("dynamo"), f"sluice-{next(TABLES)}"
    client.call("CreateTable", definition(name))
    return DynamoLedger(client, name, **more)


STORES = {"sqlite": on_sqlite, "dynamo": on_dynamo}
TABLES = itertools.count()


@pytest.fixture(params=STORES)
def ledger(request):
    opened = STORES[request.param](request)
    yield opened
    may_be = "spent of" if request.node.get_closest_marker("lowered") else None
    assert [found for found in wrong(opened) if not (may_be and may_be in found)] == []
    opened.close()


def rows(ledger):
    return list(ledger.entries("", FOREVER))


def balance(ledger, of, now=NOW):
    left = ledger.balance(of, now)
    assert left.avail + left.reserved + left.spent == left.limit
    return left.limit, left.spent, left.reserved


def test_what_is_reserved_is_held_in_every_scope(ledger):
    team, key = scope("team"), scope("key", 500, value="key=ab12cd34")
    reserved = ledger.reserve(worst("r1", 300), (team, key), NOW, LEASE)
    assert isinstance(reserved, Reserved)
    assert (reserved.id, reserved.nano, reserved.lease_ends_s) == ("r1", 300, LEASE)
    assert balance(ledger, team) == (1000, 0, 300)
    assert balance(ledger, key) == (500, 0, 300)
    assert rows(ledger) == []


def test_what_is_used_is_charged_and_the_rest_given_back(ledger):
    team = scope()
    reserved = ledger.reserve(worst("r1", 300), (team,), NOW, LEASE)
    entry = charge("r1", 120)
    assert ledger.settle(reserved, (entry,), NOW + 1) == []
    assert balance(ledger, team) == (1000, 120, 0)
    assert rows(ledger) == [entry]


def test_what_a_dead_router_had_set_aside_is_given_back_by_the_requests_id_alone(ledger):
    team = scope()
    assert ledger.abandon("r1", NOW) is None
    ledger.reserve(worst("r1", 300), (team,), NOW, LEASE)
    assert ledger.abandon("r1", NOW + 1) == "open"
    assert balance(ledger, team) == (1000, 0, 0)
    assert rows(ledger) == []
    assert ledger.abandon("r1", NOW + 1) is None
    assert ledger.expire(LEASE + 1).leases == 0


def test_what_a_dead_router_was_charged_in_full_is_given_back_too(ledger):
    team = scope()
    ledger.reserve(worst("r1", 300), (team,), NOW, LEASE)
    assert ledger.expire(LEASE + 1).leases == 1
    assert balance(ledger, team) == (1000, 300, 0)
    assert ledger.abandon("r1", LEASE + 2) == "expired"
    assert balance(ledger, team) == (1000, 0, 0)
    assert ledger.abandon("r1", LEASE + 3) == "expired"  # who asked may have died before it heard
    assert balance(ledger, team) == (1000, 0, 0)


def test_what_was_charged_for_its_use_after_its_lease_ran_out_is_not_given_back(ledger):
    team = scope()
    reserved = ledger.reserve(worst("r1", 300), (team,), NOW, LEASE)
    ledger.expire(LEASE + 1)
    ledger.settle(reserved, (charge("r1", 120),), LEASE + 2)
    assert ledger.abandon("r1", LEASE + 3) == "settled"
    assert balance(ledger, team) == (1000, 120, 0)


def test_what_was_charged_for_its_use_is_not_given_back(ledger):
    team = scope()
    reserved = ledger.reserve(worst("r1", 300), (team,), NOW, LEASE)
    ledger.settle(reserved, (charge("r1", 120),), NOW + 1)
    assert ledger.abandon("r1", NOW + 2) == "settled"
    assert balance(ledger, team) == (1000, 120, 0)


def test_what_is_not_there_in_one_scope_is_taken_from_none(ledger):
    team, key = scope("team"), scope("key", 500, value="key=ab12cd34")
    refused = ledger.reserve(worst("r1", 501), (team, key), NOW, LEASE)
    assert refused == Refused(key, 500)
    assert balance(ledger, team) == (1000, 0, 0)


def test_two_values_of_one_budget_are_two_scopes(ledger):
    ledger.adopt({"app": limit(1000)}, "hash-a", NOW)
    mail, search = scope("app", value="app=mail"), scope("app", value="app=search")
    reserved = ledger.reserve(worst("r1", 300), (mail, search), NOW, LEASE)
    ledger.settle(reserved, (charge("r1", 120),), NOW)
    assert balance(ledger, mail) == balance(ledger, search) == (1000, 120, 0)


def test_the_last_nano_can_be_spent_and_no_more(ledger):
    team = scope()
    assert isinstance(ledger.reserve(worst("r1", 999), (team,), NOW, LEASE), Reserved)
    assert ledger.reserve(worst("r2", 2), (team,), NOW, LEASE) == Refused(team, 1)
    assert isinstance(ledger.reserve(worst("r3", 1), (team,), NOW, LEASE), Reserved)
    assert balance(ledger, team) == (1000, 0, 1000)


def test_the_scope_with_the_least_left_is_named(ledger):
    team, key = scope("team", 400), scope("key", 300, value="key=ab12cd34")
    assert ledger.reserve(worst("r1", 500), (team, key), NOW, LEASE) == Refused(key, 300)


def test_a_request_without_budgets_is_charged_all_the_same(ledger):
    reserved = ledger.reserve(worst("r1", 300), (), NOW, LEASE)
    entry = charge("r1", 700)
    ledger.settle(reserved, (entry,), NOW)
    assert rows(ledger) == [entry]


def test_every_attempt_is_charged(ledger):
    team = scope()
    reserved = ledger.reserve(worst("r1", 300), (team,), NOW, LEASE)
    first, second = charge("r1", 20, last=False), charge("r1", 50, n=1)
    ledger.settle(reserved, (first, second), NOW)
    assert balance(ledger, team) == (1000, 70, 0)
    assert rows(ledger) == [first, second]


def test_a_hard_budget_is_never_charged_more_than_was_reserved(ledger):
    team = scope()
    reserved = ledger.reserve(worst("r1", 300), (team,), NOW, LEASE)
    ledger.settle(reserved, (charge("r1", 250, last=False), charge("r1", 90, n=1)), NOW)
    assert balance(ledger, team) == (1000, 300, 0)
    assert [(row.nano, row.overrun_nano) for row in rows(ledger)] == [(250, 0), (50, 40)]


def test_a_soft_budget_is_charged_what_was_used(ledger):
    watched = alert(alert_at=())
    reserved = ledger.reserve(worst("r1", 3000), (watched,), NOW, LEASE)
    ledger.settle(reserved, (charge("r1", 3500),), NOW)
    assert balance(ledger, watched) == (1000, 3500, 0)


def test_a_settlement_again_does_nothing(ledger):
    team = scope()
    reserved = ledger.reserve(worst("r1", 300), (team,), NOW, LEASE)
    ledger.settle(reserved, (charge("r1", 120),), NOW)
    assert ledger.settle(reserved, (charge("r1", 130),), NOW) == []
    ledger.release(reserved, NOW)
    assert balance(ledger, team) == (1000, 120, 0)
    assert len(rows(ledger)) == 1


def test_a_reservation_again_takes_nothing_more(ledger):
    team = scope()
    first = ledger.reserve(worst("r1", 600), (team,), NOW, LEASE)
    assert ledger.reserve(worst("r1", 600), (team,), NOW, LEASE) == first
    assert balance(ledger, team) == (1000, 0, 600)


def test_a_request_reserves_on_one_set_of_terms(ledger):
    team = scope()
    ledger.reserve(worst("r1", 300), (team,), NOW, LEASE)
    with pytest.raises(ValueError, match="r1 is reserved already, on other terms"):
        ledger.reserve(worst("r1", 200), (team,), NOW, LEASE)
    assert balance(ledger, team) == (1000, 0, 300)


def test_a_request_that_is_charged_reserves_no_more(ledger):
    team = scope()
    reserved = ledger.reserve(worst("r1", 300), (team,), NOW, LEASE)
    ledger.settle(reserved, (charge("r1", 120),), NOW)
    with pytest.raises(ValueError, match="r1 was reserved before, and is charged"):
        ledger.reserve(worst("r1", 300), (team,), NOW, LEASE)
    assert balance(ledger, team) == (1000, 120, 0)


def test_what_was_not_sent_is_given_back_whole(ledger):
    team = scope()
    reserved = ledger.reserve(worst("r1", 300), (team,), NOW, LEASE)
    ledger.release(reserved, NOW)
    ledger.release(reserved, NOW)
    assert balance(ledger, team) == (1000, 0, 0)
    assert rows(ledger) == []
    assert ledger.expire(LEASE + 1).leases == 0


def test_what_was_released_can_not_be_settled(ledger):
    reserved = ledger.reserve(worst("r1", 300), (scope(),), NOW, LEASE)
    ledger.release(reserved, NOW)
    with pytest.raises(NotReserved, match="r1"):
        ledger.settle(reserved, (charge("r1", 1),), NOW)


def test_what_was_released_can_be_reserved_again(ledger):
    team = scope()
    ledger.release(ledger.reserve(worst("r1", 300), (team,), NOW, LEASE), NOW)
    assert isinstance(ledger.reserve(worst("r1", 500), (team,), NOW, LEASE), Reserved)
    assert balance(ledger, team) == (1000, 0, 500)


@pytest.mark.parametrize("bad", [(), ("r2", 1), ("r1", -1)])
def test_a_settlement_of_something_else_is_a_slip(ledger, bad):
    reserved = ledger.reserve(worst("r1", 300), (scope(),), NOW, LEASE)
    with pytest.raises(ValueError, match=r"nothing to settle|not r1's"):
        ledger.settle(reserved, (charge(*bad),) if bad else (), NOW)


@pytest.mark.parametrize("nano", [-1, 10**18 + 1])
def test_an_amount_that_can_not_be_is_a_slip(ledger, nano):
    with pytest.raises(ValueError, match="a reservation is 0 to"):
        ledger.reserve(worst("r1", nano), (scope(),), NOW, LEASE)


def test_a_scope_named_twice_is_a_slip(ledger):
    with pytest.raises(ValueError, match="named twice"):
        ledger.reserve(worst("r1", 1), (scope(), scope(soft=5)), NOW, LEASE)


def test_a_lease_that_ran_out_is_charged_in_full(ledger):
    team = scope()
    ledger.reserve(worst("r1", 300), (team,), NOW, LEASE)
    assert ledger.expire(LEASE).leases == 0
    assert ledger.expire(LEASE + 0.5).leases == 1
    assert ledger.expire(LEASE + 1).leases == 0
    assert balance(ledger, team) == (1000, 300, 0)
    (row,) = rows(ledger)
    assert (row.kind, row.nano, row.estimated, row.at) == (
        "expired", 300, True, stamp(LEASE + 0.5),
    )  # fmt: skip


def test_a_true_settlement_after_that_gives_back_once(ledger):
    team = scope()
    reserved = ledger.reserve(worst("r1", 300), (team,), NOW, LEASE)
    ledger.expire(LEASE + 1)
    for _ in range(2):
        ledger.settle(reserved, (charge("r1", 120, at_s=LEASE + 2),), LEASE + 2)
    assert balance(ledger, team) == (1000, 120, 0)
    found = [(row.n, row.kind, row.nano, row.last, row.tokens_out) for row in rows(ledger)]
    assert found == [
        (0, "expired", 300, True, None),
        (1, "correction", -300, False, None),
        (2, "correction", 120, False, 50),
    ]


def test_a_release_after_that_gives_it_all_back(ledger):
    team = scope()
    reserved = ledger.reserve(worst("r1", 300), (team,), NOW, LEASE)
    ledger.expire(LEASE + 1)
    for _ in range(2):
        ledger.release(reserved, LEASE + 2)
    assert balance(ledger, team) == (1000, 0, 0)
    assert [row.nano for row in rows(ledger)] == [300, -300]


def test_the_budget_that_is_charged_late_is_the_reservation_s(ledger):
    november, december = scope(), scope(period="2026-12", ends="2027-01-01T00:00:00Z")
    reserved = ledger.reserve(worst("r1", 300), (november,), NOW, LEASE)
    ledger.settle(reserved, (charge("r1", 100),), NOW + 30 * 86400)
    assert balance(ledger, november) == (1000, 100, 0)
    assert balance(ledger, december) == (1000, 0, 0)


def test_hundreds_of_leases_run_out_at_once(ledger):
    team = scope(soft=10**6)
    for number in range(120):
        ledger.reserve(worst(f"r{number}", 10), (team,), NOW, LEASE)
    assert ledger.expire(LEASE + 1).leases == 120
    assert balance(ledger, team) == (10**6, 1200, 0)


def test_beyond_the_soft_limit_a_request_is_downgraded(ledger):
    team = scope(soft=1000, hard=1100, on_spent="downgrade")
    assert isinstance(ledger.reserve(worst("r1", 950), (team,), NOW, LEASE), Reserved)
    asked = ledger.reserve(worst("r2", 100), (team,), NOW, LEASE)
    assert asked == Downgrade(team, 150, frozenset({"team"}))
    again = ledger.reserve(worst("r2", 100), (team,), NOW, LEASE, frozenset({"team"}))
    assert isinstance(again, Reserved)
    assert balance(ledger, team) == (1100, 0, 1050)
    more = ledger.reserve(worst("r3", 51), (team,), NOW, LEASE, frozenset({"team"}))
    assert more == Refused(team, 50)


def test_only_the_budget_that_is_downgraded_may_go_beyond(ledger):
    team = scope("team", 1000, 1100, "downgrade")
    key = scope("key", 1000, 1100, "downgrade", value="key=ab12cd34")
    both = (team, key)
    asked = ledger.reserve(worst("r1", 1050), both, NOW, LEASE, frozenset({"key"}))
    assert asked == Downgrade(team, 1100, frozenset({"team"}))
    assert ledger.reserve(worst("r1", 1050), both, NOW, LEASE).budgets == {"team", "key"}
    ids = frozenset({"team", "key"})
    assert isinstance(ledger.reserve(worst("r1", 1050), both, NOW, LEASE, ids), Reserved)


def test_a_downgrade_is_tried_before_a_refusal(ledger):
    soft = scope("soft", 100, 300, "downgrade")
    asked = ledger.reserve(worst("r1", 200), (scope("team", 150), soft), NOW, LEASE)
    assert asked == Downgrade(soft, 300, frozenset({"soft"}))


def test_an_alert_is_told_once(ledger):
    watched, told = alert(), []
    for number, nano in enumerate((499, 1, 400, 200, 5000)):
        reserved = ledger.reserve(worst(f"r{number}", nano), (watched,), NOW, LEASE)
        told.append(ledger.settle(reserved, (charge(f"r{number}", nano),), NOW))
    name = ("soft", "team=search", "2026-11", ENDS)
    half, whole = Alert(*name, 0.5, 500, 1000), Alert(*name, 1.0, 1100, 1000)
    assert told == [[], [half], [], [whole], []]


def test_one_charge_may_tell_several_alerts(ledger):
    watched = alert()
    reserved = ledger.reserve(worst("r1", 1000), (watched,), NOW, LEASE)
    told = ledger.settle(reserved, (charge("r1", 1000),), NOW)
    assert [found.share for found in told] == [0.5, 1.0]


def test_an_alert_is_not_told_again_after_a_refund(ledger):
    watched = alert()
    reserved = ledger.reserve(worst("r1", 600), (watched,), NOW, LEASE)
    assert [found.share for found in ledger.expire(LEASE + 1).alerts] == [0.5]
    assert ledger.settle(reserved, (charge("r1", 100),), LEASE + 2) == []
    again = ledger.reserve(worst("r2", 500), (watched,), LEASE, LEASE + 90)
    assert ledger.settle(again, (charge("r2", 500),), LEASE + 2) == []


def test_limits_are_those_adopted_last(ledger):
    team = scope(soft=1000)
    ledger.reserve(worst("r1", 300), (team,), NOW, LEASE)
    assert ledger.adopt({"team": limit(400)}, "hash-a", NOW)
    assert balance(ledger, team) == (400, 0, 300)
    assert ledger.reserve(worst("r2", 101), (team,), NOW, LEASE) == Refused(team, 100)
    other = scope(soft=1000, value="team=mail")
    assert balance(ledger, other) == (400, 0, 0)
    assert ledger.reserve(worst("r3", 401), (other,), NOW, LEASE) == Refused(other, 400)


def test_the_same_policy_is_adopted_once(ledger):
    assert ledger.adopt({"team": limit(400)}, "hash-a", NOW)
    assert not ledger.adopt({"team": limit(900)}, "hash-a", NOW)
    assert balance(ledger, scope())[0] == 400
    assert ledger.adopt({"team": limit(900)}, "hash-b", NOW)
    assert balance(ledger, scope())[0] == 900


def test_who_follows_changes_no_limits_but_the_first(ledger):
    ledger.follow({"team": limit(400)}, "hash-a", NOW)
    assert balance(ledger, scope())[0] == 400
    ledger.follow({"team": limit(900), "key": limit(5)}, "hash-b", NOW)
    assert ledger.adopted() == Adopted("hash-a", {"team": limit(400)})
    team = scope(soft=900)
    assert ledger.reserve(worst("r1", 401), (team,), NOW, LEASE) == Refused(team, 400)


@pytest.mark.lowered
def test_a_limit_below_what_is_spent_refuses_until_it_is_not(ledger):
    team = scope(soft=1000)
    reserved = ledger.reserve(worst("r1", 600), (team,), NOW, LEASE)
    ledger.settle(reserved, (charge("r1", 600),), NOW)
    ledger.adopt({"team": limit(500)}, "hash-a", NOW)
    assert ledger.balance(team, NOW).avail == -100
    assert ledger.reserve(worst("r2", 0), (team,), NOW, LEASE) == Refused(team, 0)
    ledger.adopt({"team": limit(700)}, "hash-b", NOW)
    assert isinstance(ledger.reserve(worst("r2", 100), (team,), NOW, LEASE), Reserved)


def test_periods_that_are_over_keep_their_limit(ledger):
    before = scope(period="2026-10", ends="2026-11-01T00:00:00Z")
    ledger.reserve(worst("r1", 300), (before,), NOW - 30 * 86400, LEASE)
    ledger.adopt({"team": limit(400)}, "hash-a", NOW)
    assert balance(ledger, before) == (1000, 0, 300)


def test_an_override_holds_until_it_ends(ledger):
    team = scope(soft=1000, hard=1100, on_spent="downgrade")
    ledger.adopt({"team": limit(1000, 1100)}, "hash-a", NOW)
    ledger.reserve(worst("r1", 900), (team,), NOW, LEASE)
    ledger.override("team", "team=search", 2000, NOW + 3600, NOW)
    assert balance(ledger, team) == (2200, 0, 900)
    assert isinstance(ledger.reserve(worst("r2", 1000), (team,), NOW, LEASE), Reserved)
    later = NOW + 3600
    assert ledger.balance(team, later).avail == -800
    assert isinstance(ledger.reserve(worst("r3", 1), (team,), later, later + 90), Downgrade)
    lowered = frozenset({"team"})
    assert ledger.reserve(worst("r3", 1), (team,), later, later + 90, lowered) == Refused(team, 0)


def test_an_override_holds_for_its_value_and_the_periods_to_come(ledger):
    ledger.adopt({"team": limit(1000)}, "hash-a", NOW)
    ledger.override("team", "team=search", 5000, NOW + 60 * 86400, NOW)
    december = scope(period="2026-12", ends="2027-01-01T00:00:00Z")
    assert isinstance(ledger.reserve(worst("r1", 4000), (december,), NOW, LEASE), Reserved)
    assert balance(ledger, december) == (5000, 0, 4000)
    mail = scope(value="team=mail")
    assert ledger.reserve(worst("r2", 4000), (mail,), NOW, LEASE) == Refused(mail, 1000)


def test_an_override_outlives_a_policy(ledger):
    team = scope()
    ledger.adopt({"team": limit(1000)}, "hash-a", NOW)
    ledger.reserve(worst("r1", 10), (team,), NOW, LEASE)
    ledger.override("team", "team=search", 5000, NOW + 3600, NOW)
    ledger.adopt({"team": limit(700)}, "hash-b", NOW)
    assert balance(ledger, team)[0] == 5000
    assert balance(ledger, team, NOW + 3600)[0] == 700


def test_an_override_of_no_budget_is_a_slip(ledger):
    with pytest.raises(KeyError, match="team"):
        ledger.override("team", "team=search", 5000, NOW + 3600, NOW)
    ledger.adopt({"team": limit(1000)}, "hash-a", NOW)
    with pytest.raises(ValueError, match="more than 0"):
        ledger.override("team", "team=search", 0, NOW + 3600, NOW)
    with pytest.raises(ValueError, match="ends after it begins"):
        ledger.override("team", "team=search", 10, NOW, NOW)


def test_an_override_that_is_ended_gives_the_adopted_limit_back(ledger):
    team = scope(soft=1000, hard=1100, on_spent="downgrade")
    ledger.adopt({"team": limit(1000, 1100)}, "hash-a", NOW)
    ledger.reserve(worst("r1", 900), (team,), NOW, LEASE)
    ledger.override("team", "team=search", 2000, NOW + 3600, NOW)
    assert ledger.end_override("team", "team=search", NOW + 1)
    assert balance(ledger, team, NOW + 1) == (1100, 0, 900)
    assert isinstance(ledger.reserve(worst("r2", 200), (team,), NOW, LEASE), Downgrade)
    assert not ledger.end_override("team", "team=search", NOW + 1)
    assert not ledger.end_override("team", "team=mail", NOW + 1)
    assert ledger.overrides(NOW + 1) == []


def test_an_override_that_ran_out_is_none_to_end(ledger):
    ledger.adopt({"team": limit(1000)}, "hash-a", NOW)
    ledger.override("team", "team=search", 2000, NOW + 3600, NOW)
    assert not ledger.end_override("team", "team=search", NOW + 3600)


def test_it_tells_which_policy_was_adopted_last_with_its_limits(ledger):
    assert ledger.adopted() is None
    ledger.adopt({"team": limit(1000, None, (0.5,)), "key": limit(10, 11)}, "hash-a", NOW)
    ledger.adopt({"team": limit(700, None, (0.5,))}, "hash-b", NOW)
    assert ledger.adopted() == Adopted("hash-b", {"team": limit(700, None, (0.5,))})


def test_what_is_left_of_every_running_scope_is_told(ledger):
    ledger.adopt({"team": limit(1000, 1100), "app": limit(500)}, "hash-a", NOW)
    team = scope(soft=1000, hard=1100, on_spent="downgrade")
    app, before = scope("app", 500, value="tags.app=数据"), scope(period="2026-10", ends=stamp(NOW))
    held = ledger.reserve(worst("r1", 300), (team, app), NOW, LEASE)
    ledger.settle(held, (charge("r1", 120),), NOW)
    ledger.reserve(worst("r2", 40), (team,), NOW, LEASE)
    ledger.reserve(worst("r3", 7), (before,), NOW - 86400, LEASE)
    ledger.override("app", "tags.app=数据", 900, NOW + 3600, NOW)
    name = ("app", "tags.app=数据", "2026-11", ENDS)
    of_app = Standing(*name, limit(900), 120, 0, NOW + 3600)
    of_team = Standing("team", "team=search", "2026-11", ENDS, limit(1000, 1100), 120, 40, None)
    assert ledger.standings(NOW) == [of_app, of_team]
    assert ledger.overrides(NOW) == [Override("app", "tags.app=数据", 900, NOW + 3600)]
    closed = ledger.standings(NOW, closed=True)
    over = Standing("team", "team=search", "2026-10", stamp(NOW), limit(1000, 1100), 0, 7, None)
    assert closed == [of_app, over, of_team]
    later = ledger.standings(NOW + 3600)[0]
    assert (later.limit, later.until_s) == (limit(500), None)
    assert ledger.overrides(NOW + 3600) == []


def test_budgets_that_were_taken_out_of_the_policy_are_not_told(ledger):
    ledger.adopt({"team": limit(1000)}, "hash-a", NOW)
    ledger.reserve(worst("r1", 300), (scope(),), NOW, LEASE)
    ledger.override("team", "team=search", 900, NOW + 3600, NOW)
    ledger.adopt({"other": limit(1000)}, "hash-b", NOW)
    assert (ledger.standings(NOW, closed=True), ledger.overrides(NOW)) == ([], [])


def order(body="body", key_id="ab12cd34"):
    return Once(key_id, "order-7", body)


def reserve(ledger, request_id, at=NOW, scopes=(), nano=10, once=None):
    return ledger.reserve(worst(request_id, nano), scopes, at, at + 90, once=once)


def test_an_idempotency_key_is_taken_once_in_24_hours(ledger):
    assert isinstance(reserve(ledger, "r1", once=order()), Reserved)
    assert reserve(ledger, "r2", NOW + 1, once=order()) == Before("r1", "open", True)
    assert reserve(ledger, "r2", NOW + 1, once=order("else")) == Before("r1", "open", False)
    assert isinstance(reserve(ledger, "r2", once=order(key_id="other")), Reserved)
    assert isinstance(reserve(ledger, "r3", NOW + 86400, once=order()), Reserved)
    assert reserve(ledger, "r4", NOW + 86401, once=order()) == Before("r3", "open", True)


def test_a_key_that_is_used_takes_no_money(ledger):
    team = scope()
    reserve(ledger, "r1", scopes=(team,), once=order())
    assert isinstance(reserve(ledger, "r2", scopes=(team,), once=order()), Before)
    assert balance(ledger, team) == (1000, 0, 10)


def test_a_used_key_is_told_before_a_spent_budget(ledger):
    team = scope()
    reserve(ledger, "r1", scopes=(team,), nano=1000, once=order())
    found = reserve(ledger, "r2", scopes=(team,), once=order())
    assert found == Before("r1", "open", True)


def test_a_request_that_is_refused_takes_no_key(ledger):
    team = scope()
    assert reserve(ledger, "r1", scopes=(team,), nano=1001, once=order()) == Refused(team, 1000)
    assert isinstance(reserve(ledger, "r2", scopes=(team,), once=order()), Reserved)


def test_the_same_request_again_has_its_key(ledger):
    first = reserve(ledger, "r1", scopes=(scope(),), once=order())
    assert reserve(ledger, "r1", scopes=(scope(),), once=order()) == first
    assert reserve(ledger, "r1", scopes=(scope(),)) == first


def test_the_first_request_s_state_is_told(ledger):
    reserved = reserve(ledger, "r1", once=order())
    assert reserve(ledger, "r2", once=order()).state == "open"
    ledger.expire(LEASE + 1)
    assert reserve(ledger, "r2", once=order()).state == "expired"
    ledger.settle(reserved, (charge("r1", 10),), LEASE + 2)
    assert reserve(ledger, "r2", once=order()).state == "settled"


def test_what_was_given_back_may_be_tried_again_under_its_key(ledger):
    for number in range(3):  # no fleet could be reached: nothing was spent
        ledger.release(reserve(ledger, f"r{number}", once=order()), NOW)
    assert isinstance(reserve(ledger, "r7", once=order(body="another")), Reserved)
    assert reserve(ledger, "r8", once=order()) == Before("r7", "open", False)


def test_a_clock_set_back_spends_nothing_twice(ledger):
    team, early = scope(), NOW - 7200
    reserved = ledger.reserve(worst("r1", 300), (team,), NOW, LEASE, once=order())
    assert reserve(ledger, "r2", early, once=order()).request_id == "r1"
    assert ledger.expire(early).leases == 0
    ledger.settle(reserved, (charge("r1", 120, at_s=early),), early)
    assert ledger.reserve(worst("r2", 881), (team,), early, early + 90) == Refused(team, 880)
    assert [row.request_id for row in ledger.entries(stamp(early), stamp(NOW))] == ["r1"]


def test_rows_are_read_by_the_time_they_were_settled(ledger):
    for number in range(6):
        reserved = ledger.reserve(worst(f"r{number}", 10), (), NOW, LEASE)
        at_s = NOW + number * 43200
        ledger.settle(reserved, (charge(f"r{number}", 10, at_s=at_s),), at_s)
    some = ledger.entries(stamp(NOW + 43200), stamp(NOW + 4 * 43200))
    assert [row.request_id for row in some] == ["r1", "r2", "r3"]
    assert list(ledger.entries(stamp(NOW + 10**6), FOREVER)) == []
    assert list(ledger.entries(stamp(NOW + 1), stamp(NOW))) == []


def test_fleet_times_are_kept_once(ledger):
    def row(minute, seconds=60.0, fleet="c8g", source="observed"):
        at = f"2026-11-21T10:{minute:02d}:00Z"
        return FleetTime(fleet, at, seconds, 2, 10**9, source, fleet == "p5")

    ledger.add_fleet_time([row(1), row(0, 20.0), row(2), row(0, fleet="p5")])
    ledger.add_fleet_time([row(0, 45.0), row(0, 30.0), row(1), row(1, source="assumed")])
    found = list(ledger.fleet_times("2026-11-21T10:00:00Z", "2026-11-21T10:02:00Z"))
    assert found == [row(0, 45.0), row(0, fleet="p5"), row(1, source="assumed"), row(1)]
    assert {(time.fleet, time.emulated) for time in found} == {("c8g", False), ("p5", True)}
    assert all(type(time.emulated) is bool for time in found)
