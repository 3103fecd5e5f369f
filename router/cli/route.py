"""``sluice route``: what would be decided, without sending anything."""

import io
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import orjson

from backends import parse as backends_parse
from policies import compiled as policies_compiled
from router import wire
from router.classify import Calibration, judge_by
from router.cli import options
from router.cli.errors import FAILED, INVALID, Ends, told
from router.cli.table import decision_table
from router.decide import Decision, decide
from router.errors import Refusal
from router.facts import facts_of
from router.features import read
from router.identity import NOBODY
from router.receipt import RECOMPUTED, Outcome, decision_part, facts_from, load_from, receipt
from router.requested import check_model
from router.sources import Sources
from router.sources import calibration as calibration_of
from router.tracker import Tracker
from router.world import World, world

NEEDED = {"policy": dict, "catalogue_hash": str, "prices_version": str, "facts": dict, "load": dict}


@click.command("route")
@click.argument("text", required=False)
@click.option("--receipt", "receipt_file", type=options.FILE, help="Recompute this receipt.")
@click.option("--system", help="A system prompt before the text.")
@click.option("--model", default="auto", show_default=True, help="As the field `model`.")
@click.option("--max-tokens", type=click.IntRange(1), help="As the field `max_tokens`.")
@click.option("--service-class", type=click.Choice(wire.SERVICE_CLASSES), default="standard")
@click.option("--max-usd", type=float, help="As `x-sluice-max-usd`.")
@click.option("--tag", "tags", multiple=True, metavar="K=V", help="A tag of the request; repeat.")
@options.fleets
@options.policy
@options.state
@options.calibration
@options.router_on
@options.as_json
def command(
    text: str | None,
    receipt_file: Path | None,
    system: str | None,
    model: str,
    max_tokens: int | None,
    service_class: str,
    max_usd: float | None,
    tags: tuple[str, ...],
    fleets: Path | None,
    policy: Path | None,
    state: Path,
    calibration: Path | None,
    router_on: str,
    as_json: bool,
) -> None:
    """Show where TEXT (`-`: standard input) would go on idle fleets, and why."""
    if (text is None) == (receipt_file is None):
        raise Ends("give either a TEXT or `--receipt FILE`", INVALID)
    sources = Sources(state, fleets, policy, router_on)
    if receipt_file is not None:
        _recompute(receipt_file, sources, as_json=as_json)
        return
    with told():
        now = sources.load()
        learnt = calibration_of(calibration)
        text = _text(text or "")
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": text}]}
    if system:
        body["messages"].insert(0, {"role": "system", "content": system})
    if max_tokens:
        body["max_tokens"] = max_tokens
    headers = {b"x-sluice-service-class": service_class.encode()}
    if max_usd is not None:
        headers[b"x-sluice-max-usd"] = repr(max_usd).encode()
    if tags:
        headers[b"x-sluice-tags"] = _tags(tags)
    decision = _decide(now, body, headers, learnt)
    click.echo(receipt("", now, decision, Outcome()) if as_json else decision_table(now, decision))
    if not decision.plan.attempts:
        raise SystemExit(FAILED)


def _text(given: str) -> str:
    """Return the text, of standard input for `-`; raise UnicodeError where it is not UTF-8."""
    if given == "-":
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(encoding="utf-8", errors="strict")
        return sys.stdin.read()
    return os.fsencode(given).decode("utf-8")  # an argument keeps what isn't UTF-8 as surrogates


def _tags(given: tuple[str, ...]) -> bytes:
    written = ",".join(given).encode("utf-8", "surrogateescape")
    try:
        wire.parse_tags(written, "--tag")
    except Refusal as refusal:
        raise Ends(refusal.message, INVALID) from None
    return written


def _decide(
    now: World,
    body: dict[str, Any],
    headers: dict[bytes, bytes],
    learnt: Calibration | None,
) -> Decision:
    try:
        request = wire.parse_chat(json.dumps(body).encode())
        check_model(request.model, NOBODY, now.catalogue)
        hints = wire.parse_hints(headers)
    except Refusal as refusal:
        raise Ends(refusal.message, INVALID) from None
    reading = read(request.body, request.sent_bytes)
    judged = judge_by(calibration=learnt)(reading)
    counted = (learnt.counts if learnt else {}).get(judged.task, (0, 0))
    at = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
    facts = facts_of(request, reading.features, judged, NOBODY, hints, at, counted)
    return decide(now, facts, Tracker(now.fleets).loads(0.0))


def _recompute(path: Path, sources: Sources, *, as_json: bool) -> None:
    """Decide again from a receipt's facts and loads; every byte of the decision must agree."""
    with told():
        stored = _receipt_of(path)
        now = _world_of(stored, sources)
    missing = [on.fleet.id for on in now.fleets if on.fleet.id not in stored["load"]]
    if missing:
        raise Ends(f"{path}: not a receipt: `load` lacks fleet {', '.join(missing)}", INVALID)
    try:
        facts = facts_from(stored["facts"])
        loads = [load_from(stored["load"][on.fleet.id]) for on in now.fleets]
    except ValueError as exc:
        raise Ends(f"{path}: not a receipt: {exc}", INVALID) from None
    try:
        decision = decide(now, facts, loads)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        said = "a value in `facts` or `load` is of the wrong kind"
        raise Ends(f"{path}: not a receipt: {said}", INVALID) from None
    again = decision_part(decision)
    differing = [
        name for name in RECOMPUTED if orjson.dumps(again[name]) != orjson.dumps(stored.get(name))
    ]
    if as_json:
        click.echo(orjson.dumps({**again, "same": not differing}))
    else:
        click.echo(decision_table(now, decision))
    if differing:
        raise Ends(f"the receipt says otherwise in {', '.join(differing)}")
    said = f"receipt {stored.get('id')}: recomputed, every byte of the decision agrees"
    click.echo(said, err=True)


def _receipt_of(path: Path) -> dict[str, Any]:
    """Return the receipt of a file; of several lines, the last."""
    lines = [line for line in path.read_bytes().splitlines() if line.strip()]
    try:
        whole = orjson.loads(path.read_bytes()) if len(lines) != 1 else orjson.loads(lines[0])
    except orjson.JSONDecodeError:
        try:
            whole = orjson.loads(lines[-1]) if lines else None
        except orjson.JSONDecodeError as exc:
            raise Ends(f"{path}: not JSON: {exc.msg}", INVALID) from None
    if not isinstance(whole, dict):
        raise Ends(f"{path}: not a receipt: a JSON object is expected", INVALID)
    for name, kind in NEEDED.items():
        if not isinstance(whole.get(name), kind):
            wanted = "a text" if kind is str else "an object"
            raise Ends(f"{path}: not a receipt: `{name}` must be {wanted}", INVALID)
    if not isinstance(whole["policy"].get("hash"), str):
        raise Ends(f"{path}: not a receipt: `policy.hash` must be a text", INVALID)
    return whole


def _world_of(stored: dict[str, Any], sources: Sources) -> World:
    """Return the world that the receipt was decided in: from its versions, or from the files."""
    wanted = (stored["policy"]["hash"], stored["catalogue_hash"], stored["prices_version"])
    if sources.policy is None and sources.fleets is None:
        return _stored_world(sources.state / "versions", wanted)
    now = sources.load()
    found = (now.policy.hash, now.catalogue.hash, now.catalogue.prices_version)
    names = ("policy", "catalogue", "prices")
    for name, want, have in zip(names, wanted, found, strict=True):
        if want != have:
            said = f"the receipt was decided with {name} {want}, not with this one ({have})"
            raise Ends(said, INVALID)
    return now


def _stored_world(versions: Path, wanted: tuple[str, ...]) -> World:
    paths = [versions / f"{name}.json" for name in wanted]
    try:
        missing = [str(path) for path in paths if not path.exists()]
        if missing:
            said = f"{', '.join(missing)}: not there (give `--policy` and `--fleets`, or `--state`)"
            raise Ends(said, INVALID)
        policy, catalogue, prices = (orjson.loads(path.read_bytes()) for path in paths)
        return world(
            policies_compiled.from_compiled(policy), backends_parse.from_compiled(catalogue, prices)
        )
    except (AttributeError, LookupError, TypeError, ValueError):  # whatever else the files hold
        raise Ends(f"{versions}: the receipt's versions can't be read", INVALID) from None
