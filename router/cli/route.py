"""``sluice route``: what would be decided, without sending anything."""

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import orjson

from backends import parse as backends_parse
from backends.load import Load
from policies import compiled as policies_compiled
from router import wire
from router.classify import CLASSIFIERS
from router.cli import options
from router.cli.errors import FAILED, INVALID, Ends, told
from router.cli.table import decision_table
from router.decide import Decision, decide
from router.errors import Refusal
from router.facts import facts_of
from router.features import read
from router.identity import NOBODY
from router.receipt import RECOMPUTED, Outcome, decision_part, facts_from, load_from, receipt
from router.sources import Sources
from router.world import World, world


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
@options.as_json
def command(**given: Any) -> None:
    """Show where TEXT (`-`: standard input) would go on idle fleets, and why."""
    if (given["text"] is None) == (given["receipt_file"] is None):
        raise Ends("give either a TEXT or `--receipt FILE`", INVALID)
    if given["receipt_file"] is not None:
        _recompute(given)
        return
    with told():
        now = Sources(given["state"], given["fleets"], given["policy"]).load()
        text = sys.stdin.read() if given["text"] == "-" else given["text"]
    decision = _decide(now, text, given)
    if given["as_json"]:
        click.echo(receipt("", now, decision, Outcome()))
    else:
        click.echo(decision_table(now, decision))
    if not decision.plan.attempts:
        raise SystemExit(FAILED)


def _decide(now: World, text: str, given: dict[str, Any]) -> Decision:
    messages = [{"role": "user", "content": text}]
    if given["system"]:
        messages.insert(0, {"role": "system", "content": given["system"]})
    body = {"model": given["model"], "messages": messages}
    if given["max_tokens"]:
        body["max_tokens"] = given["max_tokens"]
    headers = {b"x-sluice-service-class": given["service_class"].encode()}
    if given["max_usd"] is not None:
        headers[b"x-sluice-max-usd"] = repr(given["max_usd"]).encode()
    if given["tags"]:
        headers[b"x-sluice-tags"] = ",".join(given["tags"]).encode()
    try:
        request, hints = wire.parse_chat(orjson.dumps(body)), wire.parse_hints(headers)
    except Refusal as refusal:
        raise Ends(refusal.message, INVALID) from None
    features = read(request.body)
    judged = CLASSIFIERS["heuristic"](features)
    at = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
    facts = facts_of(request, features, judged, NOBODY, hints, at)
    loads = [Load(committed=on.fleet.replicas.min) for on in now.fleets]
    return decide(now, facts, loads)


def _recompute(given: dict[str, Any]) -> None:
    """Decide again from a receipt's facts and loads; every byte of the decision must agree."""
    with told():
        stored = _receipt_of(given["receipt_file"])
        now = _world_of(stored, given)
    try:
        facts = facts_from(stored["facts"])
        loads = [load_from(stored["load"][on.fleet.id]) for on in now.fleets]
        decision = decide(now, facts, loads)
    except (KeyError, TypeError, ValueError) as exc:
        raise Ends(f"{given['receipt_file']}: not a receipt: {exc}", INVALID) from None
    again = decision_part(decision)
    differing = [
        name for name in RECOMPUTED if orjson.dumps(again[name]) != orjson.dumps(stored.get(name))
    ]
    if given["as_json"]:
        click.echo(
            orjson.dumps({**{name: again[name] for name in RECOMPUTED}, "same": not differing})
        )
    else:
        click.echo(decision_table(now, decision))
    if differing:
        raise Ends(f"the receipt says otherwise in {', '.join(differing)}")
    click.echo(
        f"receipt {stored.get('id')}: recomputed, every byte of the decision agrees", err=True
    )


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
    if not isinstance(whole, dict) or not {"policy", "catalogue_hash", "facts", "load"} <= set(
        whole
    ):
        raise Ends(f"{path}: not a receipt", INVALID)
    return whole


def _world_of(stored: dict[str, Any], given: dict[str, Any]) -> World:
    """Return the world that the receipt was decided in: from its versions, or from the files."""
    wanted = (stored["policy"]["hash"], stored["catalogue_hash"], stored["prices_version"])
    if given["policy"] is None and given["fleets"] is None:
        versions = given["state"] / "versions"
        paths = [versions / f"{name}.json" for name in wanted]
        missing = [str(path) for path in paths if not path.exists()]
        if missing:
            said = f"{', '.join(missing)}: not there (give `--policy` and `--fleets`, or `--state`)"
            raise Ends(said, INVALID)
        policy, catalogue, prices = (orjson.loads(path.read_bytes()) for path in paths)
        return world(
            policies_compiled.from_compiled(policy), backends_parse.from_compiled(catalogue, prices)
        )
    now = Sources(given["state"], given["fleets"], given["policy"]).load()
    found = (now.policy.hash, now.catalogue.hash, now.catalogue.prices_version)
    names = ("policy", "catalogue", "prices")
    for name, want, have in zip(names, wanted, found, strict=True):
        if want != have:
            said = f"the receipt was decided with {name} {want}, not with this one ({have})"
            raise Ends(said, INVALID)
    return now
