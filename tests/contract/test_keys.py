"""What every store of keys does alike: one suite over the table of stores."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from ledger_support import Watched, dynamo_client, dynamo_server, wrong

from router.aws_api import ApiError, ApiUnreachable
from router.dynamo_keys import DynamoKeys
from router.identity import Key
from router.key_rows import (
    ASK,
    REREAD_AFTER_S,
    Ended,
    KeysUnreadable,
    Overtaken,
    UnknownKey,
    hash_of,
)
from router.keys import KeyStore
from router.ledger.dynamo import DynamoLedger
from router.ledger.dynamo_table import definition

NOW = "2026-01-01T00:00:00.000Z"
TABLES = itertools.count()


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(scope="module")
def address():
    with dynamo_server() as served:
        yield served


@pytest.fixture
def table(address):
    name = f"keys-{next(TABLES)}"
    dynamo_client(address).call("CreateTable", definition(name))
    return name


def on_sqlite(request, clock):
    state = request.getfixturevalue("tmp_path") / "state"
    return lambda: KeyStore(state, clock)


def on_dynamo(request, clock):
    address, name = request.getfixturevalue("address"), request.getfixturevalue("table")
    return lambda: DynamoKeys(dynamo_client(address), name, clock)


STORES = {"sqlite": on_sqlite, "dynamo": on_dynamo}


@pytest.fixture(params=STORES)
def another(request, clock):
    """Open the store once more, as another process would."""
    return STORES[request.param](request, clock)


@pytest.fixture
def store(another):
    opened = another()
    yield opened
    opened.close()


def test_a_created_key_is_found_with_all_that_it_may_do(store):
    key = Key(
        id="",
        tenant="acme",
        team="搜索",
        tags={"data": "private"},
        allowed_tags=("run",),
        lanes=("cpu",),
        models=None,
        may=("pin_model", "best"),
        expires="2026-02-01T00:00:00.000Z",
        admin=True,
    )
    found = store.find(store.create(key, NOW), NOW)
    assert found.id
    assert {n: getattr(found, n) for n in Key.__slots__ if n != "id"} == {
        n: getattr(key, n) for n in Key.__slots__ if n != "id"
    }


@pytest.mark.parametrize("given", ["", "nonsense", "sk-sluice-", "sk-sluice-00000000-x", "密钥"])
def test_an_unknown_key_is_nobody(store, given):
    assert store.find(given, NOW) is None


def test_the_right_id_with_a_wrong_secret_is_nobody(store):
    text = store.create(Key(id="", tenant="acme"), NOW)
    assert store.find(text[:-1] + ("0" if text[-1] != "0" else "1"), NOW) is None


def test_a_key_expires(store):
    text = store.create(Key(id="", tenant="a", expires="2026-01-01T00:00:00.001Z"), NOW)
    assert store.find(text, NOW) is not None
    assert store.find(text, "2026-01-01T00:00:00.001Z") is None


def test_two_processes_share_the_store(store, another, clock):
    second = another()
    text = second.create(Key(id="", tenant="acme"), NOW)
    second.close()
    assert store.find(text, NOW).tenant == "acme"


# -- revoked and rotated ---------------------------------------------------------------------------

LATER = "2026-01-01T01:00:00.000Z"


def id_in(text):
    return text.split("-")[2]


def secret_in(text):
    return text.split("-")[3]


def test_a_revoked_key_is_nobody_at_once_here_and_within_seconds_elsewhere(store, another, clock):
    text = store.create(Key(id="", tenant="acme"), NOW)
    running = another()
    assert running.find(text, NOW) is not None
    store.revoke(id_in(text), NOW)
    assert store.find(text, NOW) is None
    clock.now += REREAD_AFTER_S + 0.1
    assert running.find(text, NOW) is None
    running.close()


def test_a_revoked_key_stays_in_the_list_with_its_time(store):
    text = store.create(Key(id="", tenant="acme"), NOW)
    store.revoke(id_in(text), LATER)
    (stored,) = store.all()
    assert (stored.state(LATER), stored.revoked, stored.created) == ("revoked", LATER, NOW)


def test_a_key_is_revoked_once(store):
    text = store.create(Key(id="", tenant="acme"), NOW)
    store.revoke(id_in(text), NOW)
    with pytest.raises(Ended, match=f"was revoked at {NOW}"):
        store.revoke(id_in(text), LATER)
    assert store.get(id_in(text)).revoked == NOW


def test_an_unknown_key_is_neither_revoked_nor_rotated(store):
    for change in (store.revoke, store.rotate):
        with pytest.raises(UnknownKey, match="deadbeef"):
            change("deadbeef", NOW)


def test_a_rotated_key_keeps_its_id_and_rights_and_has_another_secret(store):
    old = store.create(Key(id="", tenant="acme", team="a", lanes=("cpu",), admin=True), NOW)
    before = store.find(old, NOW)
    new = store.rotate(id_in(old), LATER)
    assert id_in(new) == id_in(old)
    assert secret_in(new) != secret_in(old)
    assert store.find(new, LATER) == before
    assert store.find(old, LATER) is None
    assert store.get(id_in(old)).rotated == LATER


def test_a_running_store_takes_the_new_secret_at_once(store, another, clock):
    old = store.create(Key(id="", tenant="acme"), NOW)
    running = another()
    assert running.find(old, NOW) is not None
    new = store.rotate(id_in(old), NOW)
    assert running.find(new, NOW) is not None
    running.close()


def test_during_the_grace_both_secrets_work_and_then_only_the_new(store):
    old = store.create(Key(id="", tenant="acme"), NOW)
    new = store.rotate(id_in(old), NOW, LATER)
    before_the_end = "2026-01-01T00:59:59.999Z"
    assert store.find(old, before_the_end) == store.find(new, before_the_end) is not None
    assert store.find(old, LATER) is None
    assert store.find(new, LATER) is not None


def test_of_two_rotations_only_the_last_secret_has_a_grace(store):
    first = store.create(Key(id="", tenant="acme"), NOW)
    second = store.rotate(id_in(first), NOW, LATER)
    third = store.rotate(id_in(first), NOW, LATER)
    assert store.find(first, NOW) is None
    assert store.find(second, NOW) == store.find(third, NOW) is not None


def test_a_revocation_ends_the_grace_too(store):
    old = store.create(Key(id="", tenant="acme"), NOW)
    new = store.rotate(id_in(old), NOW, LATER)
    store.revoke(id_in(old), NOW)
    assert store.find(old, NOW) is store.find(new, NOW) is None


def test_what_has_ended_is_not_rotated(store):
    revoked = store.create(Key(id="", tenant="a"), NOW)
    store.revoke(id_in(revoked), NOW)
    expired = store.create(Key(id="", tenant="a", expires=LATER), NOW)
    with pytest.raises(Ended, match="was revoked at"):
        store.rotate(id_in(revoked), NOW)
    with pytest.raises(Ended, match="expired at"):
        store.rotate(id_in(expired), LATER)
    assert store.find(expired, NOW) is not None


def test_limits_come_back_as_they_were_given(store):
    key = Key(id="", tenant="a", requests_per_min=60, tokens_per_min=10_000, concurrent=4)
    found = store.find(store.create(key, NOW), NOW)
    assert (found.requests_per_min, found.tokens_per_min, found.concurrent) == (60, 10_000, 4)


# -- what is read lately ---------------------------------------------------------------------------


def test_what_was_read_lately_is_known_without_reading(store, clock):
    text = store.create(Key(id="", tenant="acme"), NOW)
    assert store.known(text, NOW) is ASK
    found = store.find(text, NOW)
    assert store.known(text, NOW) is found
    clock.now += REREAD_AFTER_S + 0.1
    assert store.known(text, NOW) is ASK


def test_a_wrong_secret_is_never_known(store):
    text = store.create(Key(id="", tenant="acme"), NOW)
    store.find(text, NOW)
    assert store.known(text + "0", NOW) is ASK


def test_what_ended_since_it_was_read_is_known_to_be_nobody(store):
    text = store.create(Key(id="", tenant="acme", expires=LATER), NOW)
    assert store.find(text, NOW) is not None
    assert store.known(text, LATER) is None


def test_the_list_is_in_the_order_in_which_they_were_made(store):
    for number in (3, 1, 2):
        store.create(Key(id="", tenant=f"t{number}"), f"2026-01-0{number}T00:00:00.000Z")
    assert [stored.key.tenant for stored in store.all()] == ["t1", "t2", "t3"]


def test_of_rotations_at_once_one_secret_is_left(another, store):
    text = store.create(Key(id="", tenant="acme"), NOW)
    start = threading.Barrier(4)

    def rotate(_):
        mine = another()
        start.wait()
        try:
            return mine.rotate(id_in(text), NOW)
        except Overtaken:
            return None
        finally:
            mine.close()

    with ThreadPoolExecutor(4) as pool:
        made = [found for found in pool.map(rotate, range(4)) if found is not None]
    assert len([found for found in made if store.find(found, NOW)]) == 1
    assert store.find(text, NOW) is None


# -- what only a table has -------------------------------------------------------------------------


@pytest.fixture
def client(address):
    return dynamo_client(address)


def test_only_a_hash_is_kept_and_the_ledgers_books_are_right_beside_it(client, table, clock):
    text = DynamoKeys(client, table, clock).create(Key(id="", tenant="acme"), NOW)
    (item,) = client.call("Scan", {"TableName": table})["Items"]
    assert item["hash"] == {"S": hash_of(text).hex()}
    assert (item["pk"], item["sk"]) == ({"S": "KEYS"}, {"S": id_in(text)})
    assert secret_in(text) not in str(item)
    assert wrong(DynamoLedger(client, table)) == []


def test_a_rotation_that_was_overtaken_changes_nothing(client, table, clock):
    theirs = DynamoKeys(client, table, clock)
    text, made = theirs.create(Key(id="", tenant="acme"), NOW), []

    def overtake(operation):
        if operation == "UpdateItem" and not made:
            made.append(theirs.rotate(id_in(text), NOW))

    ours = DynamoKeys(Watched(client, before=overtake), table, clock)
    with pytest.raises(Overtaken, match=f"was rotated at {NOW} by somebody else"):
        ours.rotate(id_in(text), LATER, LATER)
    assert theirs.find(made[0], NOW) is not None
    assert theirs.find(text, NOW) is None


def test_a_rotation_that_came_after_a_revocation_is_told(client, table, clock):
    theirs = DynamoKeys(client, table, clock)
    text = theirs.create(Key(id="", tenant="acme"), NOW)

    def revoke(operation):
        if operation == "UpdateItem":
            theirs.revoke(id_in(text), NOW)

    with pytest.raises(Ended, match=f"was revoked at {NOW}"):
        DynamoKeys(Watched(client, before=revoke), table, clock).rotate(id_in(text), NOW)


class Twice:
    """Its answers get lost: what is sent is sent again."""

    def __init__(self, client):
        self.client = client

    def call(self, operation, body):
        self.client.call(operation, body)
        return self.client.call(operation, body)


def test_a_change_that_is_sent_again_finds_itself_done(client, table, clock):
    keys = DynamoKeys(Twice(client), table, clock)
    text = keys.create(Key(id="", tenant="acme"), NOW)
    assert [stored.key.id for stored in keys.all()] == [id_in(text)]
    new = keys.rotate(id_in(text), NOW)
    assert keys.find(new, NOW) is not None
    keys.revoke(id_in(text), NOW)
    assert keys.get(id_in(text)).revoked == NOW


def test_an_id_that_is_taken_is_not_given_again(client, table, clock):
    keys = DynamoKeys(client, table, clock)
    first = keys.create(Key(id="", tenant="one"), NOW)

    class Taken:
        """The first that is made has the id of another key."""

        sent = 0

        def call(self, operation, body):
            self.sent += 1
            if self.sent == 1:
                body = {**body, "Item": {**body["Item"], "sk": {"S": id_in(first)}}}
            return client.call(operation, body)

    second = DynamoKeys(Taken(), table, clock).create(Key(id="", tenant="two"), NOW)
    assert keys.find(first, NOW).tenant == "one"
    assert keys.find(second, NOW).tenant == "two"


@pytest.mark.parametrize(
    "failure", [ApiUnreachable("gone"), ApiError("ThrottlingException", "slow", 400, {})]
)
def test_a_table_that_cant_be_used_is_told_by_every_method(failure, clock):
    def fail(_):
        raise failure

    keys = DynamoKeys(Watched(None, before=fail), "keys", clock)
    for ask in (
        lambda: keys.find("sk-sluice-0123abcd-x", NOW),
        lambda: keys.create(Key(id="", tenant="acme"), NOW),
        keys.all,
        lambda: keys.get("0123abcd"),
        lambda: keys.revoke("0123abcd", NOW),
        lambda: keys.rotate("0123abcd", NOW),
    ):
        with pytest.raises(KeysUnreadable, match=rf"table of keys can't be used: {failure}"):
            ask()


@pytest.mark.parametrize(
    "item",
    [
        {"rights": "{}", "hash": "00"},
        {"rights": "[]", "hash": "00"},
        {"hash": "00"},
        {"rights": '{"tenant": "a"}'},
        {"rights": '{"tenant": "a"}', "hash": "xyz"},
        {"rights": '{"tenant": "a", "from_the_future": 1}', "hash": "00"},
    ],
)
def test_an_item_that_is_not_understood_opens_nothing(client, table, clock, item):
    item = {name: {"S": value} for name, value in item.items()}
    item |= {"pk": {"S": "KEYS"}, "sk": {"S": "0123abcd"}}
    client.call("PutItem", {"TableName": table, "Item": item})
    with pytest.raises(KeysUnreadable, match="`0123abcd` is not of a form"):
        DynamoKeys(client, table, clock).find("sk-sluice-0123abcd-x", NOW)
