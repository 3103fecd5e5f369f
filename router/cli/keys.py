"""``sluice keys``: who may call, and what each key may do."""

import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import orjson

from router.cli import options
from router.cli.errors import INVALID, Ends, told
from router.identity import RIGHTS, Key
from router.keys import KeyStore

_SPAN = re.compile(r"(\d+)([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 168}


@click.group("keys")
def command() -> None:
    """Create API keys."""


@command.command("create")
@click.option("--tenant", required=True, help="Whom the key belongs to.")
@click.option("--team", help="Team of the tenant.")
@click.option("--tag", "tags", multiple=True, metavar="K=V", help="Tag of every request; repeat.")
@click.option("--allow-tag", "allowed", multiple=True, metavar="K", help="Tag a request may add.")
@click.option("--lane", "lanes", multiple=True, help="Lane the key may use (default: all).")
@click.option("--model", "models", multiple=True, help="Model the key may use (default: all).")
@click.option(
    "--may", "may", multiple=True, type=click.Choice(RIGHTS), help="Right (default: pin_model)."
)
@click.option("--expires", metavar="D", help="A span (12h, 30d, 8w) or a date (2027-01-31).")
@click.option("--admin", is_flag=True, help="May read metrics.")
@options.state
@options.as_json
def create(
    tenant: str,
    team: str | None,
    tags: tuple[str, ...],
    allowed: tuple[str, ...],
    lanes: tuple[str, ...],
    models: tuple[str, ...],
    may: tuple[str, ...],
    expires: str | None,
    admin: bool,
    state: Path,
    as_json: bool,
) -> None:
    """Create a key and print it, once: only its hash is kept."""
    now = datetime.fromtimestamp(time.time(), UTC)
    key = Key(
        id="",
        tenant=tenant,
        team=team,
        tags=dict(_pair(tag) for tag in tags),
        allowed_tags=allowed,
        lanes=lanes or None,
        models=models or None,
        may=may or ("pin_model",),
        expires=None if expires is None else _expiry(expires, now),
        admin=admin,
    )
    with told():
        store = KeyStore(state, time.monotonic)
        text = store.create(key, now.isoformat(timespec="seconds"))
        store.close()
    click.echo(orjson.dumps({"key": text}) if as_json else text)


def _pair(tag: str) -> tuple[str, str]:
    name, equals, value = tag.partition("=")
    if not name or not equals or "," in tag:
        raise Ends(f"`--tag {tag}` is not of the form `name=value` (without commas)", INVALID)
    return name, value


def _expiry(text: str, now: datetime) -> str:
    span = _SPAN.fullmatch(text)
    try:
        if span:
            at = now + timedelta(hours=int(span[1]) * _HOURS[span[2]])
        else:
            at = datetime.fromisoformat(text)
            at = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        said = f"`--expires {text}` is neither a span (12h, 30d, 8w) nor a date (2027-01-31)"
        raise Ends(said, INVALID) from None
    if at <= now:
        raise Ends(f"`--expires {text}` lies in the past", INVALID)
    return at.isoformat(timespec="milliseconds")[:-6] + "Z"
