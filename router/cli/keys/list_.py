"""``sluice keys list``: every key, what it may do, and what became of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import orjson

from router.cli import options
from router.cli.keys import given
from router.cli.keys.times import now
from router.cli.table import grid
from router.identity import LIMITS
from router.key_rows import PREFIX, Stored, stamp

HEAD = ("key", "state", "tenant", "team", "created", "expires", "rotated", "rights", "limits")
_SHORT = {"requests_per_min": "rpm", "tokens_per_min": "tpm", "concurrent": "at once"}

Row = Mapping[str, Any]


@click.command("list")
@options.state
@options.ledger
@options.as_json
def command(state: Path, store: str, as_json: bool) -> None:
    """Show every key; secrets aren't kept, so they can't be shown."""
    at = stamp(now())
    with given.store_of(store, state) as keys:
        rows = [row_of(stored, at) for stored in keys.all()]
    if as_json:
        click.echo(orjson.dumps({"keys": rows}))
    elif rows:
        click.echo(grid(HEAD, [_cells(row) for row in rows], HEAD))
    else:
        click.echo("no keys yet: `sluice keys create --tenant T` makes one")


def row_of(stored: Stored, at: str) -> Row:
    key = stored.key
    return {
        "id": key.id,
        "prefix": PREFIX + key.id,
        "state": stored.state(at),
        "tenant": key.tenant,
        "team": key.team,
        "tags": key.tags,
        "allowed_tags": key.allowed_tags,
        "lanes": key.lanes,
        "models": key.models,
        "may": key.may,
        "admin": key.admin,
        "limits": {name: getattr(key, name) for name in LIMITS},
        "created": stored.created,
        "expires": key.expires,
        "revoked": stored.revoked,
        "rotated": stored.rotated,
        "old_until": stored.old_until if stored.old_works(at) else None,
    }


def _cells(row: Row) -> tuple[str, ...]:
    state, rotated = row["state"], _day(row["rotated"])
    if state == "revoked":
        state = f"revoked {_day(row['revoked'])}"
    if row["old_until"] is not None:
        rotated += f" (old until {row['old_until'][:16]}Z)"
    return (
        row["prefix"],
        state,
        row["tenant"],
        row["team"] or "",
        _day(row["created"]),
        _day(row["expires"]) or "never",
        rotated,
        _rights(row),
        ", ".join(f"{n} {_SHORT[name]}" for name, n in row["limits"].items() if n is not None),
    )


def _rights(row: Row) -> str:
    listed = (("lanes", "lane"), ("models", "model"), ("allowed_tags", "may tag"))
    parts = [
        *(["admin"] if row["admin"] else []),
        *row["may"],
        *(f"{said} {name}" for field, said in listed for name in row[field] or ()),
        *(f"tag {name}={value}" for name, value in row["tags"].items()),
    ]
    return ", ".join(parts)


def _day(at: str | None) -> str:
    return "" if at is None else at[:10]
