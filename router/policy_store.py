"""Policies in a folder: numbered versions that are never changed; the newest is what is in force.

``<folder>/versions/000007.json`` holds the text as it was written, what it compiles to, and who
published it when and why. There is no pointer to the one in force that could disagree with the
versions: making the newest version is putting it in force, in one step of the file system. A file
appears whole under its number or not at all, so a publisher may be killed at any moment, and of two
that would take the same number the second is told. Going back makes a new version of old words.

PolicyStoreFailed
* NotAStore   the folder is none, or nothing is in force there
* Unknown     a version, or a candidate, that it doesn't have
* Meanwhile   somebody else published since the version that one started from
* Full        there is no number for another version
(and OSError)
"""

import contextlib
import getpass
import json
import os
import re
import secrets
import shlex
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from backends.content_hash import content_hash
from router.printable import printable
from router.regular import content

Kind = Literal["policy", "candidate", "shadow", "withdrawal"]
"""What a version is for: to be in force; a canary, or a candidate that only decides, beside it; or
to take such a candidate back.
"""

FORM: Final = 1
MARK: Final = "sluice-policies.json"  # what makes a folder a store
VERSIONS: Final = "versions"
DIGITS: Final = 6
NAME: Final = re.compile(rf"[0-9]{{{DIGITS}}}\.json")
LEFT_BEHIND_S: Final = 3600  # a part that old is nobody's any more


class PolicyStoreFailed(Exception):  # noqa: N818  (its parts read as what they say)
    pass


class NotAStore(PolicyStoreFailed):
    pass


class Unknown(PolicyStoreFailed):
    pass


class Meanwhile(PolicyStoreFailed):
    pass


class Full(PolicyStoreFailed):
    pass


@dataclass(frozen=True, slots=True)
class Words:
    """What is published: a file's name and text, with what it compiles to."""

    file: str
    text: str
    policy: str
    hash: str
    compiled: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Version:
    """`parent`: the version that its publisher started from, 0: none. `at`: RFC 3339, UTC.
    `back_to`: the version whose words these are again, or that a withdrawal takes back.
    """

    number: int
    parent: int
    kind: Kind
    who: str
    why: str
    at: str
    words: Words
    back_to: int | None = None

    def __str__(self) -> str:
        return printable(f"version {self.number} by {self.who} at {self.at}: {self.why}")

    def told(self, to: str) -> str:
        """Return which version it is, who published it when and why, as said to this publisher."""
        who = "you" if self.who == to else self.who
        return printable(
            f'version {self.number}, which {who} published at {self.at} ("{self.why}")'
        )

    @property
    def meant(self) -> int:
        """Return the version that was first published with these words."""
        return self.number if self.back_to is None else self.back_to

    def signed(self, who: str, why: str, at: str) -> "Version":
        return replace(self, who=who, why=why, at=at)

    def json(self) -> dict[str, Any]:
        """Return all of it, as its file has it."""
        said = asdict(self)
        return {**said.pop("words"), **said}


@dataclass(frozen=True, slots=True)
class Listed:
    """The versions of a store that can be read, the newest first, and what is said of the others.
    `newest` counts those too: their numbers, which are `lost`, are taken.
    """

    folder: Path
    versions: tuple[Version, ...]
    unreadable: tuple[str, ...]
    newest: int
    lost: tuple[int, ...] = ()

    def version(self, number: int) -> Version | None:
        return next((one for one in self.versions if one.number == number), None)

    def doubt(self) -> str | None:
        """Return why nobody knows what is in force; None: `in_force` is. A version that can't be
        read may have put another policy in force, or taken this one back.
        """
        running = self.in_force()
        later = [number for number in self.lost if running is None or number > running.number]
        if not later:
            return None
        files = ", ".join(f"{number:0{DIGITS}}.json" for number in sorted(later))
        publish = typed(f"publish --from {self.newest}", self.folder)
        return (
            f"{VERSIONS}/{files} can't be read, so nobody knows which policy is in force: put back "
            f"what was there, or say which holds by {publish} or "
            f"{typed('rollback --to-version N', self.folder)}"
        )

    def in_force(self) -> Version | None:
        """Return the newest policy that can be read; whether it holds, `doubt` says."""
        return next((one for one in self.versions if one.kind == "policy"), None)

    def canary(self, name: str) -> Version | None:
        """Return the newest candidate of this name, also where it was taken back."""
        named = [v for v in self.versions if v.kind == "candidate" and v.words.policy == name]
        return named[0] if named else None

    def shadow(self) -> Version | None:
        """Return the candidate that decides beside what is in force: one published since then, and
        not taken back.
        """
        for one in self.versions:
            if one.kind == "policy":
                return None
            if one.kind == "shadow":
                return None if self.withdrawal(one.number) else one
        return None

    def replaced_by(self, kind: Kind, name: str) -> Version | None:
        """Return the version whose place a new one of this kind and name takes; None: none's."""
        if kind == "policy":
            return self.in_force()
        beside = self.canary(name) if kind == "candidate" else self.shadow()
        return None if beside is None or self.withdrawal(beside.number) else beside

    def withdrawal(self, number: int) -> Version | None:
        """Return the version that takes this candidate back."""
        kinds = (v for v in self.versions if v.kind == "withdrawal")
        return next((one for one in kinds if one.back_to == number), None)

    def before(self) -> int:
        """Return the version to go back to: the words that were in force before those that are.
        Raises Unknown.
        """
        policies = [one for one in self.versions if one.kind == "policy"]
        if not policies:
            raise Unknown("nothing was published here: there is nothing to go back to")
        now = policies[0]
        left = {one.words.hash for one in policies if one.number > now.meant} | {now.words.hash}
        for one in policies:
            if one.meant < now.meant and one.words.hash not in left:
                return one.meant
        raise Unknown(
            "nothing older differs from what is in force: choose a version with `--to-version N`"
        )


def is_store(folder: Path) -> bool:
    return (folder / MARK).is_file()


def typed(command: str, folder: Path) -> str:
    """Return how this command of `sluice policy` is typed for this store."""
    return f"`sluice policy {command} --to {shlex.quote(str(folder))}`"


class PolicyStore:
    """Raises NotAStore for a folder that is none."""

    def __init__(self, folder: Path) -> None:
        if not is_store(folder):
            if _holds_others(folder):
                raise NotAStore(_others(folder))
            there = "is no store of policies" if folder.exists() else "is not there"
            raise NotAStore(f"{folder}: {there} ({typed('publish', folder)} makes one)")
        self.folder = folder
        self._versions = folder / VERSIONS

    @classmethod
    def make(cls, folder: Path) -> "PolicyStore":
        """Return the store, made if it isn't there. Raises NotAStore where other things are."""
        if not is_store(folder):
            if _holds_others(folder):
                raise NotAStore(_others(folder))
            (folder / VERSIONS).mkdir(parents=True, exist_ok=True)
            made = json.dumps({"version": FORM, "of": "policies of Sluice"}) + "\n"
            with contextlib.suppress(FileExistsError):  # somebody else made it meanwhile
                _appear(folder / MARK, made.encode())
        return cls(folder)

    def listed(self) -> Listed:
        """Read them all; what can't be read is left out, and told."""
        versions, unreadable, lost = [], [], []
        for path in sorted(self._versions.iterdir(), reverse=True):
            if NAME.fullmatch(path.name) is None or not int(path.stem):
                if path.suffix == ".json" and path.stem.isdecimal():
                    unreadable.append(f"{path}: not the name of a version: it is left out")
                continue
            try:
                versions.append(_read(path))
            except (OSError, ValueError):
                unreadable.append(f"{path}: not a whole version: it is left out")
                lost.append(int(path.stem))
        numbers = [*lost, *(one.number for one in versions)]
        newest = max(numbers, default=0)
        return Listed(self.folder, tuple(versions), tuple(unreadable), newest, tuple(lost))

    def version(self, number: int) -> Version:
        """Raises Unknown."""
        found = self.listed()
        if (version := found.version(number)) is not None:
            return version
        known = ", ".join(str(one.number) for one in found.versions) or "none"
        raise Unknown(f"{self.folder}: unknown version {number} (known: {known})")

    def called(self, version: Version) -> str:
        """Return how messages call a version's text."""
        return f"{self.folder} version {version.number}"

    def add(self, version: Version) -> Version:
        """Make the version that follows its parent; return it with its number.

        Raises Meanwhile, Full.
        """
        found = self.listed()
        made = replace(version, number=version.parent + 1)
        if found.newest != version.parent:
            raise Meanwhile(self._came(version))
        if len(str(made.number)) > DIGITS:
            raise Full(f"{self.folder}: it has no number after {version.parent}: name a new folder")
        self._clear()
        said = made.json()
        text = json.dumps({**said, "check": content_hash(said)}, indent=1) + "\n"
        try:
            _appear(self._versions / f"{made.number:0{DIGITS}}.json", text.encode())
        except FileExistsError:
            raise Meanwhile(self._came(version)) from None
        return made

    def stamp(self) -> tuple[object, ...]:
        """Return a value that changes when a version comes or is written anew."""
        try:
            with os.scandir(self._versions) as there:
                return tuple(sorted((each.name, *_state(each)) for each in there))
        except OSError:
            return ("gone",)

    def _came(self, late: Version) -> str:
        """Say what was published since the parent of a version that comes too late."""
        found, parent = self.listed(), late.parent
        came = [one.told(late.who) for one in reversed(found.versions) if one.number > parent]
        if not came and found.newest < parent:
            return f"there is no version {parent} to start from: the newest is {found.newest}"
        said = "; ".join(came) or f"version {found.newest}, which can't be read"
        look = typed(f"show {found.newest} --as-written", self.folder)
        again = f"publish with `--from {found.newest}`" if late.back_to is None else "go back again"
        since = f"since version {parent}" if parent else "meanwhile"
        return f"came {since}: {said}. Look at it ({look}), then {again}"

    def _clear(self) -> None:
        """Remove what publishers that were killed left behind."""
        for part in self._versions.glob(".*.part"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - part.stat().st_mtime > LEFT_BEHIND_S:
                    part.unlink()


def _holds_others(folder: Path) -> bool:
    """Tell whether other things are there, among which no store is made."""
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


def _others(folder: Path) -> str:
    return f"{folder}: no store of policies, and not empty: name a new folder"


def tried(found: Listed) -> Version | None:
    """Return the candidate that the policy in force names as its canary."""
    running = found.in_force()
    canary = None if running is None else running.words.compiled.get("canary")
    return None if canary is None else found.canary(canary["policy"])


def states(found: Listed, stopped: Collection[int]) -> dict[int, str]:
    """Return what each version is now; `stopped` are candidates that stopped."""
    running, canary, beside = found.in_force(), tried(found), found.shadow()

    def state(one: Version) -> str:
        for holds, said in (
            (found.withdrawal(one.number) is not None, "taken back"),
            (one.number in stopped, "stopped"),
            (one is running, "in doubt" if found.doubt() else "in force"),
            (one is canary, "canary"),
            (one is beside, "shadow"),
            (one.kind == "withdrawal", one.kind),
        ):
            if holds:
                return said
        return _beside(one, found) if one.kind in ("candidate", "shadow") else _past(one, found)

    return {one.number: state(one) for one in found.versions}


def _beside(one: Version, found: Listed) -> str:
    """Say what became of a candidate that neither decides nor was taken back."""
    later = [v for v in reversed(found.versions) if v.number > one.number]
    if one.kind == "shadow":
        after = next(v for v in later if v.kind in ("policy", "shadow"))
        return f"{'replaced' if after.kind == 'shadow' else 'ended'} by {after.number}"
    newer = (v for v in later if v.kind == "candidate" and v.words.policy == one.words.policy)
    after_it = next(newer, None)
    return one.kind if after_it is None else f"replaced by {after_it.number}"


def _past(one: Version, found: Listed) -> str:
    """Say how a policy went that was in force."""
    later = [v for v in found.versions if v.kind == "policy" and v.number > one.number]
    gone_back = later and later[-1].back_to is not None and later[-1].back_to < one.meant
    return "taken back" if gone_back else "before"


def user() -> str:
    """Return the name of this machine's user."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # KeyError: before Python 3.13
        return "unknown"


def _read(path: Path) -> Version:
    """Raises OSError, and ValueError for what is not a whole version."""
    try:
        said = json.loads(content(path))
        check = said.pop("check")
        words = Words(*(said.pop(name) for name in Words.__slots__))
        version = Version(**said, words=words)
        is_whole = check == content_hash(version.json()) and version.number == int(path.stem)
    except (AttributeError, KeyError, RecursionError, TypeError, UnicodeDecodeError) as exc:
        raise ValueError(f"{path}: not a version") from exc
    if not is_whole:
        raise ValueError(f"{path}: not as it was written")
    return version


def _state(entry: os.DirEntry[str]) -> tuple[int, ...]:
    """Return what changes with what is read there, its mode too; of a link to nothing, nothing."""
    try:
        found = entry.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_mode


def _appear(path: Path, whole: bytes) -> None:
    """Have a file appear whole, and for good. Raises FileExistsError where one is there."""
    part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            file.write(whole)
            file.flush()
            os.fsync(file.fileno())
        os.link(part, path)  # unlike a rename it fails where somebody was quicker
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
