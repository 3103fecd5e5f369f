"""The keys of a state folder, for what a policy counts by."""

import time
from pathlib import Path

import click

from router.cli.keys.times import now
from router.identity import Key
from router.key_rows import KeysUnreadable, stamp
from router.keys import FILE, KeyStore


def active_keys(state: Path) -> list[Key]:
    """Return the keys that work, none where the folder has none; a store that can't be read is
    told of, and a policy can be checked without it.
    """
    if not (state / FILE).exists():
        return []
    at = stamp(now())
    try:
        store = KeyStore(state, time.monotonic)
        try:
            return [stored.key for stored in store.all() if stored.state(at) == "active"]
        finally:
            store.close()
    except (KeysUnreadable, OSError) as exc:
        click.echo(f"warning: its tags are not held against the keys: {exc}", err=True)
        return []
