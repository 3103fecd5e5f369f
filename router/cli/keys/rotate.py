"""``sluice keys rotate``: a new secret for the same identity."""

from pathlib import Path

import click
import orjson

from router.cli import options
from router.cli.keys import given, times
from router.key_rows import stamp


@click.command("rotate")
@given.key_id
@click.option("--grace", metavar="D", help="The old secret works for this span (30m, 1h, 7d) more.")
@options.state
@options.ledger
@options.as_json
def command(key_id: str, grace: str | None, state: Path, store: str, as_json: bool) -> None:
    """Give the key ID a new secret and print it, once; `-` reads the key from standard input.

    Identity, rights and expiry stay. Without --grace the old secret works no more.
    """
    at = times.now()
    old_until = None if grace is None else times.grace(grace, at)
    with given.store_of(store, state) as keys:
        text = keys.rotate(given.meant(key_id, keys), stamp(at), old_until)
    click.echo(orjson.dumps({"key": text, "old_until": old_until}) if as_json else text)
