"""The events of a replay: arrivals, ends, places in line, time-outs, looks."""

from __future__ import annotations  # `array[int]` is no value before Python 3.12

import math
from array import array
from collections import Counter
from heapq import heappop, heappush
from typing import Final

from policies.model import Facts
from router.decide import COUNT_SLACK, TEMPLATE_SLACK, Decision, decide
from router.refusals import NO_FLEET, no_candidate
from router.replay.assumed import assumptions
from router.replay.candidates import Asked
from router.replay.charges import Charges
from router.replay.choosing import UNSURE, Case, Choosers, Clock, Seen, seen_as
from router.replay.draws import Draws
from router.replay.fleet import Fleet
from router.replay.machines import Machines
from router.replay.money import Books
from router.replay.outcome import REFUSED, SERVED, TIMED_OUT, Replayed, Settings
from router.replay.queue import URGENCY, Queue, Waiter
from router.replay.shadow_prices import ShadowPrices
from router.replay.timers import PENDING, Timers
from router.replay.weighing import Missed, Weighing, with_a_place
from router.traces.trace import UNKNOWN, Trace
from router.wake_worth import if_awake, sleeper
from router.world import World

NOBODY: Final = -1
NEVER: Final = math.inf
# On the agenda, beside the machines' own.
LOOK, LATE, SILENT, UNPLACED, PRICES = "look", "late", "silent", "unplaced", "prices"


class Engine:
    """One replay under way. Seconds are since the trace's start."""

    def __init__(self, world: World, trace: Trace, settings: Settings) -> None:
        n = len(trace)
        self.world, self.trace, self.settings = world, trace, settings
        self.counted = trace.tokens_in if trace.counted is None else trace.counted
        self.clock = Clock(trace.start_s)
        self.fleets = [Fleet(place, on) for place, on in enumerate(world.fleets)]
        self.choosers = Choosers(world, self.fleets)
        self.cases: list[tuple[Case, ...] | None] = [None] * len(trace.kinds)
        self.place_of = {fleet.on.fleet.id: fleet.place for fleet in self.fleets}
        self.rule_of = {rule.id: place for place, rule in enumerate(world.policy.rules)}
        budgets = world.policy.budgets if settings.budgets else ()
        self.books = Books(budgets, trace.kinds, trace.start_s) if budgets else None
        self.line = Queue(settings.queue)
        self.numbered = 0
        self.refusals: Counter[str] = Counter()
        self.relaxed = 0
        self.now_s = 0.0
        self.pending = 0
        self._serial = 0
        self._agenda: list[tuple[float, int, str, int]] = []
        self._timers = Timers()
        self._lined: dict[int, Waiter] = {}
        # Of a cascade: who is asked where the answer isn't kept.
        self._follows: dict[int, int] = {}
        # When the later attempt of a cascade was sent: timers of the one before ring for nothing.
        self._again_s: dict[int, float] = {}
        self._draws = Draws(settings.seed, "cascades")
        self.fleet = array("h", [-1]) * n
        self.rule = array("h", [-1]) * n
        self.outcome = array("b", [PENDING]) * n
        self.ttft_ms = array("f", [math.nan]) * n
        self.e2e_ms = array("f", [math.nan]) * n
        self.out = array("l", [0]) * n  # tokens of all choices that are made
        self.number = array("l", [0]) * n  # among the requests that its fleet was sent
        self.limits = [
            (
                rule.settings.max_output_tokens,
                rule.settings.limits.ttft_timeout_ms / 1000,
                rule.settings.limits.deadline_ms / 1000,
            )
            for rule in world.policy.rules
        ]
        # When the next stream of each fleet ends, then one on a machine that goes, then the next
        # time-out, then the agenda's next.
        self.due = [NEVER] * (len(self.fleets) + 3)
        self.charges = Charges(world.catalogue, self.counted, self.books)
        allocated = self.charges.allocated
        self.machines = Machines(self.fleets, settings, trace.start_s, allocated, self._at)
        if settings.shadow_prices is not None:
            self._reprices(settings.shadow_prices, 0.0)

    def run(self) -> None:
        """Play the whole trace, until nobody is served or waits any more."""
        at_s, due = self.trace.at_s, self.due
        self._at(self.settings.look_s, LOOK)
        for i in range(len(at_s)):
            now_s = at_s[i]
            while (next_s := min(due)) <= now_s:
                self._happens(next_s)
            self.now_s = now_s
            self.pending += 1
            self._decides(i, now_s)
        while self.pending:
            self._happens(min(due))
        self.machines.write_down(self.now_s)

    def _happens(self, next_s: float) -> None:
        """Let happen what comes next."""
        self.now_s = max(self.now_s, next_s)
        place = self.due.index(next_s)
        if place < len(self.fleets):
            self._ends(self.fleets[place])
        elif place == len(self.fleets):
            self._ends_leaving()
        elif place == len(self.fleets) + 1:
            self._timers_ring(self.now_s)
        else:
            self._agenda_next()

    def _decides(self, i: int, now_s: float, waiter: Waiter | None = None) -> None:
        """Find out who serves the request: fast where nothing is unusual about it."""
        trace = self.trace
        seen: Seen | None = None
        of = trace.kind[i]
        cases = self.cases[of]
        if cases is None:
            cases = self.cases[of] = self.choosers.of(trace.kinds[of])
        for place, varying, pick, weighing in cases:
            if varying:
                if seen is None:
                    seen = Seen(
                        self.clock.at(trace.at_s[i]), trace.complexity[i], trace.tokens_in[i]
                    )
                facts = seen_as(seen)
                if not all(matches(facts) for matches in varying):
                    continue
            if pick is None or weighing is None:
                break
            asked = trace.tokens_in[i], trace.expected[i], trace.complexity[i], trace.p_small[i]
            chosen = pick(*asked)
            if chosen != UNSURE:
                if self.books is not None and not self._pays(i, now_s, weighing, asked):
                    break
                self._sends(i, self.fleets[chosen], place, now_s)
                return
            if not self._weighs(i, now_s, place, weighing, asked, waiter):
                break
            return
        self._decided(i, now_s, waiter)

    def _weighs(
        self,
        i: int,
        now_s: float,
        rule: int,
        weighing: Weighing,
        asked: Asked,
        waiter: Waiter | None,
    ) -> bool:
        """Do what is decided where something is unusual; return False where the router decides."""
        chosen = weighing.chosen(asked)
        if chosen is None:
            fleets = weighing.hope(asked)
            if fleets is None:
                return False
            self.rule[i] = rule
            if fleets:
                kind = self.trace.kinds[self.trace.kind[i]]
                self._joins(i, now_s, fleets, kind, self.limits[rule][2], waiter)
            else:
                self._unserved(i, NO_FLEET)
            return True
        if not self._pays(i, now_s, None if chosen.tested else weighing, asked):
            return False
        self._wakes(chosen.missed, now_s)
        if chosen.relaxed:
            self.relaxed += 1
        if chosen.tested:
            self._follows[i] = NOBODY if chosen.follows is None else chosen.follows
        self._sends(i, self.fleets[chosen.place], rule, now_s)
        return True

    def _pays(self, i: int, now_s: float, weighing: Weighing | None, asked: Asked) -> bool:
        """Set aside what the request may be charged at most; return False where the router does."""
        if self.books is None:
            return True
        accounts = self.books.accounts(self.trace.kind[i], now_s)
        if not accounts:
            return self.books.take(i, accounts, 0)
        nano = None if weighing is None else weighing.worst(asked, self._bound(i))
        return nano is not None and self.books.take(i, accounts, nano)

    def _bound(self, i: int) -> int:
        """Return how many tokens the request's prompt has at most."""
        trace = self.trace
        if trace.bound is None:
            bound = trace.kinds[trace.kind[i]].tokens_in_bound
        else:
            bound = None if trace.bound[i] == UNKNOWN else trace.bound[i]
        return trace.tokens_in[i] if bound is None else bound

    def _decided(self, i: int, now_s: float, waiter: Waiter | None) -> None:
        """Let the router decide, and do as it says."""
        facts = self.trace.facts(i)
        decision = decide(self.world, facts, [fleet.load() for fleet in self.fleets])
        rule = decision.verdict.rule
        self.rule[i] = -1 if rule is None else self.rule_of[rule.id]
        if not decision.plan.attempts:
            self._waits(i, now_s, facts, decision, waiter)
            return
        if self.books is not None:
            loads = decision.loads
            paid = self.books.set_aside(
                i,
                self.trace.kind[i],
                now_s,
                decision,
                lambda facts: decide(self.world, facts, loads),
            )
            if paid is None:
                self._refused(i, "budget_exhausted")
                return
            decision = paid
        self._misses(decision, if_awake(self.world, decision))
        if decision.verdict.relaxed:
            self.relaxed += 1
        places = [self.place_of[each.candidate.fleet] for each in decision.plan.attempts]
        if decision.plan.attempts[0].accept_if:
            self._follows[i] = places[1] if len(places) > 1 else NOBODY
        self._sends(i, self.fleets[places[0]], self.rule[i], now_s)

    def _misses(self, decision: Decision, awake: Decision | None) -> None:
        """Wake who sleeps and would have served, where that is worth it."""
        missed = None if awake is None else sleeper(decision, awake)
        if missed is not None and missed.candidate.state == "cold":
            self._wakes((self.place_of[missed.candidate.fleet], missed.beyond), self.now_s)

    def _wakes(self, missed: Missed | None, now_s: float) -> None:
        if missed is not None:
            self.machines.missed(*missed, now_s)

    def _waits(
        self, i: int, now_s: float, facts: Facts, decision: Decision, waiter: Waiter | None
    ) -> None:
        """Let the request wait for a place, where another's end can mend what is in its way."""
        full = {r.candidate.fleet for r in decision.verdict.refused if r.code == "at_limit"}
        hoped = decision
        if full:
            loads = [with_a_place(fleet) for fleet in self.fleets]
            hoped = decide(self.world, facts, loads)
        if not hoped.plan.attempts:
            self._unserved(i, str(no_candidate(hoped, None).code))
            return
        fleets = frozenset(c.fleet for c in hoped.verdict.ranked if c.fleet in full)
        self._joins(i, now_s, fleets, facts, hoped.plan.limits.deadline_ms / 1000, waiter)

    def _joins(
        self,
        i: int,
        now_s: float,
        fleets: frozenset[str],
        facts: Facts,
        deadline_s: float,
        waiter: Waiter | None,
    ) -> None:
        """Let the request stand in line for these fleets; who comes beyond its end is refused."""
        if waiter is None:
            self.numbered += 1
            waiter = Waiter(URGENCY[facts.service_class], self.numbered, fleets, i)
            self._at(now_s + min(self.settings.queue_s, deadline_s), UNPLACED, i)
        one = Waiter(waiter.urgency, waiter.number, fleets, i)
        self._lined[i] = one
        last = self.line.join(one)
        if last is not None:
            del self._lined[last.i]
            self._unserved(last.i, "overloaded")

    def _refused(self, i: int, code: str) -> None:
        self.outcome[i], self.fleet[i] = REFUSED, NOBODY
        self.refusals[code] += 1
        self.pending -= 1

    def _unserved(self, i: int, code: str) -> None:
        """Refuse a request that nobody serves, and wake who would have; where that would not be
        paid for either it is refused for its budget.
        """
        paid = self._missed_by(i) if any(fleet.cold for fleet in self.fleets) else True
        self._refused(i, code if paid else "budget_exhausted")

    def _missed_by(self, i: int) -> bool:
        """Wake who sleeps and would have served this request, which nobody does; return False
        where the budgets have not enough for it.
        """
        trace, rule, now_s = self.trace, self.rule[i], self.now_s
        of, books = trace.kind[i], self.books
        cases = self.cases[of] or ()
        weighing = next((case.weighing for case in cases if case.rule == rule), None)
        if weighing is not None and (books is None or not books.accounts(of, now_s)):
            asked = trace.tokens_in[i], trace.expected[i], trace.complexity[i], trace.p_small[i]
            self._wakes(weighing.missed(asked), now_s)
            return True
        decision = decide(self.world, trace.facts(i), [fleet.load() for fleet in self.fleets])
        awake = if_awake(self.world, decision)
        if books is not None and awake is not None and awake.plan.attempts:
            loads = awake.loads
            awake = books.set_aside(
                i, of, now_s, awake, lambda facts: decide(self.world, facts, loads)
            )
            if awake is None:
                return False
            books.settle(i, 0)  # it was only tried
        self._misses(decision, awake)
        return True

    def _sends(self, i: int, fleet: Fleet, rule: int, now_s: float) -> None:
        """Send the request to this fleet, where it takes as long as its real lengths take."""
        trace = self.trace
        kind = trace.kinds[trace.kind[i]]
        tokens_in, n = trace.tokens_in[i], kind.n
        most, ttft_s, deadline_s = self.limits[rule]
        if kind.max_tokens is not None:
            most = kind.max_tokens
        else:  # as router.decide.output_limit
            context = fleet.on.fleet.context_tokens
            most = max(1, min(most, context - int(tokens_in * COUNT_SLACK) - TEMPLATE_SLACK))
        out = trace.tokens_out[i]
        each = out if n == 1 else -(-out // n)
        if each > most:
            each, out = most, most * n
        self.rule[i], self.fleet[i], self.out[i] = rule, fleet.place, out
        self.number[i] = fleet.taken()
        service, place, due = fleet.service, fleet.place, self.due
        service.start(i, now_s, self.counted[i], each, n)
        due[place] = service.next_s
        late_s = min(now_s + ttft_s, trace.at_s[i] + deadline_s)
        timers = self._timers
        if timers.set(ttft_s, late_s, i):
            due[-2] = timers.next_s
        else:  # by its deadline, after a wait
            self._at(late_s, SILENT, i)

    def _ends(self, fleet: Fleet) -> None:
        """Let the next stream of the fleet end; its place goes to whoever's turn it is."""
        service = fleet.service
        end_s = service.next_s
        i, first_s = service.end()
        self.due[fleet.place] = service.next_s
        self._ended(i, fleet, end_s, first_s)

    def _ends_leaving(self) -> None:
        """Let the next stream on a machine that goes end; with the last one the machine is gone."""
        leaving = self.machines.leaving
        end_s = leaving.next_s
        place, i, first_s = leaving.end()
        self.due[-3] = leaving.next_s
        self.machines.emptied(end_s)
        self._ended(i, self.fleets[place], end_s, first_s)

    def _ended(self, i: int, fleet: Fleet, end_s: float, first_s: float) -> None:
        """The request's answer is whole: it is kept and charged, or another one is asked for."""
        came_s = self.trace.at_s[i]
        e2e_ms = (end_s - came_s) * 1000
        if i in self._follows:
            if self._is_not_kept(i, fleet, end_s):
                return
            first_s = end_s  # it was held until it was tested
        self.ttft_ms[i], self.e2e_ms[i] = (first_s - came_s) * 1000, e2e_ms
        self.outcome[i] = SERVED
        self.charges.last(i, fleet, self.out[i], e2e_ms)
        fleet.answered()
        self.pending -= 1
        if self._lined:
            self._freed(fleet, end_s)

    def _is_not_kept(self, i: int, fleet: Fleet, now_s: float) -> bool:
        """Send a tested answer's request on, if the answer isn't good enough; it is charged too."""
        after, acceptable = self._follows.pop(i), self.trace.acceptable[i]
        # By the request alone, so that another policy over the same trace meets the same luck.
        kept = acceptable == 1 or (
            acceptable == UNKNOWN and self._draws.at(i) < self.trace.p_small[i]
        )
        if kept:
            return False
        if after == NOBODY:
            self.charges.last(i, fleet, self.out[i], (now_s - self.trace.at_s[i]) * 1000)
            fleet.answered()
            self._refused(i, "upstream_failed")
        else:
            self.charges.attempt(i, fleet, self.out[i])
            fleet.answered()
            self._again_s[i] = now_s
            self._sends(i, self.fleets[after], self.rule[i], now_s)
        if self._lined:
            self._freed(fleet, now_s)
        return True

    def _freed(self, fleet: Fleet, now_s: float) -> None:
        """Call those whose turn it is, as many as there are places; each is decided anew."""
        name = fleet.on.fleet.id
        while not fleet.closed and (one := self.line.first(name)) is not None:
            self.line.leave(one)
            del self._lined[one.i]
            self._decides(one.i, now_s, one)

    def _resized(self, now_s: float) -> None:
        """Fleets may be of another size: streams end at other times, and places may be free."""
        for fleet in self.fleets:
            self.due[fleet.place] = fleet.service.next_s
        self.due[-3] = self.machines.leaving.next_s
        for fleet in self.fleets:
            if self._lined:
                self._freed(fleet, now_s)

    def _timers_ring(self, now_s: float) -> None:
        """End what has no first token in time; what has one may run to its deadline."""
        for i in self._timers.ring(now_s, self.outcome):
            self._is_silent(i, now_s)
        self.due[-2] = self._timers.next_s

    def _is_silent(self, i: int, now_s: float) -> None:
        """Give a request up that has no first token by now; another one may run to its deadline."""
        if self.outcome[i] != PENDING:
            return
        _, ttft_s, deadline_s = self.limits[self.rule[i]]
        ends_s = self.trace.at_s[i] + deadline_s
        again_s = self._again_s.get(i)
        if again_s is not None and now_s < min(again_s + ttft_s, ends_s):
            return
        leaving = self.machines.leaving
        there = leaving if i in leaving else self.fleets[self.fleet[i]].service
        if ends_s > now_s and there.has_begun(i, now_s):
            self._at(ends_s, LATE, i)
        else:
            self._gives_up(i, now_s)

    def _gives_up(self, i: int, now_s: float, *, lost: bool = False) -> None:
        """The request is out of time, or lost with its machine: it is charged for its prompt and
        for what was made.
        """
        fleet = self.fleets[self.fleet[i]]
        n = self.trace.kinds[self.trace.kind[i]].n
        leaving = self.machines.leaving
        if i in leaving:
            made = leaving.leave(i, now_s)
            self.due[-3] = leaving.next_s
            self.machines.emptied(now_s)
        else:
            made = fleet.service.leave(i, now_s)
            self.due[fleet.place] = fleet.service.next_s
        made = min(int(made) * n, self.out[i])
        self.outcome[i] = TIMED_OUT
        self.charges.last(i, fleet, made, (now_s - self.trace.at_s[i]) * 1000)
        if lost:
            fleet.lost()
        else:
            fleet.left(self.number[i], now_s)
        self.pending -= 1
        if self._lined:
            self._freed(fleet, now_s)

    def _at(self, when_s: float, what: str, which: int = 0) -> None:
        self._serial += 1
        heappush(self._agenda, (when_s, self._serial, what, which))
        self.due[-1] = self._agenda[0][0]

    def _agenda_next(self) -> None:
        when_s, _, what, which = heappop(self._agenda)
        self.due[-1] = self._agenda[0][0] if self._agenda else NEVER
        if what == LOOK:
            self.machines.look(self.settings.look_s, when_s)
            self.machines.write_down(when_s)
            self._at(when_s + self.settings.look_s, LOOK)
            self._resized(when_s)
        elif what == LATE:
            if self.outcome[which] == PENDING:
                self._gives_up(which, when_s)
        elif what == SILENT:
            self._is_silent(which, when_s)
        elif what == UNPLACED:
            if which in self._lined:
                self.line.leave(self._lined.pop(which))
                self._unserved(which, "overloaded")
        elif what == PRICES:
            assert self.settings.shadow_prices is not None
            self._reprices(self.settings.shadow_prices, when_s)
        else:
            for i in self.machines.happens(what, which, when_s):
                self._gives_up(i, when_s, lost=True)
            self._resized(when_s)

    def _reprices(self, prices: ShadowPrices, now_s: float) -> None:
        """Let this hour's shadow prices decide, until the next hour's do."""
        start_s = self.trace.start_s
        self.world = prices.applied(self.world, prices.hour(start_s, now_s))
        for fleet, on in zip(self.fleets, self.world.fleets, strict=True):
            fleet.repriced(on)
        self._at(prices.next_s(start_s, now_s), PRICES)

    def replayed(self) -> Replayed:
        """Return what became of all, once it is over."""
        policy = self.world.policy
        self.machines.close(self.now_s)
        return Replayed(
            policy.name,
            policy.hash,
            self.trace.name,
            tuple(fleet.run for fleet in self.fleets),
            self.fleet,
            self.rule,
            self.outcome,
            self.ttft_ms,
            self.e2e_ms,
            self.charges.nano,
            self.charges.usd_router,
            self.relaxed,
            dict(sorted(self.refusals.items())),
            {} if self.books is None else self.books.closed(),
            (*self.trace.assumptions, *assumptions(self.world, self.settings)),
            self.now_s,
        )
