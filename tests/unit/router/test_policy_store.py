"""A store of policies: its versions, who came first, and what a killed publisher leaves behind."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import pytest

from router.policy_store import (
    Full,
    Meanwhile,
    NotAStore,
    PolicyStore,
    Unknown,
    Version,
    Words,
    states,
    tried,
    user,
)


def words(name="prod", text="text"):
    return Words(f"{name}.yaml", text, name, "0123456789abcdef", {"name": name})


def version(parent, kind="policy", name="prod", back_to=None, like=None, **more):
    found = replace(words(name), hash=f"{parent + 1 if like is None else like:016x}")
    if more:
        found = Words(found.file, found.text, name, found.hash, {**found.compiled, **more})
    at = "2026-01-05T12:00:00.000Z"
    return Version(0, parent, kind, "ana", "夜里慢一点", at, found, back_to)


@pytest.fixture
def store(tmp_path):
    return PolicyStore.make(tmp_path / "policies")


def of(store, *kinds):
    """Add a version of each kind, or a whole one; return what is listed then."""
    for each in kinds:
        newest = store.listed().newest
        store.add(version(newest, each) if isinstance(each, str) else each)
    return store.listed()


def test_what_was_added_is_read_as_it_was(store):
    made = store.add(version(0))
    assert made.number == 1
    assert store.listed().versions == (made,)
    assert store.version(1) == made
    assert PolicyStore.make(store.folder).listed().versions == (made,)


def test_the_newest_policy_is_in_force_and_not_a_candidate(store):
    found = of(store, "policy", "policy", "candidate", "shadow")
    assert found.in_force().number == 2
    assert found.shadow().number == 4


def test_a_shadow_decides_until_a_policy_is_published_or_it_is_taken_back(store):
    found = of(store, "policy", "shadow", version(2, "withdrawal", back_to=2))
    assert found.shadow() is None
    assert states(found, ()) == {1: "in force", 2: "taken back", 3: "withdrawal"}
    found = of(store, "shadow")
    assert states(found, ())[4] == "shadow"
    assert of(store, "policy").shadow() is None


def test_of_a_shadow_that_is_over_is_said_what_became_of_it(store):
    found = of(store, "policy", "shadow", "shadow", "candidate", "policy", "candidate")
    expected = {1: "before", 2: "replaced by 3", 3: "ended by 5", 4: "replaced by 6"}
    assert states(found, ()) == {**expected, 5: "in force", 6: "candidate"}
    taken = of(store, "shadow", "shadow", version(8, "withdrawal", back_to=8))
    assert (states(taken, ())[7], states(taken, ())[8]) == ("replaced by 8", "taken back")


@pytest.mark.parametrize(
    ("kind", "name", "number"),
    [
        ("policy", "prod", 1),
        ("policy", "renamed", 1),
        ("candidate", "next", 2),
        ("candidate", "other", None),
        ("shadow", "any", 3),
        ("candidate", "gone", None),
    ],
)
def test_what_a_new_version_takes_the_place_of(store, kind, name, number):
    one, gone = version(1, "candidate", "next"), version(3, "candidate", "gone")
    back = version(4, "withdrawal", "gone", back_to=4)
    found = of(store, "policy", one, version(2, "shadow", "next"), gone, back)
    replaced = found.replaced_by(kind, name)
    assert (None if replaced is None else replaced.number) == number


def test_the_canary_is_the_newest_candidate_of_the_name_that_the_policy_gives(store):
    one = version(1, "candidate", "next")
    two = version(2, "candidate", "next")
    other = version(3, "candidate", "other")
    found = of(store, "policy", one, two, other, version(4, canary={"policy": "next"}))
    assert tried(found).number == 3
    expected = {1: "before", 2: "replaced by 3", 3: "canary", 4: "candidate", 5: "in force"}
    assert states(found, ()) == expected
    assert states(found, {3})[3] == "stopped"


def test_going_back_again_goes_further_back_and_never_to_what_was_left(store):
    of(store, "policy", "policy", "policy")
    assert store.listed().before() == 2
    found = of(store, version(3, back_to=2, like=2))
    assert found.before() == 1
    assert states(found, ())[3] == "taken back"
    assert of(store, version(4, back_to=1, like=1)).newest == 5
    with pytest.raises(Unknown, match="nothing older differs from what is in force"):
        store.listed().before()


def test_who_comes_second_is_told_who_came_first_when_and_why(store):
    of(store, "policy", "policy")
    others = replace(version(1), who="bo")
    of_whom = 'which {} published at 2026-01-05T12:00:00.000Z ("夜里慢一点"). Look at it ('
    said = f"came since version 1: version 2, {of_whom.format('ana')}"
    with pytest.raises(Meanwhile, match=re.escape(said)):
        store.add(others)
    with pytest.raises(Meanwhile, match=re.escape(of_whom.format("you"))):
        store.add(version(1))
    with pytest.raises(Meanwhile, match=r"came meanwhile: .*, then publish with `--from 2`$"):
        store.add(version(0))
    with pytest.raises(Meanwhile, match=r", then go back again$"):
        store.add(version(1, back_to=1, like=1))
    with pytest.raises(Meanwhile, match="there is no version 7 to start from: the newest is 2"):
        store.add(version(7))
    assert store.listed().newest == 2


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b'{"number": 2, "par',
        b"[]",
        b'{"check": 1}',
        b"\xff\xfe",
        pytest.param(None, id="changed by hand"),
    ],
)
def test_a_version_that_is_not_whole_is_left_out_and_told(store, broken):
    of(store, "policy", "policy")
    path = store.folder / "versions" / "000002.json"
    if broken is None:
        broken = path.read_bytes().replace(b"text", b"TEXT")
    path.write_bytes(broken)
    found = store.listed()
    assert found.unreadable == (f"{path}: not a whole version: it is left out",)
    assert (found.in_force().number, found.newest) == (1, 2)
    with pytest.raises(Meanwhile, match="version 2, which can't be read"):
        store.add(version(1))
    assert store.add(version(2)).number == 3


def test_while_a_newer_version_can_not_be_read_nobody_knows_what_is_in_force(store):
    of(store, "policy", "policy", version(2, back_to=1, like=1))
    path = store.folder / "versions" / "000003.json"
    path.write_bytes(b"{")
    assert "versions/000003.json can't be read" in store.listed().doubt()
    assert f"`sluice policy rollback --to-version N --to {store.folder}`" in store.listed().doubt()
    assert states(store.listed(), ())[2] == "in doubt"
    assert of(store, version(3, like=1)).doubt() is None  # somebody said what holds


def test_going_back_passes_over_the_same_policy_and_over_what_was_taken_back(store):
    of(store, "policy", "policy", version(2, like=2))
    assert store.listed().before() == 1
    of(store, version(3, like=1), version(4, back_to=2, like=2))  # 1 and 4 are one, and left
    with pytest.raises(Unknown, match="choose a version with `--to-version N`"):
        store.listed().before()


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.mkdir(),
        lambda path: path.symlink_to("nowhere"),
        os.mkfifo,
        lambda path: path.write_text("[" * 100_000),
    ],
    ids=["folder", "dangling link", "pipe", "deep"],
)
def test_an_entry_that_is_no_readable_file_is_told_and_the_rest_is_read(store, make):
    of(store, "policy")
    path = store.folder / "versions" / "000002.json"
    make(path)
    found = store.listed()
    assert found.unreadable == (f"{path}: not a whole version: it is left out",)
    assert (found.in_force().number, found.newest, found.lost) == (1, 2, (2,))
    before = store.stamp()
    assert of(store, "policy").doubt() is None
    assert store.stamp() != before


def test_a_file_of_another_name_takes_no_number_and_is_told(store):
    of(store, "policy")
    for name in ("9" * 23, "12", "000000"):
        (store.folder / "versions" / f"{name}.json").write_text("{}")
    found = of(store, "policy")
    assert (found.newest, found.lost, len(found.unreadable)) == (2, (), 3)
    (store.folder / "versions" / "999999.json").write_text("{}")
    with pytest.raises(Full, match="no number after 999999"):
        of(store, "policy")


def test_what_a_terminal_would_obey_is_escaped_in_messages(store):
    (made,) = of(store, replace(version(0), who="a\x1b[2Jb", why="x\ny")).versions
    assert "by a\\x1b[2Jb at" in str(made)
    assert str(made).endswith(": x\\ny")
    assert made.told("bo").startswith("version 1, which a\\x1b[2Jb published at")


def test_an_unknown_version_is_told_with_those_that_are_known(store):
    of(store, "policy", "policy")
    with pytest.raises(Unknown, match=r"unknown version 9 \(known: 2, 1\)"):
        store.version(9)


def test_a_folder_of_other_things_is_no_store_and_none_is_made_of_it(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for opened in (PolicyStore, PolicyStore.make):
        with pytest.raises(NotAStore, match="no store of policies"):
            opened(tmp_path)
    with pytest.raises(NotAStore, match="is not there"):
        PolicyStore(tmp_path / "gone")
    with pytest.raises(NotAStore):
        PolicyStore.make(tmp_path / "notes.txt")
    assert user()


def test_what_a_killed_publisher_left_behind_is_cleared_when_it_is_old(store):
    folder = store.folder / "versions"
    old, new = folder / ".000001.json.1.aa.part", folder / ".000001.json.2.bb.part"
    for part in (old, new):
        part.write_bytes(b"{")
    os.utime(old, (time.time() - 7200,) * 2)
    assert store.listed().unreadable == ()
    of(store, "policy")
    assert (old.exists(), new.exists()) == (False, True)


PUBLISHER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from router.policy_store import Meanwhile, PolicyStore, Version, Words
    store, who = PolicyStore(Path(sys.argv[1])), sys.argv[2]
    print("ready", flush=True)
    while True:
        found = store.listed()
        if found.newest >= 60:
            break
        words = Words("p.yaml", who * 20_000, "p", "h", {})
        try:
            store.add(Version(0, found.newest, "policy", who, "why", "at", words))
        except Meanwhile:
            pass
    """
)


def publishing(store, who):
    command = [sys.executable, "-c", PUBLISHER, str(store.folder), who]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert running.stdout.readline() == "ready\n"
    return running


def test_of_publishers_at_once_that_are_killed_at_any_moment_no_version_is_torn_or_lost(store):
    seen = {}
    crowd = [publishing(store, "a"), publishing(store, "b")]
    kills, ends = 0, time.monotonic() + 60
    while any(one.poll() is None for one in crowd):
        assert time.monotonic() < ends
        time.sleep(0.02 + kills % 3 * 0.01)
        found = store.listed()
        assert found.unreadable == ()
        for one in found.versions:
            assert seen.setdefault(one.number, one.who) == one.who  # none is ever replaced
        if kills < 6 and crowd[0].poll() is None:
            crowd[0].send_signal(signal.SIGKILL)
            crowd[0].wait()
            crowd[0].stdout.close()
            crowd[0] = publishing(store, "a")
            kills += 1
    for one in crowd:
        one.stdout.close()
    found = store.listed()
    assert [one.number for one in found.versions] == list(range(60, 0, -1))
    assert [one.parent for one in found.versions] == list(range(59, -1, -1))
    assert {one.who for one in found.versions} == {"a", "b"}
    assert kills
    assert json.loads((store.folder / "versions" / "000060.json").read_bytes())["number"] == 60


def test_a_hint_names_a_folder_as_a_shell_takes_it(tmp_path):
    with pytest.raises(NotAStore, match=r"`sluice policy publish --to '.*/my policies'` makes one"):
        PolicyStore(tmp_path / "my policies")
