"""What AWS gives a router to decide by, written where its files are watched: the policy of
AppConfig into `<state>/policy.json`, the prices that a worker refreshed into `<state>/prices.yaml`.

What doesn't pass its checks is not written, so both files are always the last good ones.
"""

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from backends import files, parse_prices
from backends.catalogue import Catalogue
from router.appconfig import Reader
from router.appconfig_place import Place
from router.aws_api import Api, AwsFailed, Limits, Misset
from router.faults import BadSetting, NoPolicy
from router.world import World
from yamlfile import Invalid, Problem

# A start waits for it, and Lambda ends one that takes 10 s.
LIMITS: Final = Limits(connect_s=1.0, read_s=2.0, attempts=2)
POLICY: Final = "policy.json"
PRICES_KEY: Final = {"pk": {"S": "CONFIG"}, "sk": {"S": "prices"}}

Check = Callable[[str, str, Catalogue], None]
"""Raises yamlfile.Invalid for a policy's text, called by a name, that these fleets can't follow."""


@dataclass(frozen=True, slots=True)
class Polled:
    """What stands in the way; None: nothing. `unasked`: AppConfig can't be asked; `refused`: what
    it gives can't be followed; `prices`: why they are as they were.
    """

    unasked: str | None = None
    refused: str | None = None
    prices: str | None = None


class Source:
    """Called from one thread at a time; a call may wait for the network.

    `table`: of DynamoDB, with the prices. Raises BadSetting, MissingPart.
    """

    def __init__(
        self, place: Place, state: Path, environment: Mapping[str, str], table: str | None
    ) -> None:
        self.place, self.policy = place, state / POLICY
        self._prices = files.own_prices(state)
        self._table = table
        try:
            self._reader = Reader(place, Api("appconfigdata", None, environment, LIMITS))
            self._items = None if table is None else Api("dynamodb", None, environment, LIMITS)
        except Misset as exc:
            raise BadSetting(f"{place}: {exc}") from None
        self._refused: bytes | None = None  # given, and not adopted as yet
        self._version = ""  # of the prices
        self._prices_said: str | None = None

    @property
    def next_s(self) -> float:
        """Return in how many seconds the service wants to be asked again."""
        return self._reader.next_s

    def begin(self, load: Callable[[], World]) -> tuple[World, Polled]:
        """Fetch, and return the world that `load` makes of it.

        The last good policy serves where AppConfig can't be asked, or what it gives is wrong.
        Raises NoPolicy, OSError and what `load` does.
        """
        self.policy.parent.mkdir(parents=True, exist_ok=True)
        kept = self.policy.read_bytes() if self.policy.exists() else None
        unasked = None
        try:
            content = self._reader.latest()
        except AwsFailed as exc:
            if kept is None:
                raise NoPolicy(f"{self.place}: no policy, and none from before: {exc}") from None
            content, unasked = None, str(exc)
        prices = self._poll_prices()
        if content is None or content == kept:
            return load(), Polled(unasked, None, prices)
        _write(self.policy, content)
        try:
            return load(), Polled(None, None, prices)
        except Invalid as exc:
            if kept is None:
                self.policy.unlink()  # else it would be the last good one
                raise
            _write(self.policy, kept)
            self._refused = content
            return load(), Polled(None, str(exc), prices)

    def poll(self, catalogue: Catalogue, check: Check) -> Polled:
        """Fetch what is new, and write what is good of it."""
        prices = self._poll_prices()
        try:
            content = self._reader.latest() or self._refused
        except AwsFailed as exc:
            return Polled(str(exc), None, prices)
        if content is None:
            return Polled(None, None, prices)
        self._refused = content
        try:
            check(_text(content, str(self.place)), str(self.place), catalogue)
            if not self.policy.exists() or self.policy.read_bytes() != content:
                _write(self.policy, content)
        except Invalid as exc:
            return Polled(None, str(exc), prices)
        except OSError as exc:
            return Polled(None, f"{self.policy}: {exc.strerror}", prices)
        self._refused = None
        return Polled(None, None, prices)

    def close(self) -> None:
        self._reader.close()
        if self._items is not None:
            self._items.close()

    def _poll_prices(self) -> str | None:
        """Take over prices of another version; return why those that are there aren't used."""
        if self._items is None:
            return None
        try:
            answer = self._items.call("GetItem", {"TableName": self._table, "Key": PRICES_KEY})
        except AwsFailed as exc:
            return f"they can't be asked for: {exc}"
        item = answer.get("Item")
        if not item:
            return None  # no worker has refreshed them yet
        try:
            text, version = str(item["text"]["S"]), str(item["version"]["S"])
        except (KeyError, TypeError):
            return f"the item CONFIG prices of `{self._table}` has no `text` and `version`"
        if version != self._version:
            self._prices_said = self._adopted(text)
            self._version = version
        return self._prices_said

    def _adopted(self, text: str) -> str | None:
        try:
            content = self._with_own(text).encode()
            if not self._prices.exists() or self._prices.read_bytes() != content:
                _write(self._prices, content)
        except Invalid as exc:
            return str(exc)
        except OSError as exc:
            return f"{self._prices}: {exc.strerror}"
        return None

    def _with_own(self, text: str) -> str:
        """Return what `sluice fleet prices refresh` would write: rates, pools and other rows that
        are there stay.
        """
        name = f"dynamodb:{self._table} CONFIG prices"
        found = parse_prices.read(text, name)
        if not self._prices.exists():
            return text
        own = files.on_disk(self._prices)
        both = parse_prices.overlaid(parse_prices.read(own.text, own.name), found)
        if both.version == found.version:
            return text
        return yaml.safe_dump(both.compiled, sort_keys=False, default_flow_style=None, width=200)


def _text(content: bytes, name: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as exc:
        line = content[: exc.start].count(b"\n") + 1
        said = f"not UTF-8: {exc.reason} at byte {exc.start}"
        raise Invalid([Problem(f"{name}:{line}", said)]) from None


def _write(path: Path, content: bytes) -> None:
    """Replace the file whole."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
