"""What one router process holds: the current generation of policy and fleets, metrics, receipts.

A generation is replaced as a whole when a file changes; requests under way keep theirs.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from backends.base import Backend, Endpoint, MissingPackage
from backends.catalogue import Fleet, ready
from backends.kinds import KINDS
from router.faults import MissingPart
from router.fleet_keys import Keys
from router.metrics import Metrics
from router.record import ReceiptStore
from router.retry_budget import RetryBudget
from router.siblings import Circuits
from router.tracker import Tracker
from router.world import World

LOG = logging.getLogger("sluice")
CLOSE_AFTER_S = 30.0  # after the longest deadline of a request of the last generation


@dataclass(frozen=True, slots=True)
class Generation:
    """A world with what this process knows of its fleets and how they are called. `canary`: the
    same with the policy of a share of the requests.
    """

    world: World
    tracker: Tracker
    backends: Mapping[str, Backend]
    endpoints: Mapping[str, tuple[str, Endpoint]]
    canary: "Generation | None" = None


@dataclass(slots=True)
class Runtime:
    """`clock` is monotonic, in seconds; `environment` is where keys of fleets are; through
    `circuits` workers share what they know of fleets.

    `stale_for`: what keeps it from changes of its policy or fleets, if anything does.
    `draining`: it was told to end. `ending`: what still runs is being cut off.
    `chance` draws from 0 up to 1; `retries` are what its fleets' first tries have earned.
    """

    generation: Generation
    metrics: Metrics
    receipts: ReceiptStore
    clock: Callable[[], float]
    environment: Mapping[str, str]
    circuits: Circuits | None = None
    stale_for: set[str] = field(default_factory=set)
    draining: bool = False
    ending: bool = False
    chance: Callable[[], float] = random.random
    retries: RetryBudget = field(default_factory=RetryBudget)
    _retired: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def stale(self) -> bool:
        return bool(self.stale_for)

    def is_stale(self, because: str, *, now: bool) -> None:
        """Say that this keeps it from changes, or no longer does."""
        (self.stale_for.add if now else self.stale_for.discard)(because)
        self.metrics.stale.set(int(self.stale))

    def record(self, at: str, line: bytes) -> None:
        """Keep the receipt. A full disk costs the receipt, not the request; it is counted."""
        try:
            self.receipts.append(at, line)
        except OSError as exc:
            self.metrics.receipts_lost.inc()
            LOG.error("a receipt could not be written: %s", exc.strerror)  # noqa: TRY400  (one line)

    def adopt(self, world: World, keys: Keys) -> None:
        """Go on with this world; connections to fleets that stay as they are stay open."""
        old = self.generation
        self.generation = generation(world, keys, old, self.circuits)
        kept = set(map(id, self.generation.backends.values()))
        gone = [b for b in old.backends.values() if id(b) not in kept]
        if gone:
            longest_ms = max(r.settings.limits.deadline_ms for r in old.world.policy.rules)
            closing = _close_later(gone, longest_ms / 1000 + CLOSE_AFTER_S)
            task = asyncio.get_running_loop().create_task(closing)
            self._retired.add(task)
            task.add_done_callback(self._retired.discard)

    async def aclose(self) -> None:
        for task in self._retired:
            task.cancel()
        for backend in self.generation.backends.values():
            await backend.aclose()
        await self.receipts.aclose()


def generation(
    world: World,
    keys: Keys,
    old: Generation | None = None,
    circuits: Circuits | None = None,
) -> Generation:
    """Open what the world's fleets are called through; take over what the old generation has."""
    backends: dict[str, Backend] = {}
    endpoints: dict[str, tuple[str, Endpoint]] = {}
    for on in world.fleets:
        fleet = on.fleet
        endpoints[fleet.id] = (fleet.kind, endpoint(fleet, keys.get(fleet.id)))
        if old is not None and old.endpoints.get(fleet.id) == endpoints[fleet.id]:
            backends[fleet.id] = old.backends[fleet.id]
        else:
            backends[fleet.id] = opened(fleet, endpoints[fleet.id][1])
    tracker = Tracker(world.fleets, circuits)
    if old is not None:
        tracker.keep(old.tracker)  # last: from here on nothing can go wrong
    found = Generation(world, tracker, backends, endpoints)
    beside = world.canary
    return found if beside is None else replace(found, canary=replace(found, world=beside))


def opened(fleet: Fleet, at: Endpoint) -> Backend:
    """Open what the fleet is called through. Raises MissingPart."""
    try:
        return KINDS[fleet.kind](at)
    except MissingPackage as exc:
        raise MissingPart(f"fleet {fleet.id}: {exc}") from None


def endpoint(fleet: Fleet, key: str | None) -> Endpoint:
    """Return where the fleet is called, and with which key."""
    each = max(1, ready(fleet) // max(1, len(fleet.urls)))  # replicas behind one url
    places = each * fleet.replicas.concurrency_each
    return Endpoint(fleet.urls, key, fleet.engine, fleet.upstream_model, places, fleet.sagemaker)


async def _close_later(backends: list[Backend], after_s: float) -> None:
    try:
        await asyncio.sleep(after_s)
    finally:
        for backend in backends:
            await backend.aclose()
