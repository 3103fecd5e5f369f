"""``sluice fleet measure``: measure a live fleet over loads and lengths, and keep its profile."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from secrets import randbelow
from typing import Literal
from urllib.parse import urlsplit

import click
import orjson

from backends import files, profile_file
from backends.base import Backend, BackendError, Endpoint
from backends.catalogue import STAND_IN, Fleet
from backends.importers.measurement import BenchmarkReport, Measurement
from backends.loadgen import about
from backends.loadgen.loop import Lengths, Load, Loop
from backends.loadgen.samples import NothingMeasured, Sample, is_answered, measurement
from router.cli import options
from router.cli.errors import INVALID, REFUSED, Ends, told
from router.cli.fleet import guidellm
from router.cli.fleet.lengths import LENGTHS
from router.faults import MissingPart
from router.fleet_keys import fleet_keys
from router.runtime import opened
from router.settings import cores, environment, is_loopback
from yamlfile import suggest

CLEAR = "\r\x1b[K"  # a terminal's line, to be written anew
SHORT = 0.9  # an answer with fewer of its tokens ended early
MANY = 1_000_000_000  # numbers of prompts: no two runs begin near the same one
FEW = 20  # requests; of fewer the slowest one is the p95


class _Ladder(click.ParamType[tuple[int, ...]]):
    name = "N,N,..."

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        if not all(part.strip().isdigit() and int(part) for part in parts):
            self.fail(f"`{value}` is not a list of streams (valid: 1,2,4,8)", param, ctx)
        return tuple(sorted({int(part) for part in parts}))


@click.command("measure")
@click.option("--fleet", "name", required=True, help="Which fleet of the catalogue.")
@click.option(
    "--concurrency", type=_Ladder(), default="1,2,4,8", show_default=True, help="Streams at once."
)
@click.option(
    "--tokens",
    "lengths",
    type=LENGTHS,
    multiple=True,
    default=["128+64", "512+64"],
    show_default=True,
    metavar="IN+OUT",
    help="Lengths of the requests; repeat.",
)
@click.option(
    "--requests",
    type=click.IntRange(1),
    help="Requests a load; without it three for each stream, at least 6.",
)
@click.option(
    "--max-seconds",
    type=options.Number(0.1),
    default=30.0,
    show_default=True,
    help="No request of a load begins later.",
)
@click.option(
    "--with",
    "loader",
    type=click.Choice(["own", "guidellm"]),
    default="own",
    show_default=True,
    help="Which load generator.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Profile file to write; without it one under <state>/profiles.",
)
@options.fleets
@options.state
@options.as_json
def command(
    name: str,
    concurrency: tuple[int, ...],
    lengths: tuple[tuple[int, int], ...],
    requests: int | None,
    max_seconds: float,
    loader: Literal["own", "guidellm"],
    out: Path | None,
    fleets: Path | None,
    state: Path,
    as_json: bool,
) -> None:
    """Measure a live fleet and keep the result as the profile `<instance>/<model>`.

    A fleet marked `stand_in` isn't on its instance: its profile is `local/<model>`.
    Of several urls the first is measured: a profile is of one replica.
    """
    with told():
        catalogue = files.catalogue(fleets, state)
    fleet = catalogue.fleet(name)
    if fleet is None:
        known = suggest(name, [fleet.id for fleet in catalogue.fleets])
        raise Ends(f"unknown fleet `{name}` {known}", INVALID)
    loads = [
        Load(streams, Lengths(*pair), requests or max(6, 3 * streams), max_seconds)
        for pair in lengths
        for streams in concurrency
    ]
    _fits(fleet, loads)
    with told():
        key = fleet_keys([fleet], environment()).get(fleet.id)
    most_s = len(loads) * max_seconds
    click.echo(
        f"{len(loads)} loads on {fleet.id} ({fleet.urls[0]}): up to {most_s:.0f} s "
        "and the time that its last requests take",
        err=True,
    )
    run = _measured(fleet, key, loads, loader)
    _keep(fleet, run, loader, out, state, as_json=as_json)


def _fits(fleet: Fleet, loads: Sequence[Load]) -> None:
    for load in loads:
        needed = load.lengths.tokens_in + load.lengths.tokens_out
        if needed > fleet.context_tokens:
            raise Ends(
                f"{load.lengths.tokens_in}+{load.lengths.tokens_out} tokens don't fit "
                f"{fleet.id}: its context is {fleet.context_tokens}",
                INVALID,
            )


@dataclass(slots=True)
class _Run:
    """What has been measured so far: whole loads only."""

    measured: list[Measurement] = field(default_factory=list)
    short: int = 0
    engine_version: str | None = None

    async def own(self, fleet: Fleet, key: str | None, loads: Sequence[Load]) -> None:
        """Measure with our own loop."""
        backend = _opened(fleet, key)
        headers = {"authorization": f"Bearer {key}"} if key else {}
        try:
            if fleet.sagemaker is None:  # AWS answers there, not the engine
                self.engine_version = await about.engine_version(fleet.urls[0], headers)
            loop = Loop(backend, fleet.upstream_model, MANY + randbelow(MANY))
            await loop.calibrate()
            for n, load in enumerate(loads, 1):
                self.measured.append(await self._one(loop, load, f"{n}/{len(loads)}"))
        finally:
            await backend.aclose()

    async def _one(self, loop: Loop, load: Load, place: str) -> Measurement:
        lengths = load.lengths
        what = f"{place} {load.concurrency} streams of {lengths.tokens_in}+{lengths.tokens_out}"
        done = 0

        def on_end(sample: Sample) -> None:
            nonlocal done
            done += 1
            if is_answered(sample) and (sample.tokens_out or 0) < SHORT * lengths.tokens_out:
                self.short += 1
            if sys.stderr.isatty():
                click.echo(f"\r{what}: {done}/{load.requests}", nl=False, err=True)

        samples = await loop.run(load, on_end)
        measured = measurement(samples, load.concurrency, _today())
        click.echo(f"{CLEAR if sys.stderr.isatty() else ''}{what}: {_said(measured)}", err=True)
        return measured


def _opened(fleet: Fleet, key: str | None) -> Backend:
    return opened(fleet, Endpoint(fleet.urls[:1], key, sagemaker=fleet.sagemaker))


async def _words(fleet: Fleet, key: str | None, loads: Sequence[Load]) -> list[int]:
    """Return how many words make the prompt of each load on this fleet."""
    backend = _opened(fleet, key)
    try:
        loop = Loop(backend, fleet.upstream_model)
        await loop.calibrate()
        return [loop.words(load.lengths.tokens_in) for load in loads]
    finally:
        await backend.aclose()


def _measured(fleet: Fleet, key: str | None, loads: Sequence[Load], loader: str) -> _Run:
    """Run all loads; end the command where nothing was measured."""
    run = _Run()
    try:
        if loader == "guidellm":
            program = guidellm.find(fleet)
            words = asyncio.run(_words(fleet, key, loads))
            run.measured += guidellm.run(program, fleet, loads, words)
        else:
            asyncio.run(run.own(fleet, key, loads))
    except KeyboardInterrupt:
        click.echo(f"\ninterrupted: {len(run.measured)} whole loads are kept", err=True)
        if not run.measured:
            raise Ends("interrupted before a load was whole: nothing is written") from None
    except NothingMeasured as exc:
        raise Ends(f"{fleet.id}: no request of a load was answered: {exc}") from None
    except BackendError as exc:
        raise Ends(f"{fleet.id}: {exc}") from None
    except (guidellm.NotUsable, MissingPart) as exc:
        raise Ends(str(exc), REFUSED) from None
    except guidellm.Failed as exc:
        raise Ends(str(exc)) from None
    return run


def _said(measured: Measurement) -> str:
    ttft, itl = measured.ttft_ms, measured.itl_ms
    parts = [f"{measured.mix_tok_s:,.1f} tok/s"]
    if ttft is not None:
        parts.append(f"TTFT {ttft.p50:,.0f} ms (p95 {ttft.p95:,.0f})")
    if itl is not None:
        parts.append(f"ITL {itl.p50:,.1f} ms (p95 {itl.p95:,.1f})")
    parts.append(f"{measured.completed} answered")
    if measured.failed:
        parts.append(f"{measured.failed} FAILED")
    return ", ".join(parts)


def _machine(fleet: Fleet) -> str | None:
    """Return this machine's name if the fleet is on it: then it also bore the load generator."""
    here = all(is_loopback(urlsplit(url).hostname or "") for url in fleet.urls)
    return f"{about.machine(cores())}, with the load generator" if here else None


def _keep(
    fleet: Fleet,
    run: _Run,
    loader: str,
    out: Path | None,
    state: Path,
    *,
    as_json: bool,
) -> None:
    """Write the profile and say what it is good for."""
    instance = "local" if STAND_IN in fleet.marks else fleet.instance
    profile = f"{instance}/{fleet.model.id}"
    report = BenchmarkReport(
        tool="sluice" if loader == "own" else loader,
        measurements=tuple(run.measured),
        engine=fleet.engine,
        engine_version=run.engine_version,
        machine=_machine(fleet),
    )
    warnings = []
    failed = sum(measured.failed for measured in report.measurements)
    if failed:
        warnings.append(f"{failed} requests failed")
    if run.short:
        warnings.append(f"{run.short} answers ended early: the engine doesn't take `ignore_eos`")
    fewest = min((measured.completed or 0 for measured in report.measurements), default=0)
    if 0 < fewest < FEW:
        said = f"p95 and p99 of {fewest} requests are their slowest ones"
        warnings.append(f"{said}: `--requests {FEW}` or more makes a p95")
    if fleet.emulated:
        warnings.append("the fleet is emulated: its profile is marked `estimated`")
    row = profile_file.row_of(
        report,
        profile,
        fleet.model.id,
        instance,
        fleet.region,
        f"sluice fleet measure --fleet {fleet.id} ({loader} load generator)",
        mark="estimated" if fleet.emulated else "measured",
    )
    path = out or profile_file.default_path(state, profile)
    with told():
        try:
            warnings += profile_file.put(path, [row])
        except profile_file.Conflict as exc:
            raise Ends(f"{exc}; nothing is written", REFUSED) from None
    points = len(row["points"])
    if as_json:
        found = {"profile": profile, "points": points, "written": str(path), "warnings": warnings}
        click.echo(orjson.dumps(found))
        return
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"written: {path} ({points} points)")
    watched = profile_file.folder(state)
    if path.suffix != ".yaml" or path.parent.resolve() != watched.resolve():
        click.echo(f"nothing is predicted from it there: profiles are read in {watched}")
    elif fleet.profile is not None and fleet.profile.id == profile:
        said = f"a running router of `--state {state}` takes it up"
        click.echo(f"{fleet.id} is predicted from it from now on; {said}")
    else:
        click.echo(f"write `profile: {profile}` into the fleet catalogue to predict from it")


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
