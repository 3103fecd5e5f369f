"""What the commands on keys that exist share: the store, and which key is meant."""

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from router.cli.errors import FAILED, INVALID, REFUSED, Ends, told
from router.cli.keys.times import now
from router.key_rows import (
    PREFIX,
    Ended,
    Keys,
    KeysUnreadable,
    Overtaken,
    UnknownKey,
    hash_of,
    id_of,
    stamp,
)
from router.keys import FILE
from router.settings import environment, table_of
from router.store import open_keys

LONGEST_LINE = 1000  # of what may be a key on standard input

_ID = re.compile(r"[0-9a-f]{8}")
_WHOLE = re.compile(rf"{PREFIX}[0-9a-f]{{8}}-[0-9a-f]+")

key_id = click.argument("key_id", metavar="ID|-")


@contextmanager
def store_of(setting: str, state: Path) -> Iterator[Keys]:
    """Open the keys of `--ledger`; end the command where a folder has none."""
    with told():
        if table_of(setting) is None and not (state / FILE).exists():
            said = f"`{state}` has no keys: there is no `{FILE}` in it; `--state` says which folder"
            raise Ends(said, INVALID)
        try:
            store = open_keys(setting, state, environment(), time.monotonic)
        except KeysUnreadable as exc:
            raise Ends(f"no key can be read: {exc}", FAILED) from None
        try:
            yield store
        except UnknownKey as exc:
            said = f"unknown key `{exc}`; `sluice keys list` shows which there are"
            raise Ends(said, INVALID) from None
        except (Ended, Overtaken) as exc:
            raise Ends(f"this key {exc}: nothing was changed", REFUSED) from None
        finally:
            store.close()


def meant(given: str, store: Keys) -> str:
    """Return the id that is meant: itself, or of the whole key on standard input."""
    if given != "-":
        if _ID.fullmatch(given.removeprefix(PREFIX)):
            return id_of(given)
        if "-" in given.removeprefix(PREFIX):
            said = (
                "that looks like a whole key, which the shell's history and the list of processes "
                f"keep: give its id (`{PREFIX}<id>`), or `-` and the key on standard input"
            )
            raise Ends(said, INVALID)
        raise Ends("that is no id of a key (valid: 8 hex digits, as `keys list` shows)", INVALID)
    text = sys.stdin.readline(LONGEST_LINE).strip()
    if not _WHOLE.fullmatch(text):
        said = f"standard input holds no key (`{PREFIX}<id>-<secret>` on its first line)"
        raise Ends(said, INVALID)
    wanted = id_of(text)
    if not store.get(wanted).opened_by(hash_of(text), stamp(now())):
        said = f"the secret on standard input is not the one of key `{wanted}`"
        raise Ends(f"{said}: was it rotated? If it is meant all the same, give its id", INVALID)
    return wanted
