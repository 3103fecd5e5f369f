"""`sluice policy publish | rollback | history | show` on a store, as typed, and a router on it."""

import getpass
import json
import os
import shutil
import sys

import click
import httpx
import pytest
from click.testing import CliRunner
from support import catalogue, fleet, policy, process, wait_until

from backends import files
from backends.engines.llama_cpp import free_port
from router.beside import of_store, stops_of
from router.cli.errors import INVALID
from router.cli.main import cli
from router.policy_store import PolicyStore
from router.sources import Sources, names_of
from router.stops import Stop

FLEETS = catalogue(fleet("one", "http://127.0.0.1:1/v1"))


@pytest.fixture
def place(tmp_path):
    (tmp_path / "own.yaml").write_text(FLEETS, "utf-8")
    (tmp_path / "test.yaml").write_text(f"# why it is so\n{policy()}", "utf-8")
    return tmp_path


def run(place, command, *more, code=0, why="slower nights"):
    """Run it on the store `policies` of the state folder; return the result."""
    options = ["--state", place]
    if command in ("publish", "rollback"):
        options += ["--fleets", place / "own.yaml", *(("--why", why) if why else ())]
    before = click.UsageError.exit_code
    click.UsageError.exit_code = INVALID  # as `main` has it
    try:
        ran = CliRunner().invoke(cli, ["policy", command, *map(str, [*more, *options])])
    finally:
        click.UsageError.exit_code = before
    assert ran.exit_code == code, ran.output
    return ran


def publish(place, text=None, *more, **kind):
    path = place / "test.yaml"
    if text is not None:
        path = place / "changed.yaml"
        path.write_text(text, "utf-8")
    return run(place, "publish", path, *more, **kind)


def history(place):
    return json.loads(run(place, "history", "--json").stdout)


def stated(place):
    return {one["version"]: one["state"] for one in history(place)}


NEW = policy(rules="  - {id: new, use: cpu}\n")
NEXT = NEW.replace("name: test", "name: next")
CANARY = policy() + "canary: {policy: next, share: 0.5}\n"


def test_what_is_published_is_in_force_and_history_says_who_when_and_why(place):
    assert "version 1 (test " in publish(place, why="夜里慢一点").stdout
    publish(place, NEW, "--by", "ana", "--from", "1")
    newest, first = history(place)
    assert (first["who"], first["why"]) == (getpass.getuser(), "夜里慢一点")
    assert (newest["who"], newest["parent"], newest["file"]) == ("ana", 1, "changed.yaml")
    assert first["at"] < newest["at"]
    assert stated(place) == {2: "in force", 1: "before"}
    shown = run(place, "history").stdout.splitlines()
    assert shown[0].split() == ["version", "when", "who", "policy", "hash", "state", "why"]
    assert "夜里慢一点" in shown[3]


def test_a_policy_is_shown_as_it_was_written_and_as_it_holds(place):
    publish(place)
    written = run(place, "show", "--as-written").stdout
    assert written == f"# why it is so\n{policy()}"
    holds = json.loads(run(place, "show", "1").stdout)
    assert holds["rules"][0]["settings"]["limits"]["attempts"] == 3
    whole = json.loads(run(place, "show", "current", "--json").stdout)
    assert (whole["text"], whole["compiled"]) == (written, holds)
    assert whole["hash"] == history(place)[0]["hash"]


def test_going_back_is_a_new_entry_and_says_what_it_is_again(place):
    publish(place)
    publish(place, NEW)
    assert "as 1 was, is in force" in run(place, "rollback", why="too slow").stdout
    assert stated(place) == {3: "in force", 2: "taken back", 1: "before"}
    assert history(place)[0]["back_to"] == 1
    assert "nothing older differs from" in run(place, "rollback", code=2).output
    said = json.loads(run(place, "rollback", "--to-version", "2", "--json").stdout)
    assert (said["version"], said["back_to"]) == (4, 2)
    assert "there is nothing to do" in run(place, "rollback", "--to-version", "2", code=2).output
    assert "unknown version 9 (known: 4, 3, 2, 1)" in (
        run(place, "rollback", "--to-version", "9", code=3).output
    )


def test_the_same_policy_published_again_is_told_and_going_back_passes_over_it(place):
    publish(place)
    publish(place, NEW)
    assert "version 2 decided in the same way" in publish(place, NEW, why="again").output
    assert "as 1 was" in run(place, "rollback").stdout


def test_the_second_of_two_publishers_is_told_who_came_first_when_and_why(place):
    publish(place, None, "--by", "bo", why="cheaper nights")
    publish(place, NEW, "--by", "bo", why="dearer days")
    at = history(place)[0]["at"]
    said = publish(place, None, "--from", "1", code=2).output
    assert f'came since version 1: version 2, which bo published at {at} ("dearer days")' in said
    look = f"`sluice policy show 2 --as-written --to {place / 'policies'}`"
    assert f"Look at it ({look}), then publish with `--from 2`" in said
    assert (
        "version 2, which you published"
        in publish(place, None, "--by", "bo", "--from", "1", code=2).output
    )
    assert len(history(place)) == 2
    publish(place, None, "--from", "2")


def test_what_somebody_else_published_is_replaced_only_by_who_says_that_they_saw_it(place):
    publish(place, None, "--by", "ana")
    publish(place, None, "--by", "ana")  # one's own goes on as ever
    at = history(place)[0]["at"]
    said = publish(place, NEW, "--by", "bo", why="dearer days", code=2).output
    assert f'replace version 2, which ana published at {at} ("slower nights"); you are bo.' in said
    assert f"`sluice policy show 2 --as-written --to {place / 'policies'}`" in said
    assert "publish with `--from 2` if it is in what you have" in said
    assert len(history(place)) == 2
    shown = run(place, "show", "--as-written")
    assert "note: what you make of version 2 is published with `--from 2`" in shown.stderr
    assert "from" not in run(place, "show", "1", "--as-written").stderr
    publish(place, NEW, "--by", "bo", "--from", "2")
    publish(place, None, "--by", "ana", code=2)
    run(place, "rollback", "--by", "ana")
    publish(place, NEW, "--by", "bo", code=2)  # would undo the rollback


def test_so_it_is_with_candidates_and_others_stand_in_nobodys_way(place):
    publish(place, None, "--by", "ana")
    publish(place, NEXT, "--candidate", "--by", "bo")
    publish(place, NEXT, "--candidate", "--by", "ana", code=2)
    publish(place, NEXT, "--candidate", "--shadow", "--by", "bo")
    publish(place, NEXT, "--candidate", "--shadow", "--by", "ana", code=2)
    publish(place, NEXT.replace("next", "other"), "--candidate", "--by", "ana")
    publish(place, NEW, "--by", "ana")


def test_whose_shadow_candidate_a_policy_ends_is_said(place):
    publish(place, None, "--by", "ana")
    assert publish(place, NEXT, "--candidate", "--shadow", "--by", "bo").stderr == ""
    said = "note: this ended the shadow candidate of version 2, which bo published"
    assert said in publish(place, NEW, "--by", "ana").stderr
    publish(place, NEXT, "--candidate", "--shadow", "--by", "bo")
    publish(place, NEXT.replace("next", "other"), "--candidate", "--by", "ana")
    ran = run(place, "rollback", "--json")
    assert said.replace("2", "4") in ran.stderr
    assert json.loads(ran.stdout)["version"] == 6
    assert "shadow" not in publish(place, NEW, "--from", "6").stderr  # it is over


def test_while_nobody_knows_what_is_in_force_it_is_replaced_by_who_says_so_alone(place):
    publish(place)
    publish(place, NEW, "--by", "ana", "--from", "1")
    (place / "policies" / "versions" / "000002.json").write_bytes(b"{")
    doubt = "versions/000002.json can't be read, so nobody knows which policy is in force"
    shown = run(place, "show", "1", "--as-written")
    assert shown.stdout == f"# why it is so\n{policy()}"
    assert doubt in shown.stderr
    refused = publish(place, NEW, code=2).output  # version 1 is one's own
    assert doubt in refused
    assert "say which holds by `sluice policy publish --from 2 --to" in " ".join(refused.split())
    publish(place, NEW, "--from", "2")
    assert doubt not in run(place, "show", "1").stderr


def test_how_a_canary_stopped_is_shown_whole_in_words_too(place):
    publish(place)
    publish(place, NEXT, "--candidate", why="try the other lane")
    publish(place, CANARY)
    store, names = place / "policies", names_of(files.catalogue(place / "own.yaml", place))
    key = of_store(store, names, place).trial.key
    why = (
        "it costs $0.000200 a request against $0.000100 (over 120 and 130 of them), more than 1.2 "
        "times as much, in the last 11 minutes"
    )
    at = "2026-01-05T12:00:00.000Z"
    stops_of(store, place).write(key, Stop("next", "h", "test", "h", why, at, 2))
    told = f"version 2 (next) stopped at {at}: {why}"
    shown = run(place, "history").stdout
    assert told in shown.splitlines()
    assert "try the other lane" in shown
    assert history(place)[1]["stopped"] == why
    assert f"note: {told}" in run(place, "show", "2").stderr
    assert json.loads(run(place, "show", "2").stdout)["name"] == "next"
    assert json.loads(run(place, "show", "2", "--json").stdout)["stopped"] == why
    assert "stopped" not in run(place, "show", "--json").stdout
    # a router that starts now doesn't begin it again
    world = Sources(place, place / "own.yaml", store).load()
    assert (world.canary, world.trial.stopped) == (None, why)


def test_what_is_in_force_in_a_store_is_checked_with_the_canary_that_it_names(place):
    def checked(code, *more):
        options = ["--fleets", place / "own.yaml", *more]
        return run(place, "check", place / "policies", *options, code=code).output

    publish(place)
    publish(place, NEXT, "--candidate")
    publish(place, CANARY)
    assert f"{place / 'policies'}: ok (test " in checked(0)
    (place / "cases").mkdir()
    case = "version: 1\ncases:\n  - {name: all, facts: {tier: simple}, expect: {rule: all}}\n"
    (place / "cases" / "changed.yaml").write_text(case, "utf-8")  # as the version's file
    assert "1 case passes" in checked(0, "--cases", place / "cases")
    own = FLEETS.replace("lane: cpu", "lane: other")
    (place / "own.yaml").write_text(own, "utf-8")
    assert f"{place / 'policies'} version 3:6: rule all: unknown lane `cpu`" in checked(3)
    assert "nothing is in force here yet" in (
        run(place, "check", PolicyStore.make(place / "empty").folder, code=3).output
    )


def test_a_policys_file_is_checked_with_the_canary_beside_it(place):
    path, beside = place / "named.yaml", place / "next.yaml"
    path.write_text(CANARY, "utf-8")

    def checked(code, *more):
        return run(place, "check", path, "--fleets", place / "own.yaml", *more, code=code).output

    said = f"warning: {path}:7: canary: there is no `next.yaml` beside it"
    assert said in checked(0)
    checked(1, "--strict")
    beside.write_text(NEXT, "utf-8")
    assert "warning" not in checked(0, "--strict")
    beside.write_text(policy(), "utf-8")
    assert f"{beside}: its `name` is `test`" in checked(3)
    beside.write_text(NEXT.replace("use: cpu", "use: gpu"), "utf-8")
    assert f"{beside}:6: rule new: unknown lane `gpu`" in checked(3)
    assert "warning" not in publish(place, CANARY, code=3).output  # there it is no file


def test_a_file_that_can_not_be_read_is_its_policys_problem_and_the_others_are_checked(place):
    publish(place)
    shutil.rmtree(place / "policies" / "versions")
    named = place / "named.yaml"
    named.write_text(CANARY, "utf-8")
    (place / "next.yaml").mkdir()
    given = (named, place / "policies", place / "test.yaml")
    ran = run(place, "check", *given, "--fleets", place / "own.yaml", "--json", code=3)
    beside, store, whole = json.loads(ran.stdout)
    assert beside["problems"] == [f"{place / 'next.yaml'}: Is a directory"]
    assert store["problems"] == [f"{place / 'policies' / 'versions'}: No such file or directory"]
    assert (whole["problems"], whole["policy"]["name"]) == ([], "test")


def test_up_takes_a_store_as_serve_does(place):
    publish(place)
    own, log = place / "own.yaml", place / "up.log"
    port = free_port()
    options = ["--state", place, "--fleets", own, "--policy", place / "policies", "--port", port]
    with process(sys.executable, "-m", "router.cli", "up", *options, log=log) as running:
        said = wait_for_policy(f"http://127.0.0.1:{port}/readyz")
        told = ""
        for line in iter(running.stdout.readline, ""):
            told += line
            if "see why" in line:
                break
    hash_ = history(place)[0]["hash"]
    assert f"policy: test ({hash_}, version 1)" in told
    why = f"--policy {place / 'policies'} --fleets {own} --state {place}\n"
    assert why in told.partition("see why: ")[2]
    assert said == {"name": "test", "hash": history(place)[0]["hash"], "stale": False, "version": 1}


def test_up_starts_nothing_for_a_policy_that_is_none(place, monkeypatch):
    begun = []
    monkeypatch.setattr("router.cli.up._start_lanes", lambda *_: begun.append(_) or [])
    options = ["--state", place / "new", "--policy", place, "--port", free_port()]
    ran = CliRunner().invoke(cli, ["up", *map(str, options)])
    assert (ran.exit_code, begun) == (3, [])
    assert f"{place}: no store of policies, and not empty: name a new folder" in ran.output
    assert not (place / "new").exists()


def wait_for_policy(url):
    found = []

    def answers():
        try:
            found.append(httpx.get(url).json()["policy"])
        except httpx.TransportError:
            return False
        return True

    wait_until(answers)
    return found[0]


def test_a_policy_is_checked_before_it_is_published(place):
    wrong = policy().replace("use: cpu", "use: gpu")
    assert "changed.yaml:6: rule all: unknown lane `gpu`" in publish(place, wrong, code=3).output
    assert not (place / "policies").exists()
    run(place, "history", code=3)


def test_a_policy_that_no_longer_fits_the_fleets_is_not_gone_back_to(place):
    publish(place)
    publish(place, NEW)
    (place / "own.yaml").write_text(FLEETS.replace("lane: cpu", "lane: other"), "utf-8")
    assert "version 1:7: rule all: unknown lane `cpu`" in run(place, "rollback", code=3).output


def test_a_canary_has_to_be_there_before_the_policy_that_names_it(place):
    publish(place)
    said = publish(place, CANARY, code=3).output
    assert "version 2: canary: no version is a candidate named `next`: publish it first" in said
    assert f"`sluice policy publish --candidate --to {place / 'policies'}`" in said
    publish(place, NEXT, "--candidate")
    publish(place, CANARY)
    assert stated(place) == {3: "in force", 2: "canary", 1: "before"}
    said = publish(place, NEXT + "canary: {policy: x, share: 0.1}\n", "--candidate", code=3).output
    assert "a candidate has no canary of its own" in said


def test_a_candidate_is_taken_back_by_its_name(place):
    publish(place)
    publish(place, NEXT, "--candidate", "--shadow")
    assert stated(place) == {2: "shadow", 1: "in force"}
    assert "unknown" not in run(place, "rollback", "--candidate", "next").output
    assert stated(place) == {3: "withdrawal", 2: "taken back", 1: "in force"}
    said = run(place, "rollback", "--candidate", "next", code=3).output
    assert "no candidate is named `next` (known: none)" in said
    assert "is a shadow: publish it" in run(place, "rollback", "--to-version", "2", code=2).output


@pytest.mark.parametrize(
    ("command", "more", "said"),
    [
        ("publish", ("--strategy", "x"), "it would do nothing in a store"),
        ("publish", ("--no-wait",), "it would do nothing in a store"),
        ("publish", ("--shadow",), "it goes with `--candidate`"),
        ("publish", ("--to", "appconfig:a/b/c", "--by", "me"), "it would do nothing on AppConfig"),
        ("publish", ("--to", "appconfig:a/b/c", "--candidate"), "it would do nothing on AppConfig"),
        ("publish", ("--to", "appconfig:a"), "no place on AppConfig"),
        ("publish", ("--why", " "), "it is empty"),
        ("publish", ("--why", "\udcff"), "not a UTF-8 text"),
        ("publish", ("--why", "a\x1b[2J"), "control characters"),
        ("publish", ("--by", "a\nb"), "control characters"),
        ("rollback", ("--strategy", "x"), "it would do nothing in a store"),
        ("rollback", ("--candidate", "a", "--to-version", "1"), "choose one of"),
        ("rollback", ("--to", "appconfig:a/b/c", "--candidate", "x"), "that is a store's"),
        ("show", ("--to", "appconfig:a/b/c", "--as-written"), "comments stay in the file"),
        ("show", ("zero",), "`zero` is no version (valid: a number from 1, or `current`)"),
        ("show", (), "is not there (`sluice policy publish --to"),
        ("history", (), "is not there (`sluice policy publish --to"),
        ("rollback", (), "is not there (`sluice policy publish --to"),
    ],
)
def test_what_would_do_nothing_or_is_wrong_is_refused(place, command, more, said):
    given = (place / "test.yaml", *more) if command == "publish" else more
    why = None if "--why" in more else "slower nights"
    assert said in " ".join(run(place, command, *given, code=3, why=why).output.split())


def test_a_folder_of_other_things_is_told(place):
    said = publish(place, None, "--to", place, code=3).output
    assert "no store of policies, and not empty: name a new folder" in said
    for command in ("history", "show", "rollback"):
        said = run(place, command, "--to", place, code=3).output
        assert "no store of policies, and not empty: name a new folder" in said
    (place / "bare").mkdir()
    said = run(place, "history", "--to", place / "bare", code=3).output
    assert f"(`sluice policy publish --to {place / 'bare'}` makes one)" in said
    nothing = PolicyStore.make(place / "empty").folder
    assert "nothing is in force here yet" in run(place, "show", "--to", nothing, code=3).output
    assert "nothing to go back to" in run(place, "rollback", "--to", nothing, code=2).output


def test_a_disk_that_takes_nothing_is_told_and_nothing_is_published(place, monkeypatch):
    publish(place)
    full = OSError(28, "No space left on device")  # as `write` says it
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(full))
    said = f"{place / 'policies'}: No space left on device: nothing was published"
    assert said in publish(place, NEW, code=1).output
    monkeypatch.undo()
    assert stated(place) == {1: "in force"}
    assert [*(place / "policies" / "versions").glob(".*")] == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_told(place):
    publish(place)
    folder = place / "policies" / "versions"
    folder.chmod(0o500)
    try:
        assert "Permission denied: nothing was published" in publish(place, NEW, code=1).output
    finally:
        folder.chmod(0o700)


# -- a router on it --------------------------------------------------------------------------------


def ready(router):
    return httpx.get(router.url + "/readyz").json()


def test_a_router_follows_a_store_and_a_torn_version_is_told_and_left_out(
    start_router, upstream, place
):
    publish(place)
    publish(place, NEXT, "--candidate")
    store = place / "policies"
    router = start_router(catalogue(fleet("one", upstream.url)), None, "--policy", store)
    assert router.chat().headers["x-sluice-rule"] == "all"
    assert ready(router)["policy"]["version"] == 1

    budget = "budgets: [{id: all, match: {}, usd: 5, per: day, when_spent: reject}]\n"
    publish(place, NEW + budget)
    wait_until(lambda: router.chat().headers["x-sluice-rule"] == "new")
    receipt = router.receipt(router.chat())
    assert receipt["reservation"]["scopes"][0]["budget"] == "all"  # its limits are in force

    hashes = {one["version"]: one["hash"] for one in history(place)}
    wait_until(lambda: f"(policy test ({hashes[3]}, version 3))" in router.log())

    publish(place, CANARY)
    wait_until(lambda: "canary" in ready(router))
    now = ready(router)
    assert (now["policy"]["version"], now["canary"]["version"]) == (4, 2)
    names = {router.chat().headers["x-sluice-policy"].partition("@")[0] for _ in range(30)}
    assert names == {"test", "next"}
    run(place, "rollback", "--candidate", "next", why="not now")
    wait_until(lambda: ready(router)["canary"]["stopped"])
    assert "taken back: version 5 by" in ready(router)["canary"]["stopped"]

    torn = store / "versions" / "000006.json"
    torn.write_bytes(b'{"number": 6, "pa')
    wait_until(lambda: f"{torn}: not a whole version: it is left out" in router.log())
    assert router.chat().status_code == 200
    wait_until(lambda: ready(router)["policy"]["stale"])
    said = "versions/000006.json can't be read, so nobody knows which policy is in force"
    assert said in run(place, "show", code=2).output
    assert said in run(place, "rollback", code=2).output
    options = ["--state", place, "--fleets", place / "own.yaml", "--policy", store, "--port", "0"]
    ran = CliRunner().invoke(cli, ["serve", *map(str, options)])
    assert (ran.exit_code, said in ran.output) == (3, True)
    run(place, "rollback", "--to-version", "1")
    wait_until(lambda: not ready(router)["policy"]["stale"])
    wait_until(lambda: "canary" not in ready(router))

    (place / "own.yaml").write_text(FLEETS.replace("lane: cpu", "lane: other"), "utf-8")
    publish(place, policy("other"))  # fits those fleets, not the router's
    wait_until(lambda: ready(router)["policy"]["stale"])
    assert f"{store} version 8:6: rule all: unknown lane `other`" in router.log()
    assert router.chat().headers["x-sluice-rule"] == "all"


def test_a_canary_that_stops_is_kept_in_the_store_and_shown_by_history(
    start_router, upstream, second_upstream, place
):
    two = fleet("two", second_upstream.url, lane="accelerator")
    fleets = catalogue(fleet("one", upstream.url), two)
    (place / "own.yaml").write_text(fleets, "utf-8")
    second_upstream.answers(b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n")
    publish(place, policy("accelerator").replace("name: test", "name: next"), "--candidate")
    stop_if = "canary: {policy: next, share: 0.7, stop_if: {error_rate_above: 0.1}}\n"
    publish(place, policy() + stop_if)
    shadow = policy("accelerator").replace("name: test", "name: later")
    publish(place, shadow, "--candidate", "--shadow")
    router = start_router(fleets, None, "--policy", place / "policies")
    while not ready(router)["canary"]["stopped"]:
        router.chat()
    assert stated(place) == {3: "shadow", 2: "in force", 1: "stopped"}
    assert "requests failed" in history(place)[2]["stopped"]
    assert "requests failed" in run(place, "history").stdout
    stables = [one for one in router.receipts() if "canary" not in one]
    assert {one["candidate"]["policy"]["name"] for one in stables} == {"later"}
    publish(place, policy() + stop_if)  # anew: it begins again
    assert stated(place)[1] == "canary"
    wait_until(lambda: ready(router)["canary"]["stopped"] is None)


@pytest.mark.parametrize("empty", [True, False], ids=["empty", "other things"])
def test_a_router_does_not_start_on_a_folder_without_a_policy(place, empty):
    folder = PolicyStore.make(place / "p").folder if empty else place
    options = ["--state", place, "--policy", folder, "--port", "0"]
    ran = CliRunner().invoke(cli, ["serve", *map(str, options)])
    assert ran.exit_code == 3
    yet = f"nothing is in force here yet: `sluice policy publish --to {folder}` puts a policy"
    assert (yet if empty else "no store of policies, and not empty: name a new") in ran.output


@pytest.mark.parametrize(
    "command",
    [
        ("policy", "test", "STORE", "--cases", "CASES"),
        ("policy", "diff", "STORE", "FILE"),
        ("policy", "diff", "FILE", "STORE"),
        ("route", "hi", "--policy", "STORE"),
        ("replay", "gen:poisson?rate=0.2&seconds=100", "--no-curve", "--policy", "STORE"),
        ("replay", "gen:poisson?rate=0.2&seconds=100", "--no-curve", "--against", "STORE"),
        ("plan", "gen:poisson?rate=0.2&seconds=3600", "--slo", "ttft_p95=2s", "--policy", "STORE"),
        ("doctor", "--policy", "STORE"),
    ],
    ids=lambda command: " ".join(word for word in command if "gen:" not in word),
)
def test_a_store_is_read_wherever_a_policys_file_is(place, command):
    (place / "cases").mkdir()
    case = "version: 1\ncases:\n  - {name: all, facts: {tier: simple}, expect: {rule: new}}\n"
    (place / "cases" / "changed.yaml").write_text(case, "utf-8")  # as the version's file
    publish(place)
    publish(place, NEW)
    given = {"STORE": place / "policies", "FILE": place / "test.yaml", "CASES": place / "cases"}

    def ran():
        words = [given.get(word, word) for word in command]
        options = ["--fleets", place / "own.yaml", "--state", place]
        return CliRunner().invoke(cli, [*map(str, [*words, *options])])

    if command[0] not in ("plan", "doctor"):  # one takes long, one asks the fleet
        assert ran().exit_code == 0
    (place / "own.yaml").write_text(
        FLEETS.replace("lane: cpu", "lane: other"), "utf-8"
    )  # the version in force is what is read
    assert f"{place / 'policies'} version 2:6: rule new: unknown lane `cpu`" in ran().output


def test_a_store_keeps_no_cases_so_they_are_asked_for(place):
    publish(place)
    said = run(place, "test", place / "policies", code=3).output
    assert "a store keeps no cases: give `--cases`" in said
