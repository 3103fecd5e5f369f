"""Publishing into a store of policies, and going back there."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import orjson

from backends.parse import Source
from policies.names import Names
from router.beside import key_of, read, stops_of, trial_of
from router.cli.errors import FAILED, INVALID, REFUSED, Ends
from router.ledger.entry import stamp
from router.policy_store import (
    Full,
    Kind,
    Listed,
    Meanwhile,
    NotAStore,
    PolicyStore,
    Unknown,
    Version,
    Words,
    is_store,
    tried,
    typed,
    user,
)
from router.printable import printable
from router.stops import Stop


@dataclass(frozen=True, slots=True)
class Started:
    """Where to, and the version that one started from. `is_said`: who publishes named it; else it
    is the newest, and whether they have ever seen that nobody knows.
    """

    folder: Path
    parent: int
    state: Path
    is_said: bool


@dataclass(frozen=True, slots=True)
class Back:
    """What is gone back to: a version, or the one before; or the candidate that is taken back."""

    folder: Path
    state: Path
    version: int | None
    candidate: str | None


Author = tuple[str | None, str]
"""Who (None: this machine's user), and why."""


@contextmanager
def stored() -> Iterator[None]:
    """Turn what a store says into a message and an exit code."""
    try:
        yield
    except (NotAStore, Unknown) as exc:
        raise Ends(str(exc), INVALID) from None
    except (Full, Meanwhile) as exc:
        raise Ends(str(exc), REFUSED) from None


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        said = f"{exc.filename or folder}: {exc.strerror or exc}: nothing was published"
        raise Ends(said, FAILED) from None


def newest(folder: Path) -> int:
    """Return the newest version; 0: there is none."""
    return PolicyStore(folder).listed().newest if is_store(folder) else 0


def publish(started: Started, source: Source, names: Names, kind: Kind, author: Author) -> Version:
    """Make a version of this text. Raises as PolicyStore does; yamlfile.Invalid."""
    policy = read(source, names)
    with _writing(started.folder):
        store = PolicyStore.make(started.folder)
    listed = told_of(store.listed())
    if not started.is_said:
        _certain(listed, started.folder)
        _seen(listed, listed.replaced_by(kind, policy.name), author[0] or user())
    if kind == "policy":
        at = started.parent + 1, started.state
        trial_of(store, listed, policy, names, at)  # a canary that it names has to be there
    elif policy.canary is not None:
        said = "a candidate has no canary of its own: remove `canary`"
        raise Ends(f"{source.name}: {said}", INVALID)
    running = listed.in_force() if kind == "policy" and listed.doubt() is None else None
    if running is not None and running.words.hash == policy.hash:
        said = f"version {running.number} decided in the same way: no request is decided otherwise"
        click.echo(f"note: {said}", err=True)
    words = Words(Path(source.name).name, source.text, policy.name, policy.hash, policy.compiled)
    made = Version(0, started.parent, kind, "", "", "", words)
    return _added(store, listed, made, author)


def rollback(back: Back, names: Names, author: Author) -> Version:
    """Make a version of older words, or one that takes a candidate back."""
    store = PolicyStore(back.folder)
    listed = told_of(store.listed())
    if back.candidate is not None:
        gone = _candidate(listed, back.candidate)
        taken = Version(0, listed.newest, "withdrawal", "", "", "", gone.words, gone.number)
        return _added(store, listed, taken, author)
    doubt = listed.doubt()
    if doubt is not None and back.version is None:
        raise Ends(f"{back.folder}: {doubt}", REFUSED)
    try:
        number = listed.before() if back.version is None else back.version
    except Unknown as exc:
        raise Ends(f"{back.folder}: {exc}", REFUSED) from None
    version = store.version(number)
    if version.kind != "policy":
        raise Ends(f"{store.called(version)} is a {version.kind}: publish it", REFUSED)
    running = listed.in_force()
    same = running is not None and running.words.hash == version.words.hash
    if same and doubt is None:
        raise Ends(f"{store.called(version)} is in force: there is nothing to do", REFUSED)
    source = Source(store.called(version), version.words.text)
    policy = read(source, names)
    trial_of(store, listed, policy, names, (listed.newest + 1, back.state))
    again = Version(0, listed.newest, "policy", "", "", "", version.words, version.meant)
    return _added(store, listed, again, author)


def tell(made: Version, folder: Path, *, as_json: bool) -> None:
    if as_json:
        click.echo(orjson.dumps({"store": str(folder), **summary(made)}))
        return
    words = made.words
    ends = {
        "policy": "is in force",
        "candidate": f"is a candidate: `canary: {{policy: {words.policy}, share: ...}}` tries it",
        "shadow": "decides beside the policy in force, and nothing is sent for that",
        "withdrawal": f"takes candidate {made.back_to} back",
    }
    again = "" if made.kind != "policy" or made.back_to is None else f", as {made.back_to} was,"
    name = f"{printable(words.policy)} {words.hash}"
    said = f"version {made.number} ({name}){again} {ends[made.kind]}"
    click.echo(f"{said}: {folder}")


def summary(version: Version) -> dict[str, Any]:
    """Return what is said of a version without its words."""
    words = version.words
    return {
        "version": version.number, "kind": version.kind, "parent": version.parent,
        "back_to": version.back_to, "at": version.at, "who": version.who, "why": version.why,
        "policy": words.policy, "hash": words.hash, "file": words.file,
    }  # fmt: skip


def _added(store: PolicyStore, listed: Listed, version: Version, author: Author) -> Version:
    """`listed`: what was there before."""
    who, why = author
    with _writing(store.folder):
        made = store.add(version.signed(who or user(), why, stamp(time.time())))
    beside = listed.shadow() if made.kind == "policy" else None
    if beside is not None:
        said = f"version {beside.number}, which {printable(beside.who)} published"
        click.echo(f"note: this ended the shadow candidate of {said}", err=True)
    return made


def _certain(listed: Listed, folder: Path) -> None:
    """Refuse to replace unasked what nobody knows: it may be somebody else's. Raises Meanwhile."""
    doubt = listed.doubt()
    if doubt is not None:
        raise Meanwhile(f"{folder}: {doubt}")


def _seen(listed: Listed, replaced: Version | None, who: str) -> None:
    """Refuse to replace somebody else's version unasked: the file may be older than it is. Raises
    Meanwhile.
    """
    if replaced is None or replaced.who == who:
        return
    look = typed(f"show {replaced.number} --as-written", listed.folder)
    raise Meanwhile(
        f"this would replace {replaced.told(who)}; you are {printable(who)}. Look at it ({look}), "
        f"and publish with `--from {listed.newest}` if it is in what you have"
    )


def _candidate(listed: Listed, name: str) -> Version:
    """Return the candidate of this name that may be taken back. Raises Unknown."""
    kinds = ("candidate", "shadow")
    found = [v for v in listed.versions if v.kind in kinds and not listed.withdrawal(v.number)]
    named = [version for version in found if version.words.policy == name]
    if not named:
        known = ", ".join(sorted({version.words.policy for version in found})) or "none"
        raise Unknown(f"no candidate is named `{name}` (known: {known})")
    return named[0]


def stopped(listed: Listed, folder: Path, state: Path) -> dict[int, Stop]:
    """Return how candidates were stopped; of one that is tried again it says nothing."""
    stops = stops_of(folder, state)
    found = {stop.number: stop for stop in stops.all() if stop.number is not None}
    running, canary = listed.in_force(), tried(listed)
    if running is not None and canary is not None:
        hashes = running.words.hash, canary.words.hash
        if stops.find(key_of((running.number, canary.number), *hashes)) is None:
            found.pop(canary.number, None)
    return found


def end_of(version: Version, stop: Stop) -> str:
    """Return in one line which candidate stopped, when and why."""
    name = f"version {version.number} ({version.words.policy})"
    return printable(f"{name} stopped{f' at {stop.at}' if stop.at else ''}: {stop.why}")


def told_of(listed: Listed) -> Listed:
    """Warn of what can't be read; return the rest."""
    for said in listed.unreadable:
        click.echo(f"warning: {printable(said)}", err=True)
    return listed
