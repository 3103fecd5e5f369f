"""``sluice keys revoke``: a key that works no more."""

from pathlib import Path

import click
import orjson

from router.cli import options
from router.cli.keys import given
from router.cli.keys.times import now
from router.key_rows import PREFIX, REREAD_AFTER_S, stamp


@click.command("revoke")
@given.key_id
@options.state
@options.ledger
@options.as_json
def command(key_id: str, state: Path, store: str, as_json: bool) -> None:
    """Let the key ID work no more; `-` reads the whole key from standard input."""
    at = stamp(now())
    with given.store_of(store, state) as keys:
        wanted = given.meant(key_id, keys)
        keys.revoke(wanted, at)
    if as_json:
        click.echo(orjson.dumps({"id": wanted, "revoked": at}))
        return
    seconds = f"{REREAD_AFTER_S:g} seconds"
    click.echo(f"{PREFIX}{wanted} is revoked: running routers refuse it within {seconds}")
