import json
import sqlite3

import httpx
import pytest
from support import catalogue, fleet, policy, sluice, wait_until

from router.key_rows import REREAD_AFTER_S


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def created(state):
    """The text of one key."""
    return create(state)


def create(state, *more):
    made = sluice("keys", "create", "--tenant", "acme", "--state", state, *more)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def id_in(text):
    return text.split("-")[2]


def secret_in(text):
    return text.split("-")[3]


def listed(state):
    return json.loads(sluice("keys", "list", "--state", state, "--json").stdout)["keys"]


# -- list ------------------------------------------------------------------------------------------


def test_the_list_says_who_and_what_and_never_a_secret(state):
    one = create(state, "--team", "search", "--tag", "cc=7", "--lane", "cpu", "--expires", "30d")
    two = create(state, "--admin", "--may", "best")
    shown = sluice("keys", "list", "--state", state)
    assert shown.returncode == 0
    first, second = shown.stdout.splitlines()[2:]
    for word in (f"sk-sluice-{id_in(one)}", "active", "acme", "search", "lane cpu", "tag cc=7"):
        assert word in first
    for word in (f"sk-sluice-{id_in(two)}", "never", "admin", "best"):
        assert word in second
    as_json = sluice("keys", "list", "--state", state, "--json").stdout
    for text in (one, two):
        assert secret_in(text) not in shown.stdout + as_json


def test_the_json_list_has_every_field(state, created):
    (row,) = listed(state)
    assert row["id"] == id_in(created)
    assert row["prefix"] == f"sk-sluice-{row['id']}"
    assert row["state"] == "active"
    assert row["limits"] == {"requests_per_min": None, "tokens_per_min": None, "concurrent": None}
    assert (row["expires"], row["revoked"], row["rotated"], row["old_until"]) == (None,) * 4
    assert row["created"].endswith("Z")


def test_an_empty_store_says_how_to_make_a_key(state):
    create(state)
    db = sqlite3.connect(state / "sluice.db")
    db.execute("DELETE FROM keys")
    db.commit()
    db.close()
    assert "sluice keys create" in sluice("keys", "list", "--state", state).stdout


# -- revoke and rotate -----------------------------------------------------------------------------


def test_a_key_is_revoked_by_its_id_or_by_itself_on_standard_input(state):
    for given in (lambda t: (id_in(t), ""), lambda t: (t[:18], ""), lambda t: ("-", t + "\n")):
        argument, stdin = given(create(state))
        ended = sluice("keys", "revoke", argument, "--state", state, input=stdin)
        assert ended.returncode == 0, ended.stderr
        assert "within 2 seconds" in ended.stdout
    assert [row["state"] for row in listed(state)] == ["revoked"] * 3


def test_rotate_prints_a_new_secret_under_the_same_id(state, created):
    rotated = sluice("keys", "rotate", id_in(created), "--grace", "1h", "--state", state, "--json")
    said = json.loads(rotated.stdout)
    assert id_in(said["key"]) == id_in(created)
    assert said["key"] != created
    (row,) = listed(state)
    assert row["old_until"] == said["old_until"] > row["rotated"]
    assert "old until" in sluice("keys", "list", "--state", state).stdout


@pytest.mark.parametrize("command", ["revoke", "rotate"])
def test_a_key_that_ended_or_never_was_is_told(state, created, command):
    unknown = sluice("keys", command, "deadbeef", "--state", state)
    assert (unknown.returncode, "unknown key `deadbeef`" in unknown.stderr) == (3, True)
    sluice("keys", "revoke", id_in(created), "--state", state)
    again = sluice("keys", command, id_in(created), "--state", state)
    assert (again.returncode, "was revoked at" in again.stderr) == (2, True)


@pytest.mark.parametrize("command", ["revoke", "rotate"])
def test_a_whole_key_in_argv_is_refused_and_not_repeated(state, created, command):
    for given in (created, secret_in(created)):
        refused = sluice("keys", command, given, "--state", state)
        assert refused.returncode == 3
        assert secret_in(created) not in refused.stdout + refused.stderr
    assert listed(state)[0]["state"] == "active"


def test_what_is_not_this_keys_secret_changes_nothing(state, created):
    other = created[:-1] + ("0" if created[-1] != "0" else "1")
    refused = sluice("keys", "revoke", "-", "--state", state, input=other)
    assert (refused.returncode, "is not the one of key" in refused.stderr) == (3, True)
    assert secret_in(other) not in refused.stderr
    for nothing in ("", "sk-sluice-", "hello", "x" * 5000):
        refused = sluice("keys", "rotate", "-", "--state", state, input=nothing)
        assert (refused.returncode, "holds no key" in refused.stderr) == (3, True)
    assert listed(state)[0]["rotated"] is None


@pytest.mark.parametrize("grace", ["soon", "0h", "1y", "-1h", "999999w"])
def test_a_grace_is_a_span(state, created, grace):
    refused = sluice("keys", "rotate", id_in(created), "--grace", grace, "--state", state)
    assert (refused.returncode, "`--grace" in refused.stderr) == (3, True)
    assert listed(state)[0]["rotated"] is None


@pytest.mark.parametrize("command", [["list"], ["revoke", "deadbeef"], ["rotate", "deadbeef"]])
def test_a_folder_without_keys_is_told_and_not_made(tmp_path, command):
    refused = sluice("keys", *command, "--state", tmp_path / "typo")
    assert (refused.returncode, "has no keys" in refused.stderr) == (3, True)
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize("command", [["list"], ["revoke", "deadbeef"], ["rotate", "deadbeef"]])
def test_a_corrupt_store_is_told_in_one_line(state, command):
    state.mkdir()
    (state / "sluice.db").write_bytes(b"no database" * 1000)
    failed = sluice("keys", *command, "--state", state)
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1
    assert "sluice.db` can't be used: file is not a database" in failed.stderr


def test_limits_are_stored_and_listed(state):
    made = sluice("keys", "create", "--tenant", "a", "--rpm", "5", "--tpm", "6", "--concurrent",
                  "7", "--state", state)  # fmt: skip
    assert made.returncode == 0, made.stderr
    (row,) = json.loads(sluice("keys", "list", "--json", "--state", state).stdout)["keys"]
    assert row["limits"] == {"requests_per_min": 5, "tokens_per_min": 6, "concurrent": 7}


# -- a router that runs ----------------------------------------------------------------------------


def status_of(router, key):
    headers = {"authorization": f"Bearer {key}"}
    return httpx.get(router.url + "/v1/models", headers=headers).status_code


def test_a_running_router_follows_rotation_and_revocation_within_seconds(start_router, upstream):
    router = start_router(catalogue(fleet("one", upstream.url)), policy())
    old, state = router.key, router.state
    assert status_of(router, old) == 200
    new = sluice("keys", "rotate", "-", "--grace", "1h", "--state", state, input=old).stdout.strip()
    assert (status_of(router, new), status_of(router, old)) == (200, 200)
    newest = sluice("keys", "rotate", id_in(new), "--state", state).stdout.strip()
    assert status_of(router, newest) == 200
    wait_until(lambda: status_of(router, new) == 401, within_s=REREAD_AFTER_S + 3)
    assert status_of(router, old) == 401
    sluice("keys", "revoke", id_in(newest), "--state", state)
    wait_until(lambda: status_of(router, newest) == 401, within_s=REREAD_AFTER_S + 3)
    said = httpx.get(router.url + "/v1/models", headers={"x-sluice-key": newest}).json()
    assert "revoked" in said["error"]["message"]
    assert secret_in(newest) not in json.dumps(said) + router.log()
