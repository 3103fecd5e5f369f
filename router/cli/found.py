"""What a fleet's server says of itself, held against what the catalogue says of it."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from backends.base import BackendError
from backends.catalogue import Fleet, ready
from backends.dialects import DIALECTS, Dialect, engine_of
from backends.http1 import Client
from backends.probe import page, root_of
from backends.signals import NOTHING, read
from router.cli import advice
from router.cli.finding import Finding

PROBE_S = 3.0  # for all pages of one url
OK = 200
NAMES_SHOWN = 5
ROUTERS_OWN = "sluice"  # who owns the models that a router of ours lists


@dataclass(frozen=True, slots=True)
class Server:
    """One url of a fleet. None: its server doesn't tell.

    `context_tokens` of one request; `slots` are the streams it carries at once; `status_page`: the
    page that says what it is doing.
    """

    url: str
    owned_by: str | None
    names: tuple[str, ...]
    context_tokens: int | None
    slots: int | None
    status_page: str | None


async def server_of(fleet: Fleet, url: str, headers: Mapping[str, str]) -> Server | Finding:
    """Ask one url for all that it tells, or return why it can't be used."""
    ends_s = asyncio.get_running_loop().time() + PROBE_S
    client, root = Client(url, headers), Client(root_of(url), headers)
    what = f"fleet {fleet.id}"
    try:
        status, body = await page(client, "/models", ends_s)
        if status != OK:
            said = f"{url}/models answered {status}"
            return Finding(what, "failed", said, advice.of_status(fleet, status))
        return await _server(fleet, url, _rows(body), root, ends_s)
    except BackendError as exc:
        return Finding(what, "failed", f"{url}: {exc.detail}", advice.of_error(url, exc) or "")
    finally:
        await client.aclose()
        await root.aclose()


def objections(fleet: Fleet, server: Server) -> Iterator[Finding]:
    """Yield what the server says otherwise than the catalogue, worst first."""
    written = DIALECTS[fleet.engine]
    dialect = written  # whose flags it takes
    if server.owned_by not in written.owned_by:
        dialect = DIALECTS[engine_of(server.owned_by or "") or fleet.engine]
    yield from _name(fleet, server)
    yield from _engine(fleet, server, written)
    if server.owned_by == ROUTERS_OWN:
        said = f"{server.url} is a Sluice router, which sends on what it gets"
        mend = "if it can lead back to the router of these fleets, requests go round: mend the url"
        yield Finding(f"engine of {fleet.id}", "warning", said, mend)
    tokens = server.context_tokens
    if tokens is not None and tokens < fleet.context_tokens:
        said = f"{server.url} takes {tokens} tokens, the catalogue says {fleet.context_tokens}"
        mend = f"write `context_tokens: {tokens}` for the fleet, or give its server more"
        yield Finding(f"context of {fleet.id}", "warning", said, mend)
    places = places_of(fleet)
    if server.slots is not None and server.slots < places:
        said = f"{server.url} carries {server.slots} streams at once, the catalogue says {places}"
        flag = f", or start it with `{dialect.slots_flag} {places}`" if dialect.slots_flag else ""
        mend = f"write `concurrency_each: {server.slots}`{flag}: the rest waits in its queue"
        yield Finding(f"slots of {fleet.id}", "warning", said, mend)
    if dialect is written and written.status and server.status_page is None and not fleet.emulated:
        said = f"{server.url} doesn't say what it is doing: its load is known by our requests alone"
        flag = f"start it with `{dialect.metrics_flag}`" if dialect.metrics_flag else ""
        yield Finding(f"metrics of {fleet.id}", "warning", said, flag)


def summary(fleet: Fleet, server: Server) -> str:
    """Return one line of what was found."""
    engine = fleet.engine if server.owned_by in DIALECTS[fleet.engine].owned_by else None
    engine = engine or engine_of(server.owned_by or "") or "an engine that doesn't say which"
    parts = [f"{server.url}: {engine}", f"serves {_shown(server.names)}"]
    if server.context_tokens is not None:
        parts.append(f"{server.context_tokens} tokens of context")
    if server.slots is not None:
        parts.append(f"{server.slots} slots")
    if server.status_page is not None:
        parts.append(f"tells its load at {server.status_page}")
    return ", ".join(parts)


def places_of(fleet: Fleet) -> int:
    """Return the streams that one url of the fleet carries at once, as the catalogue says."""
    return fleet.replicas.concurrency_each * max(1, ready(fleet) // len(fleet.urls))


async def _server(
    fleet: Fleet, url: str, rows: Sequence[Mapping[str, Any]], root: Client, ends_s: float
) -> Server:
    dialect = DIALECTS[fleet.engine]
    ours = next(
        (row for row in rows if fleet.upstream_model in _names(row)), rows[0] if rows else {}
    )
    owned_by = ours.get("owned_by")
    tokens = _count(ours.get("max_model_len")) or _count(_object(ours.get("meta")).get("n_ctx"))
    slots = None
    if owned_by in DIALECTS["llama.cpp"].owned_by:
        props = await _object_at(root, "/props", ends_s)
        slots = _count(props.get("total_slots"))
        settings = _object(props.get("default_generation_settings"))
        tokens = _count(settings.get("n_ctx")) or tokens
    elif dialect is DIALECTS["ollama"]:
        loaded = (await _object_at(root, "/api/ps", ends_s)).get("models")
        running = [row for row in _objects(loaded) if fleet.upstream_model in _names(row)]
        tokens = _count(running[0].get("context_length")) if running else None
    status_page = await _status_page(fleet, dialect, root, ends_s)
    names = tuple(dict.fromkeys(name for row in rows for name in _names(row)))
    said = owned_by if isinstance(owned_by, str) else None
    return Server(url, said, names, tokens, slots, status_page)


async def _status_page(fleet: Fleet, dialect: Dialect, root: Client, ends_s: float) -> str | None:
    for ask in dialect.status:
        status, body = await page(root, ask.path, ends_s)
        if status == OK and read(ask, body, dialect, fleet.upstream_model) != NOTHING:
            return ask.path
    return None


def _name(fleet: Fleet, server: Server) -> Iterator[Finding]:
    if not server.names or fleet.upstream_model in server.names:
        return
    said = f"{server.url} serves {_shown(server.names)}, not `{fleet.upstream_model}`"
    any_name = server.owned_by in DIALECTS["llama.cpp"].owned_by  # it answers under any
    mend = "mend `upstream_model`, or the url"
    if any_name:
        mend = f"start it with `--alias {fleet.upstream_model}`, or {mend}: it answers to any name"
    yield Finding(f"model of {fleet.id}", "warning" if any_name else "failed", said, mend)


def _engine(fleet: Fleet, server: Server, dialect: Dialect) -> Iterator[Finding]:
    known = engine_of(server.owned_by or "")
    if known is None or fleet.emulated or server.owned_by in dialect.owned_by:
        return
    said = f"{server.url} is {known}, the catalogue says {fleet.engine}"
    mend = f"write `engine: {known}`: how thinking is switched and load is read depends on it"
    yield Finding(f"engine of {fleet.id}", "warning", said, mend)


def _shown(names: Sequence[str]) -> str:
    if not names:
        return "no model that it names"
    more = len(names) - NAMES_SHOWN
    shown = ", ".join(f"`{name[:100]}`" for name in names[:NAMES_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown


def _rows(body: bytes) -> list[dict[str, Any]]:
    try:
        return _objects(_object(orjson.loads(body)).get("data"))
    except orjson.JSONDecodeError:
        return []


async def _object_at(client: Client, path: str, ends_s: float) -> dict[str, Any]:
    status, body = await page(client, path, ends_s)
    try:
        return _object(orjson.loads(body)) if status == OK else {}
    except orjson.JSONDecodeError:
        return {}


def _names(row: Mapping[str, Any]) -> list[str]:
    """Return every name of a model: Ollama adds `:latest` where none was given."""
    aliases = row.get("aliases")
    said = [row.get("id"), row.get("name"), *(aliases if isinstance(aliases, list) else [])]
    names = [name for name in said if isinstance(name, str)]
    return [*names, *(n.removesuffix(":latest") for n in names if n.endswith(":latest"))]


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> list[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
