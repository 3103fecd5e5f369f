"""``sluice keys create``: a new key with its rights."""

import time
from pathlib import Path

import click
import orjson

from backends import files
from policies.model import SHADOW
from router.cli import options
from router.cli.errors import FAILED, INVALID, Ends, told
from router.cli.keys import times
from router.identity import RIGHTS, VALID_NAME, Key, is_name
from router.key_rows import KeysUnreadable, stamp
from router.settings import environment, table_of
from router.sources import names_of
from router.store import open_keys
from router.wire import mistyped_tag
from yamlfile import suggest

_COUNT = click.IntRange(1, 10**12)


@click.command("create")
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
@click.option("--rpm", type=_COUNT, help="Most requests a minute.")
@click.option("--tpm", type=_COUNT, help="Most tokens a minute.")
@click.option("--concurrent", type=_COUNT, help="Most requests at once.")
@click.option("--admin", is_flag=True, help="May read metrics.")
@options.fleets
@options.state
@options.ledger
@options.as_json
def command(
    tenant: str,
    team: str | None,
    tags: tuple[str, ...],
    allowed: tuple[str, ...],
    lanes: tuple[str, ...],
    models: tuple[str, ...],
    may: tuple[str, ...],
    expires: str | None,
    rpm: int | None,
    tpm: int | None,
    concurrent: int | None,
    admin: bool,
    fleets: Path | None,
    state: Path,
    store: str,
    as_json: bool,
) -> None:
    """Create a key and print it, once: only its hash is kept."""
    for option, text in (("tenant", tenant), ("team", team), *(("allow-tag", t) for t in allowed)):
        if text is not None:
            _check_name(f"--{option}", text)
    if tenant == SHADOW:
        said = f"`--tenant`: `{SHADOW}` is the router's own: shadow judging is charged to it"
        raise Ends(f"{said}; choose another name", INVALID)
    with told():
        _check_known(lanes, models, fleets, state)
    now = times.now()
    key = Key(
        id="",
        tenant=tenant,
        team=team,
        tags=dict(_pair(tag) for tag in tags),
        allowed_tags=allowed,
        lanes=lanes or None,
        models=models or None,
        may=may or ("pin_model",),
        expires=None if expires is None else times.expiry(expires, now),
        admin=admin,
        requests_per_min=rpm,
        tokens_per_min=tpm,
        concurrent=concurrent,
    )
    if table_of(store) is None and not state.exists():
        said = f"note: `{state}` is new: only a router of the same `--state` knows this key"
        click.echo(said, err=True)
    with told():
        try:
            keys = open_keys(store, state, environment(), time.monotonic)
            text = keys.create(key, stamp(now))
            keys.close()
        except KeysUnreadable as exc:
            raise Ends(f"no key was made: {exc}", FAILED) from None
    click.echo(orjson.dumps({"key": text}) if as_json else text)


def _pair(tag: str) -> tuple[str, str]:
    if said := mistyped_tag(tag):
        raise Ends(f"`--tag {tag}`: {said}", INVALID)
    name, equals, value = tag.partition("=")
    if not name or not equals or "," in tag:
        raise Ends(f"`--tag {tag}` is not of the form `name=value` (without commas)", INVALID)
    _check_name("--tag", name)
    _check_name(f"--tag {name}=", value)
    return name, value


def _check_name(option: str, text: str) -> None:
    """Refuse a name that no policy could mean, or that would break a line of a log."""
    if not is_name(text) and (option, text) != ("--allow-tag", "*"):
        raise Ends(f"`{option}`: not a name (valid: {VALID_NAME})", INVALID)


def _check_known(
    lanes: tuple[str, ...], models: tuple[str, ...], fleets: Path | None, state: Path
) -> None:
    """Refuse what `fleets` doesn't have. Without it the router may have other fleets: warn."""
    if not lanes and not models:
        return
    names = names_of(files.catalogue(fleets, state))
    for option, given, known in (("lane", lanes, names.lanes), ("model", models, names.models)):
        for name in given:
            if name in known:
                continue
            if fleets is not None:
                said = f"unknown {option} `{name}` {suggest(name, known)}"
                raise Ends(f"`--{option}`: {said}", INVALID)
            said = f"no embedded fleet has {option} `{name}` {suggest(name, known)}"
            click.echo(f"warning: {said}; `--fleets` checks it against yours", err=True)
