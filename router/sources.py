"""Policy and fleets from files that are watched: a good change is adopted, a bad one is told.

The last good world goes on until the files are right again.
"""

import asyncio
import functools
import math
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

import yamlfile
from backends import files
from backends.catalogue import Catalogue, Fleet
from backends.quality import rests_on_p_small
from policies.check import UNPROVED, asks_for_labels
from policies.conditions import TASKS
from policies.fitting import fitted
from policies.model import Policy, StopIf
from policies.names import Names
from policies.parse import parse
from router.beside import Policies, of_file, of_store, read, stops_of, text_of
from router.classify import Calibration
from router.classify.calibration import from_json
from router.faults import MissingKey, MissingPart
from router.fleet_keys import Keys, fleet_keys
from router.ledger.port import LedgerUnavailable
from router.policy_store import PolicyStore, is_store
from router.published_form import NO_CANARY
from router.record import keep_versions
from router.runtime import LOG, Runtime
from router.stops import Stops
from router.world import World, world

LOOK_EVERY_S = 1.0
DEMO_FLEETS = "fleets.yaml"  # in the state folder: the catalogue that `sluice up` writes
FILES = "files"  # what a router is stale for while one of them is wrong
LEDGER_AGAIN_S = 5.0  # after limits could not be put in force
SECRETS_EVERY_S = 300.0  # a rotation has to leave the old key good for as long


@dataclass(frozen=True, slots=True)
class Sources:
    """Which files the world comes from; None: the packaged one.

    `labelled`: the router has the labels that a floor with a confidence asks for. `frozen`: it does
    nothing after an answer, so that a policy can't ask for it. `memory_gb`: the router's, where
    that is paid for. `candidate`: a policy that decides beside the one in force, in place of a
    store's. `deployed`: the policy goes out by the steps of AppConfig.
    """

    state: Path
    fleets: Path | None = None
    policy: Path | None = None
    router_on: str = "local"
    labelled: bool = True
    frozen: bool = False
    memory_gb: float | None = None
    candidate: Path | None = None
    deployed: bool = False

    def load(self) -> World:
        """Read everything anew; raise yamlfile.Invalid or OSError."""
        catalogue = files.catalogue(self.fleets, self.state, self.router_on, self.memory_gb)
        found = self.policies(catalogue)
        for said in found.left_out:
            LOG.warning(said)
        candidate = found.candidate
        if self.candidate is not None:
            candidate = read(files.on_disk(self.candidate), names_of(catalogue))
        beside = None if candidate is None else world(candidate, catalogue)
        return replace(
            world(found.policy, catalogue),
            trial=found.trial,
            candidate=beside,
            version=found.version,
        )

    def stops(self) -> Stops:
        """Return where canaries are kept that were stopped."""
        return stops_of(self.policy or self.state, self.state)

    def check(self, text: str, name: str, catalogue: Catalogue) -> None:
        """Raise yamlfile.Invalid for a policy that `load` would refuse."""
        self._check_place(parse(text, name, names_of(catalogue)), name)

    def policies(self, catalogue: Catalogue) -> Policies:
        """Return the policy and what is tried beside it; raise yamlfile.Invalid or OSError."""
        names, where = names_of(catalogue), str(self.policy or "policies/default.yaml")
        if self.policy is None or self.deployed:
            found = Policies(policy(self.policy, catalogue))
        elif self.policy.is_dir():
            found = of_store(self.policy, names, self.state)
        else:
            found = of_file(self.policy, names, self.state)
        self._check_place(found.policy, where)
        return found

    def _check_place(self, found: Policy, where: str) -> None:
        if self.deployed and found.canary is not None:
            raise yamlfile.Invalid([yamlfile.Problem(where, NO_CANARY)])
        if self.frozen and found.canary is not None and found.canary.stop_if != StopIf():
            said = (
                "canary: no environment of Lambda sees enough requests to stop it by `stop_if`: "
                "remove that, or let AppConfig deploy the policy by steps (docs/policies.md)"
            )
            raise yamlfile.Invalid([yamlfile.Problem(where, said)])
        if self.frozen and found.shadow is not None:
            said = (
                "`shadow` judges answers after they were sent, when an environment of Lambda is "
                "frozen: remove it, or let a router that runs on judge (docs/lambda.md)"
            )
            raise yamlfile.Invalid([yamlfile.Problem(where, said)])

    def stamp(self) -> tuple[object, ...]:
        """Return a value that changes when a watched file does."""
        profiles = sorted((self.state / "profiles").glob("*.yaml"))
        prices = files.own_prices(self.state)
        watched = (self.fleets, self.policy, self.candidate, prices, *profiles, *self._beside())
        store = () if self.policy is None or not is_store(self.policy) else (self.policy,)
        return (
            *((path, _stamp(path)) for path in watched),
            *(PolicyStore(folder).stamp() for folder in store),
            self.stops().stamp(),
        )

    def _beside(self) -> tuple[Path, ...]:
        """Return the file of the canary that the policy's file names."""
        if self.policy is None or self.policy.is_dir():
            return ()
        name = _canary_named(self.policy, _stamp(self.policy))
        return () if name is None else (self.policy.with_name(f"{name}.yaml"),)


def names_of(catalogue: Catalogue) -> Names:
    def judged(baseline: str) -> frozenset[str]:
        base = catalogue.fleet(baseline)
        return frozenset() if base is None else _by_p_small(catalogue, base)

    return Names(
        lanes=frozenset(fleet.lane for fleet in catalogue.fleets),
        fleets=frozenset(fleet.id for fleet in catalogue.fleets),
        models=frozenset(catalogue.models),
        regions=frozenset(fleet.region for fleet in catalogue.fleets),
        model_of={fleet.id: fleet.model.id for fleet in catalogue.fleets},
        lane_of={fleet.id: fleet.lane for fleet in catalogue.fleets},
        judged=judged,
    )


def _by_p_small(catalogue: Catalogue, baseline: Fleet) -> frozenset[str]:
    """Return the models whose quality is p_small, for some task, on some fleet."""
    return frozenset(
        fleet.model.id
        for fleet in catalogue.fleets
        for task in TASKS
        if rests_on_p_small(
            fleet.model.quality,
            baseline.model.quality,
            task,
            in_baseline_lane=fleet.lane == baseline.lane,
        )
    )


def policy(path: Path | None, catalogue: Catalogue) -> Policy:
    """Return the policy of this file, or what is in force in this store; without one the packaged
    default, or where its names don't fit these fleets, one that is fitted to them.
    """
    names = names_of(catalogue)
    if path is not None:
        given, _ = text_of(path)
        return parse(given.text, given.name, names)
    default = files.packaged("policies", "default.yaml")
    try:
        return parse(default.text, default.name, names)
    except yamlfile.Invalid:
        regions: dict[str, dict[str, None]] = {}
        for fleet in catalogue.fleets:
            regions.setdefault(fleet.lane, {})[fleet.region] = None
        strong = [fleet for fleet in catalogue.fleets if fleet.lane == "accelerator"]
        baseline = (strong or catalogue.fleets)[0]
        text = fitted(
            {lane: list(found) for lane, found in regions.items()},
            f"{baseline.model.id}@{baseline.id}",
        )
        return parse(text, "the policy fitted to these fleets", names)


def calibration(path: Path | None) -> Calibration | None:
    """Read what `sluice calibrate` wrote; raise yamlfile.Invalid or OSError."""
    if path is None:
        return None
    try:
        return from_json(orjson.loads(path.read_bytes()))
    except ValueError as exc:
        raise yamlfile.Invalid([yamlfile.Problem(f"{path}:1", str(exc))]) from None


@functools.lru_cache(maxsize=4)
def _canary_named(path: Path, _as_of: object) -> str | None:
    """Return the canary's name as far as the file can be read."""
    try:
        found = yamlfile.parse(path.read_text("utf-8"), str(path)).value
        name = found["canary"]["policy"]
    except (yamlfile.Invalid, OSError, ValueError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) and Path(name).name == name else None


Publish = Callable[[Policy], Awaitable[None]]
"""Puts the limits of a policy's budgets in force. Raises LedgerUnavailable."""


async def watch(sources: Sources, runtime: Runtime, publish: Publish) -> None:
    """Look every second whether a file changed, and every few minutes whether a secret did; never
    ends by itself.
    """
    seen, read_s, again_s = sources.stamp(), runtime.clock(), math.inf
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            now, now_s = sources.stamp(), runtime.clock()
            if now != seen or now_s >= again_s:
                seen, read_s = now, now_s
                again_s = runtime.clock() + await _reload(sources, runtime, publish)
            elif now_s - read_s >= SECRETS_EVERY_S:
                read_s = now_s
                await read_secrets(runtime)
        except Exception:  # noqa: BLE001  (a bug of ours must not end the watching)
            LOG.error("the files could not be read again: %s", traceback.format_exc(limit=3))


async def _reload(sources: Sources, runtime: Runtime, publish: Publish) -> float:
    """Do as `reload` does; of a bug of ours, too, the router says that it is stale."""
    try:
        return await reload(sources, runtime, publish)
    except Exception:
        runtime.is_stale(FILES, now=True)
        runtime.metrics.reloads.labels("refused").inc()
        raise


async def read_secrets(runtime: Runtime) -> None:
    """Go on with the keys that Secrets Manager has now; with the old ones if it can't be asked."""
    world, old = runtime.generation.world, runtime.generation.endpoints
    if not any(on.fleet.api_key and on.fleet.api_key.source == "secret" for on in world.fleets):
        return
    try:
        keys = await _keys(runtime, world)
    except (MissingKey, MissingPart) as exc:
        LOG.error("the keys of fleets stay as they are: %s", exc)
        return
    rotated = [name for name, key in keys.items() if old[name][1].api_key != key]
    if rotated:
        runtime.adopt(world, keys)
        LOG.warning("the key of %s is another now", ", ".join(rotated))


async def _keys(runtime: Runtime, world: World) -> Keys:
    fleets = [on.fleet for on in world.fleets]
    return await asyncio.to_thread(fleet_keys, fleets, runtime.environment)


async def reload(sources: Sources, runtime: Runtime, publish: Publish) -> float:
    """Adopt what the files say now, or say what is wrong with them and go on as before.

    Return in how many seconds the same files are worth another try; infinity: once they change.
    """
    try:
        old, new = runtime.generation.world, await asyncio.to_thread(sources.load)
        keys = await _keys(runtime, new)
        keep_versions(sources.state, new)
        await publish(new.policy)
        runtime.adopt(new, keys)
    except (yamlfile.Invalid, MissingKey, MissingPart, OSError, LedgerUnavailable) as exc:
        runtime.is_stale(FILES, now=True)
        runtime.metrics.reloads.labels("refused").inc()
        said = str(exc)
        if isinstance(exc, OSError) and exc.filename is not None:
            said = f"{exc.filename}: {exc.strerror}"  # as at start
        LOG.error("the change is refused, policy %s goes on:\n%s", _running(runtime), said)
        if isinstance(exc, LedgerUnavailable):
            return LEDGER_AGAIN_S
        return SECRETS_EVERY_S if isinstance(exc, MissingKey) else math.inf
    runtime.is_stale(FILES, now=False)
    runtime.metrics.reloads.labels("adopted").inc()
    said = ", ".join(changed(old, new)) or "nothing that is decided by"
    LOG.warning("adopted: %s changed (policy %s)", said, _running(runtime))
    lacking = unproved(sources, new)
    if lacking is not None:
        LOG.warning(lacking)
    return math.inf


def changed(old: World, new: World) -> list[str]:
    """Return which parts differ: the profiles stand in the catalogue's compiled form."""
    was, now = old.catalogue, new.catalogue
    rest = [{k: v for k, v in c.compiled.items() if k != "profiles"} for c in (was, now)]
    parts = (
        ("policy", old.policy.hash != new.policy.hash),
        ("catalogue", rest[0] != rest[1]),
        ("profiles", was.compiled["profiles"] != now.compiled["profiles"]),
        ("prices", was.prices_version != now.prices_version),
        ("canary", old.trial != new.trial),
        ("candidate", _hash(old.candidate) != _hash(new.candidate)),
    )
    return [name for name, differs in parts if differs]


def _hash(beside: World | None) -> str | None:
    return None if beside is None else beside.policy.hash


def unproved(sources: Sources, now: World) -> str | None:
    """Return what to say of a policy that asks for labels where the router has none."""
    if sources.labelled or not asks_for_labels(now.policy):
        return None
    return f"policy {now.policy.name} has a quality_floor with confidence: {UNPROVED}"


def _running(runtime: Runtime) -> str:
    world = runtime.generation.world
    return f"{world.policy.name} ({world.hash_and_version})"


def _stamp(path: Path | None) -> object:
    if path is None:
        return None
    try:
        stat = path.stat()
    except OSError:
        return "gone"
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
