"""The machines of all fleets while a replay goes on: started, ready, interrupted, let go, paid."""

from __future__ import annotations  # `array[int]` is no value before Python 3.12

import math
from collections.abc import Callable, Sequence

from backends.cost import NANO
from backends.scaling import scaling_of
from router.replay.bill import HOUR_S, Meter
from router.replay.draws import Draws
from router.replay.fleet import Fleet, first_replicas
from router.replay.leaving import Leaver, Leaving
from router.replay.outcome import Settings
from router.replay.size import NOTICE_S, STREAMS_S, Block, Size, block_of, on_spot
from router.siblings import Missed

READY, GONE, BLOCK = "ready", "gone", "block"
Later = Callable[[float, str, int], None]
"""(when, what, the place of the fleet; of GONE, the number of the machine): lets
`Machines.happens` be called then.
"""


class Machines:
    """`start_s`: of the trace, since 1970; all other times are seconds since then. `allocated`: of
    each fleet what its requests were charged so far, in nano-USD.
    """

    def __init__(
        self,
        fleets: Sequence[Fleet],
        settings: Settings,
        start_s: float,
        allocated: Sequence[int],
        later: Later,
    ) -> None:
        self._fleets, self._settings, self._later = fleets, settings, later
        self._start_s, self._allocated = start_s, allocated
        self.sizes: list[Size] = []
        self.leaving = Leaving(len(fleets))
        self._blocks: list[Block | None] = []
        self._meters = [Meter(fleet.on, start_s) for fleet in fleets]
        self._draws: list[list[Draws]] = [[] for _ in fleets]
        self._looks = 0
        self._busy_s = [0.0] * len(fleets)
        self._missed = Missed()
        for fleet in fleets:
            standing = first_replicas(fleet.on)
            given = fleet.on.fleet
            least = given.replicas.min if given.wake_seconds is not None else standing
            scaling = scaling_of(given, least)
            self.sizes.append(Size(scaling, standing))
            self._blocks.append(block_of(given.tariff, scaling, start_s))
            self._settle(fleet, 0.0)
        for fleet, block in zip(fleets, self._blocks, strict=True):
            if block is not None:
                self._block(fleet, block, 0.0)

    def look(self, over_s: float, now_s: float) -> None:
        """Let every fleet follow its load, and Spot take what it takes."""
        for fleet, size in zip(self._fleets, self.sizes, strict=True):
            place = fleet.place
            fleet.service.advance(now_s)
            service = fleet.service
            used = (service.busy_s - self._busy_s[place]) / over_s + service.unplaced
            self._busy_s[place] = service.busy_s
            change = size.look(used, over_s, now_s)
            if change > 0:
                self._start(fleet, change, now_s)
            elif change < 0:
                self._lets_go(fleet, -change, now_s)
            self._spot(fleet, over_s, now_s)
        self._looks += 1

    def happens(self, what: str, which: int, now_s: float) -> Sequence[int]:
        """Do what was to be done now; return the requests that it ends."""
        if what == GONE:
            lost = self.leaving.on(which)
            self.emptied(now_s)
            return lost
        fleet, block = self._fleets[which], self._blocks[which]
        if what == READY:
            self.sizes[which].is_ready(now_s)
            self._settle(fleet, now_s)
        elif block is not None:
            self._block(fleet, block, now_s)
        return ()

    def emptied(self, now_s: float) -> None:
        """Pay no more for machines that were to go and on which nothing runs any more."""
        for leaver in self.leaving.gone(now_s):
            if leaver.counted:
                self.sizes[leaver.place].draining -= 1
                self._settle(self._fleets[leaver.place], now_s)

    def missed(self, place: int, beyond: float, now_s: float) -> None:
        """Take note of a request that a sleeping fleet would have served; wake it once more than
        `beyond` missed it.
        """
        given = self._fleets[place].on.fleet
        wake_s, run_s = given.wake_seconds or 0, given.min_run_seconds or 0
        window_s = max(1, wake_s + run_s)
        asked = self._missed.missed(
            given.id, now_s, wake_s, asleep=True, beyond=beyond, window_s=window_s
        )
        size = self.sizes[place]
        if asked and size.ready + size.starting == 0:
            self._start(self._fleets[place], 1, now_s)

    def write_down(self, now_s: float) -> None:
        """Write down how every fleet stands."""
        for fleet, size, meter in zip(self._fleets, self.sizes, self._meters, strict=True):
            nano, run = self._bill(fleet, meter, now_s), fleet.run
            run.replicas.append(size.ready)
            run.paid.append(size.paid)
            run.in_flight.append(fleet.in_flight)
            run.usd.append(math.nan if nano is None else nano / NANO)

    def close(self, now_s: float) -> None:
        """Close every fleet's bill: busy is the share of the machines' time that streams held."""
        self.leaving.advance(now_s)
        for fleet, meter in zip(self._fleets, self._meters, strict=True):
            nano, hourly, run = self._bill(fleet, meter, now_s), fleet.on.usd_per_hour, fleet.run
            busy = nano
            if hourly is not None:
                fleet.service.advance(now_s)
                held_s = fleet.service.busy_s + self.leaving.held_s(fleet.place)
                busy = round(hourly / HOUR_S * held_s / fleet.capacity() * NANO)
            run.usd_allocated = self._allocated[fleet.place] / NANO
            known = nano is not None and busy is not None
            run.usd_bill = nano / NANO if known and nano is not None else None
            run.usd_busy = busy / NANO if known and busy is not None else None

    def _bill(self, fleet: Fleet, meter: Meter, now_s: float) -> int | None:
        """Return the bill so far. One without a price by the hour costs what it charges."""
        nano = meter.until(now_s)
        return self._allocated[fleet.place] if by_token(fleet) else nano

    def _start(self, fleet: Fleet, replicas: int, now_s: float) -> None:
        size = self.sizes[fleet.place]
        size.began(replicas)
        fleet.run.starts += replicas
        for _ in range(replicas):
            self._later(now_s + size.scaling.wake_s, READY, fleet.place)
        self._settle(fleet, now_s)

    def _settle(self, fleet: Fleet, now_s: float) -> None:
        """Let the fleet be as large as it is now, and its bill go by that."""
        size = self.sizes[fleet.place]
        self._meters[fleet.place].pay(size.paid, now_s)
        if size.ready != fleet.replicas or size.none != fleet.state:
            fleet.resize(size.ready, now_s, size.none)

    def _lets_go(
        self, fleet: Fleet, replicas: int, now_s: float, after_s: float | None = None
    ) -> None:
        """Let so many go, when they are empty; with `after_s` then, whatever still runs there."""
        size = self.sizes[fleet.place]
        size.went(replicas)
        size.draining += replicas
        self._part(fleet, replicas, now_s, after_s, counted=True)

    def _part(
        self,
        fleet: Fleet,
        replicas: int,
        now_s: float,
        after_s: float | None,
        *,
        counted: bool,
    ) -> None:
        """Take so many machines away from the fleet, each with its share of the streams."""
        until_s = now_s if after_s is None else now_s + after_s
        for gone in range(replicas):
            service = fleet.service.parted(fleet.replicas - gone, now_s)
            number = self.leaving.add(Leaver(fleet.place, service, until_s, counted=counted))
            if after_s is not None:
                self._later(until_s, GONE, number)
        self._settle(fleet, now_s)
        self.emptied(now_s)

    def _spot(self, fleet: Fleet, over_s: float, now_s: float) -> None:
        """Interrupt whom the draw hits: two minutes' notice, in which it takes nothing new.

        A machine's luck hangs on its fleet, its place there and the look alone, so that another
        policy over the same fleets meets the same interruptions.
        """
        each_hour, size = self._settings.spot_interruptions_per_hour, self.sizes[fleet.place]
        spot = on_spot(fleet.on.fleet.tariff, size.standing)
        if not spot or not each_hour:
            return
        chance, draws = 1 - math.exp(-each_hour * over_s / HOUR_S), self._draws[fleet.place]
        while len(draws) < spot:
            draws.append(Draws(self._settings.seed, f"{fleet.on.fleet.id}/{len(draws)}"))
        hit = sum(each.at(self._looks) < chance for each in draws[:spot])
        for _ in range(min(hit, size.standing)):
            self._lets_go(fleet, 1, now_s, NOTICE_S)
            fleet.run.interruptions += 1
            self._start(fleet, 1, now_s)

    def _block(self, fleet: Fleet, block: Block, now_s: float) -> None:
        """Let the block's machines be there from their first answer until they are let go."""
        size, most = self.sizes[fleet.place], self.sizes[fleet.place].scaling.most
        there = block.ready_s <= now_s < block.let_go_s
        goes, size.block = size.block, block.machines if there else 0
        size.bought = block.machines if block.from_s <= now_s < block.until_s else 0
        if goes and not there:
            self._part(fleet, goes, now_s, STREAMS_S, counted=False)
        self._settle(fleet, now_s)
        beyond = size.standing + size.block - most
        if beyond > 0:
            self._lets_go(fleet, min(beyond, size.standing), now_s)
        moments = (block.from_s, block.ready_s, block.let_go_s, block.until_s)
        later = [moment for moment in moments if moment > now_s]
        if later:
            self._later(min(later), BLOCK, fleet.place)


def by_token(fleet: Fleet) -> bool:
    """Return whether the fleet has no price by the hour, and one for each token."""
    return fleet.on.usd_per_hour is None and fleet.on.card is not None
