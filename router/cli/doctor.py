"""``sluice doctor``: what this machine has, and whether the fleets answer."""

import asyncio
import platform
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import click
import orjson

import yamlfile
from backends.base import (
    BackendError,
    Call,
    Garbled,
    Overloaded,
    Rejected,
    SageMakerTarget,
    Unreadable,
)
from backends.catalogue import Fleet
from backends.engines import EngineError, llama_cpp
from backends.openai_http import bearer
from router.cli import options
from router.cli.advice import of_invoked
from router.cli.errors import FAILED
from router.cli.finding import Finding
from router.cli.found import objections, server_of, summary
from router.faults import MissingKey, MissingPart
from router.fleet_keys import fleet_keys
from router.runtime import endpoint, opened
from router.settings import cache_dir, environment
from router.sources import DEMO_FLEETS, Sources, unproved
from router.sources import calibration as calibration_of
from router.world import World

INVOKE_S = 10.0  # with the time that credentials take to be found


@click.command("doctor")
@options.fleets
@options.policy
@options.state
@options.calibration
@options.as_json
def command(
    fleets: Path | None,
    policy: Path | None,
    state: Path,
    calibration: Path | None,
    as_json: bool,
) -> None:
    """Check machine, files and fleets; exit 1 if something fails."""
    findings = list(_findings(Sources(state, fleets, policy), calibration))
    if as_json:
        click.echo(orjson.dumps([asdict(finding) for finding in findings]))
    else:
        for finding, after in zip(findings, [*findings[1:], None], strict=True):
            click.echo(f"{finding.verdict:<8} {finding.what}: {finding.detail}")
            if finding.advice and (after is None or finding.advice != after.advice):
                click.echo(f"         -> {finding.advice}")  # of several with the same, once
    if any(finding.verdict == "failed" for finding in findings):
        raise SystemExit(FAILED)


def _findings(sources: Sources, calibration: Path | None) -> Iterator[Finding]:
    yield Finding("python", "ok", platform.python_version())
    yield _engine()
    yield _state(sources.state)
    try:
        learnt = calibration_of(calibration)
        world = sources.load()
    except (yamlfile.Invalid, OSError) as exc:
        yield Finding("policy and fleets", "failed", str(exc), "mend the lines named above")
        return
    said = f"policy {world.policy.name} ({world.policy.hash}), {len(world.fleets)} fleets"
    if sources.policy is None and world.policy.name == "fitted":
        said += "; made for these fleets, as the packaged policy names others (docs/policies.md)"
    yield Finding("policy and fleets", "ok", said)
    lacking = unproved(replace(sources, labelled=bool(learnt and learnt.counts)), world)
    if lacking is not None:
        advice = "give its labels with `--calibration`, here and to `sluice serve`"
        yield Finding("labels", "warning", lacking, advice)
    yield from _prices(world)
    yield from asyncio.run(_fleets(world, _to_start(sources)))


def _engine() -> Finding:
    env = environment()
    try:
        found = llama_cpp.find(env.get("SLUICE_LLAMA_SERVER"), cache_dir(env))
    except EngineError as exc:
        return Finding("llama-server", "failed", str(exc))
    if found is None:
        said = "not found; only `sluice up` with the embedded fleets needs it"
        return Finding("llama-server", "warning", said, "`make setup` builds it in 5 minutes")
    return Finding("llama-server", "ok", str(found))


def _state(state: Path) -> Finding:
    """Say whether the folder can be written, without making one."""
    if not state.exists():
        return Finding("state folder", "ok", f"{state}: not there yet, `up` and `serve` make it")
    try:
        with tempfile.TemporaryFile(dir=state):
            pass
    except OSError as exc:
        said = f"{state} can't be written: {exc.strerror}"
        return Finding("state folder", "failed", said, "choose another with `--state`")
    return Finding("state folder", "ok", str(state))


def _prices(world: World) -> Iterator[Finding]:
    for on in world.fleets:
        if on.card is None:
            fleet = on.fleet
            said = "unknown: requests to it rank last and are charged nothing"
            advice = "it needs a profile and a price: see `sluice fleet audit` and docs/fleets.md"
            if fleet.profile is not None:
                bought = " + ".join(tranche.option for tranche in fleet.tariff.tranches)
                advice = (
                    f"no {bought} price of {fleet.instance} in {fleet.region}: see docs/fleets.md"
                )
            yield Finding(f"cost of {fleet.id}", "warning", said, advice)


def _to_start(sources: Sources) -> str:
    """Return what to do about a fleet that doesn't answer."""
    if sources.fleets is not None:
        return "start it, or mend its url in the fleet catalogue"
    started = sources.state / DEMO_FLEETS
    if started.exists():
        return f"`--fleets {started}` checks what `sluice up` started, `--fleets FILE` checks yours"
    return "`sluice up` starts the embedded fleets; `--fleets FILE` checks yours"


async def _fleets(world: World, advice: str) -> list[Finding]:
    env = environment()
    probes = [
        _invoked(on.fleet, on.fleet.sagemaker)
        if on.fleet.sagemaker is not None
        else _fleet(on.fleet, env, advice)
        for on in world.fleets
    ]
    return [finding for found in await asyncio.gather(*probes) for finding in found]


async def _fleet(fleet: Fleet, env: Mapping[str, str], advice: str) -> list[Finding]:
    """Ask every url of the fleet what it is. `advice`: what to do where one doesn't answer."""
    what = f"fleet {fleet.id}"
    try:
        keys = await asyncio.to_thread(fleet_keys, [fleet], env)
    except (MissingKey, MissingPart) as exc:
        return [
            Finding(what, "failed", str(exc), "put the fleet's API key there, and nothing else")
        ]
    headers = bearer(keys.get(fleet.id))
    found = await asyncio.gather(*(server_of(fleet, url, headers) for url in fleet.urls))
    findings: list[Finding] = []
    for each in found:
        if isinstance(each, Finding):
            findings.append(replace(each, advice=each.advice or advice))
        else:
            findings.append(Finding(what, "ok", summary(fleet, each)))
            findings += objections(fleet, each)
    return findings


async def _invoked(fleet: Fleet, target: SageMakerTarget) -> list[Finding]:
    """Send an endpoint of SageMaker a request without messages, which no container answers with
    tokens: nothing else that its runtime offers says whether it answers.
    """
    what, where = f"fleet {fleet.id}", f"{fleet.urls[0]}, endpoint {target.endpoint}"
    try:
        backend = opened(fleet, endpoint(fleet, None))
    except MissingPart as exc:
        return [Finding(what, "failed", str(exc))]
    try:
        await backend.send(Call(b"{}", timeout_s=INVOKE_S))
    except Overloaded as exc:
        advice = "what is scaled to zero may start by being asked: try again in some minutes"
        return [Finding(what, "warning", f"{where}: {exc.detail}", advice)]
    except Unreadable as exc:
        advice = "it may be a proxy's answer, and no container's"
        return [Finding(what, "warning", f"{where}: {exc.detail}", advice)]
    except (Rejected, Garbled):
        pass  # the container's own no to an empty request: so it answers
    except BackendError as exc:
        return [Finding(what, "failed", f"{where}: {exc.detail}", of_invoked(fleet.urls[0], exc))]
    finally:
        await backend.aclose()
    return [Finding(what, "ok", where)]
