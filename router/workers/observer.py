"""Each minute: look at every fleet, for routers that can't.

While requests are reserved or running it looks every EVERY_S until its minute is nearly over; an
idle system is looked at once and the function ends. So an idle system costs 43,800 short runs a
month ($0.05 on arm64 with 256 MB and 0.3 s each), one that is busy day and night 2.4 million
seconds ($8), and requests pay nothing for being counted (docs/decisions/0016).

A look asks the engines what the router itself would ask them (backends.probe), SageMaker for the
instances of its endpoints and ECS for the tasks of its services, and the ledger for the requests
that are open, which stands for what an engine can't say. A fleet that a router asked to wake is
waking from then on, for as long as that takes, and is looked at as a busy one is. What it saw goes
to the load items (router.load_items), and each minute into the
rows of the fleets' time: `observed` where every replica was seen. A minute in which no observer ran
is made up for by the next, `assumed`.
"""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from backends import files
from backends.base import Backend, Seen
from backends.fleet_model import FleetModel
from router import load_items, price_item, wake_items
from router.fleet_keys import Keys, fleet_keys
from router.ledger.dynamo import DynamoLedger
from router.ledger.fleet_time import MINUTE_S, FleetTime
from router.load_items import LoadItem
from router.minutes import fleet_time
from router.runtime import LOG, endpoint, opened
from router.settings import WorkerSettings
from router.tracker import Tracker
from router.workers.endpoints import Describe, describing, together
from router.workers.in_use import in_use
from router.workers.kit import Answer, Event, Kit
from router.workers.kit import opened as opened_kit
from router.workers.opening import ledger_of
from router.world import fleet_models

EVERY_S: Final = 5.0  # two looks within backends.base.SEEN_FOR_S
MINUTE_LOOKS_S: Final = 55.0  # the next one's minute begins after it
SPARE_S: Final = 4.0  # of the function's time: a look and what is written at the end
READ_ANEW_S: Final = 300.0  # prices, and keys that may have been rotated
MOST_BEHIND_S: Final = 3600.0  # minutes without an observer that are made up for
AT_ONCE: Final = 32  # fleets


@dataclass(frozen=True, slots=True)
class Watched:
    """The fleets as they are observed, by which prices and with which keys."""

    fleets: tuple[FleetModel, ...]
    keys: Keys


@dataclass(frozen=True, slots=True)
class Minute:
    """What one run did. `first_s`: when its first look was written, since 1970."""

    looks: int
    requests: int
    down: tuple[str, ...]
    first_s: float


@dataclass(slots=True)
class Observer:
    """`watched` reads what is observed; `describe` asks AWS for a fleet's replicas, None: it has
    none to tell of. Both may block. `in_use` is told how full a fleet is whose scaling tracks it,
    in percent. `now` is the wall clock, in seconds since 1970.
    """

    ledger: DynamoLedger
    watched: Callable[[], Watched]
    describe: Describe
    in_use: Callable[[str, float], None] = lambda _fleet, _percent: None
    now: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    every_s: float = EVERY_S
    _read: tuple[float, Watched] | None = field(default=None, init=False)
    _loading_ms: dict[str, int] = field(default_factory=dict, init=False)

    async def minute(self, ends_s: float) -> Minute:
        """Look until then, or once if there is nothing to watch. Raises LedgerUnavailable, and
        what `watched` raises.
        """
        since_s, on = self.now(), self._watched()
        tracker = Tracker(on.fleets)
        backends = {
            model.fleet.id: opened(model.fleet, endpoint(model.fleet, on.keys.get(model.fleet.id)))
            for model in on.fleets
        }
        missed = await asyncio.to_thread(self._missed, on, since_s)
        most: dict[float, dict[str, int]] = {}
        looks, first_s = 0, 0.0
        try:
            while True:
                began_s = self.now()
                busy, requests = await self._look(on, tracker, backends)
                looks, first_s = looks + 1, first_s or self.now()
                now_s = self.now()
                minute = most.setdefault(now_s - now_s % MINUTE_S, {})
                _note(minute, tracker, on.fleets, now_s)
                next_s = began_s + self.every_s
                if not busy or next_s > ends_s:
                    break
                await self.sleep(max(0.0, next_s - self.now()))
        finally:
            for backend in backends.values():
                await backend.aclose()
        loads = tracker.loads(self.now())
        rows = [
            row
            for minute_s, seen in most.items()
            for row in fleet_time(on.fleets, loads, minute_s, minute_s + MINUTE_S, seen)
        ]
        await asyncio.to_thread(self.ledger.add_fleet_time, missed + rows)
        down = _down(tracker, on.fleets, self.now()) + self._stuck(on.fleets)
        return Minute(looks, requests, down, first_s)

    def _stuck(self, fleets: Sequence[FleetModel]) -> tuple[str, ...]:
        """Return the fleets that load for longer than twice the time that they take to wake."""
        now_s, since_ms = self.now(), self._loading_ms
        return tuple(
            model.fleet.id
            for model in fleets
            if model.fleet.wake_seconds is not None
            and model.fleet.id in since_ms
            and now_s - since_ms[model.fleet.id] / 1000 > 2 * model.fleet.wake_seconds
        )

    def _still(self, item: LoadItem) -> LoadItem:
        """Return it with the time since when it loads, which the looks before have noted."""
        states = {each.state for each in item.seen}
        if "loading" not in states or not states <= {"loading", "down"}:
            self._loading_ms.pop(item.fleet, None)
            return item
        return replace(item, loading_ms=self._loading_ms.setdefault(item.fleet, item.at_ms))

    async def _look(
        self, on: Watched, tracker: Tracker, backends: Mapping[str, Backend]
    ) -> tuple[bool, int]:
        """See all fleets and write it down; return whether there is something to watch, and the
        open requests.
        """
        counting = asyncio.to_thread(self.ledger.open_requests, self.now())
        asking = asyncio.to_thread(self._asked, on)
        places = asyncio.Semaphore(AT_ONCE)
        looking = (self._see(model, backends[model.fleet.id], places) for model in on.fleets)
        requests, asked, seen = await asyncio.gather(counting, asking, asyncio.gather(*looking))
        at_ms = round(self.now() * 1000)
        items = [
            self._still(
                LoadItem(
                    model.fleet.id,
                    at_ms,
                    _waking(found) if model.fleet.id in asked else found,
                    requests[model.fleet.id],
                    replicas,
                )
            )
            for model, (found, replicas) in zip(on.fleets, seen, strict=True)
        ]
        for model, item in zip(on.fleets, items, strict=True):
            load_items.tell(tracker, item, self.now())
            percent = in_use(model.fleet, item)
            if percent is not None:
                self.in_use(model.fleet.id, percent)
        await asyncio.to_thread(load_items.write, self.ledger.table, items)
        running = any(each.running or each.waiting for item in items for each in item.seen)
        waking = any(load.state == "waking" for load in tracker.loads(self.now()))
        return bool(requests or running or waking), requests.total()

    def _asked(self, on: Watched) -> frozenset[str]:
        """Return the fleets that were asked to wake, no longer ago than that takes."""
        wake_s = {
            model.fleet.id: model.fleet.wake_seconds
            for model in on.fleets
            if model.fleet.runs is not None and model.fleet.wake_seconds is not None
        }
        if not wake_s:
            return frozenset()
        now_s = self.now()
        found = wake_items.read(self.ledger.table)
        return frozenset(i.fleet for i in found if now_s < i.at_s + wake_s.get(i.fleet, 0))

    async def _see(
        self, model: FleetModel, backend: Backend, places: asyncio.Semaphore
    ) -> tuple[tuple[Seen, ...], int | None]:
        """Return what is seen of the fleet's urls, and its replicas as far as AWS tells."""
        fleet = model.fleet
        async with places:
            try:
                seen = tuple(await backend.probe())
                told = await asyncio.to_thread(self.describe, model)
            except Exception as exc:  # noqa: BLE001 (a bug of ours must not hide the other fleets)
                LOG.error("fleet %s: a bug, %s", fleet.id, type(exc).__name__)
                return (), None
        if told is None:
            return seen, None
        return together(told, seen, len(fleet.urls)), told.replicas

    def _watched(self) -> Watched:
        now_s = self.now()
        if self._read is None or now_s - self._read[0] >= READ_ANEW_S:
            self._read = now_s, self.watched()
        return self._read[1]

    def _missed(self, on: Watched, now_s: float) -> list[FleetTime]:
        """Return the rows of the minutes since the last look, in which nobody looked: the fleets
        are taken to have stayed as they were.
        """
        items = load_items.read(self.ledger.table)
        self._loading_ms = {i.fleet: i.loading_ms for i in items if i.loading_ms is not None}
        if not items:
            return []
        tracker = Tracker(on.fleets)
        for item in items:
            if any(model.fleet.id == item.fleet for model in on.fleets):
                load_items.tell(tracker, item, now_s)
        last_s = max(now_s - MOST_BEHIND_S, max(item.at_ms for item in items) / 1000)
        begins_s = last_s - last_s % MINUTE_S + MINUTE_S
        return fleet_time(on.fleets, tracker.loads(now_s), begins_s, now_s - now_s % MINUTE_S)


def _waking(seen: tuple[Seen, ...]) -> tuple[Seen, ...]:
    """Return it as of a fleet that was asked to wake: what doesn't answer yet is about to."""
    return tuple(Seen("loading") if each.state == "down" else each for each in seen)


def _note(
    most: dict[str, int], tracker: Tracker, fleets: Sequence[FleetModel], now_s: float
) -> None:
    """Note the most replicas of each fleet all of which were seen."""
    for model, load in zip(fleets, tracker.loads(now_s), strict=True):
        if tracker.is_observed(model.fleet.id, now_s):
            most[model.fleet.id] = max(load.replicas, most.get(model.fleet.id, 0))


def _down(tracker: Tracker, fleets: Sequence[FleetModel], now_s: float) -> tuple[str, ...]:
    """Return the fleets that are wanted and not there; one that sleeps to save money is neither."""
    loads = zip(fleets, tracker.loads(now_s), strict=True)
    return tuple(model.fleet.id for model, load in loads if load.state == "open-circuit")


def watching(settings: WorkerSettings, ledger: DynamoLedger) -> Callable[[], Watched]:
    """Return what reads the catalogue, at the refreshed prices, and the keys of its fleets."""

    def read() -> Watched:
        item = price_item.read(ledger.table)
        settings.state.mkdir(parents=True, exist_ok=True)
        if item is not None:
            files.own_prices(settings.state).write_text(item.text, "utf-8")
        catalogue = files.catalogue(settings.fleets, settings.state)
        return Watched(fleet_models(catalogue), fleet_keys(catalogue.fleets, settings.environment))

    return read


@functools.cache
def _open() -> tuple[Kit, Observer]:
    kit = opened_kit("observer")
    ledger = ledger_of(kit.settings)
    describe = describing(kit.settings.stage)
    return kit, Observer(ledger, watching(kit.settings, ledger), describe, kit.in_use)


def handler(event: Event, context: Any) -> Answer:  # noqa: ANN401 (Lambda's context)
    kit, observer = _open()
    began_s = time.time()
    left_s = context.get_remaining_time_in_millis() / 1000 - SPARE_S
    with kit.told():
        done = asyncio.run(observer.minute(began_s + min(MINUTE_LOOKS_S, left_s)))
        kit.milliseconds("ObserverLagMs", (done.first_s - _scheduled_s(event, began_s)) * 1000)
        kit.count("FleetsDown", len(done.down))
        for fleet_id in done.down:
            kit.log.warning("fleet %s is down: none of its replicas answers", fleet_id)
    return {"looks": done.looks, "requests": done.requests, "down": list(done.down)}


def _scheduled_s(event: Event, began_s: float) -> float:
    """Return when the run was due; without a schedule, when it began."""
    told = event.get("time")
    if not isinstance(told, str):
        return began_s
    return min(began_s, datetime.fromisoformat(told).timestamp())
