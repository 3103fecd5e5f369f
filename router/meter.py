"""What the attempts of one request take and cost, from the first try to the receipt's last line.

A fleet is busy from `begin` to `close`; `close` frees it, teaches its corrections, and writes the
attempt down. Unknown stays null.
"""

from dataclasses import dataclass, field, replace

from backends.base import BackendError
from backends.cost import NANO
from backends.sse import Usage
from router.charge import Charged, charge_json, charged, usage_nano
from router.decide import Attempt, Decision
from router.entries import SERVED, Spent
from router.receipt import Json
from router.runtime import Generation, Runtime
from router.tracker import Sent

NOTHING = Usage(0, 0, None, None)
LEFT = frozenset({"client_closed", "hedged_out", "shutdown"})  # nobody waited for the answer
CACHED_FOR_THE_MOST_PART = 0.5


@dataclass(slots=True, eq=False)
class Live:
    """An attempt while it runs: seconds by the runtime's clock; `events` of content sent on."""

    attempt: Attempt
    began_s: float
    sent: Sent
    ttft_s: float | None = None
    events: int = 0
    writing_s: float = 0.0  # waited for the caller to read
    usage: Usage | None = None


@dataclass(slots=True)
class Meter:
    runtime: Runtime
    generation: Generation
    decision: Decision
    attempts: list[Json] = field(default_factory=list)
    charges: list[Charged] = field(default_factory=list)
    spent: list[Spent] = field(default_factory=list)
    lives: list[Live] = field(default_factory=list)
    beside_ms: float = 0.0  # of attempts, in which another one ran as well
    unknown: bool = False  # an attempt whose price nobody knows
    most_nano: int | None = None  # that a hard budget lets the request be charged

    def begin(self, attempt: Attempt, *, held: bool = False) -> Live:
        sent = self.generation.tracker.started(attempt.candidate.fleet, held=held)
        live = Live(attempt, self.runtime.clock(), sent)
        self.lives.append(live)
        return live

    def failed(self, live: Live, exc: BackendError) -> None:
        """Close an attempt as failed; only the fleet's own fault counts against it."""
        if exc.backend_at_fault:
            breaker = self.generation.world.policy.defaults.limits.breaker
            now_s = self.runtime.clock()
            fleet = live.attempt.candidate.fleet
            self.generation.tracker.failed(fleet, now_s, breaker, exc.retry_after_s)
            if exc.too_much:
                self.generation.tracker.dropped(fleet, live.sent, now_s)
        if not exc.may_have_worked:
            live.usage = NOTHING
        self.close(live, exc.code, detail=exc.detail)

    def answered(self, live: Live) -> None:
        """Close an attempt as answered to its end."""
        self.generation.tracker.answered(live.attempt.candidate.fleet, live.sent)
        self._learn(live)
        self.close(live, "ok")

    def not_accepted(self, live: Live, test: str) -> None:
        """Close an attempt whose whole answer failed this test: it teaches nothing."""
        self.close(live, "not_accepted", test=test)

    def beaten(self, attempt: Attempt) -> None:
        """Close an attempt that another one was faster than: it teaches nothing."""
        for live in tuple(self.lives):
            if live.attempt is attempt:
                self.close(live, "hedged_out")

    def passed_over(self, attempt: Attempt, why: str) -> None:
        """Write down an attempt of the plan that is not made."""
        fleet = attempt.candidate.fleet
        self.runtime.metrics.attempts.labels(fleet, "passed_over").inc()
        nothing = {"ttft_ms": None, "e2e_ms": 0.0, "queue_ms": None, "tokens_in": 0}
        nothing |= {"tokens_out": 0, "usd": 0.0}
        self.attempts.append({"fleet": fleet, "outcome": "passed_over", **nothing, "detail": why})

    def close_all(self, outcome: str) -> None:
        """Close what still runs."""
        for live in tuple(self.lives):
            self.close(live, outcome)

    def close(self, live: Live, outcome: str, **more: str) -> None:
        """Free the fleet and write down what the attempt took and cost, and `more` of its outcome.
        Once: later there is no effect.
        """
        if live not in self.lives:
            return
        self.lives.remove(live)
        fleet, metrics = live.attempt.candidate.fleet, self.runtime.metrics
        self.generation.tracker.ended(fleet, live.sent)
        metrics.attempts.labels(fleet, outcome).inc()
        counted = metrics.of(fleet)
        e2e_s = self.runtime.clock() - live.began_s
        beside_ms = self._beside_ms(live)
        self.beside_ms += beside_ms
        service_ms = self._service_ms(live, e2e_s * 1000)
        queue_ms = _queue_ms(live, e2e_s * 1000, service_ms)
        usage, estimated = self._usage(live, outcome)
        charge = charged(live.attempt.candidate.on.card, usage, estimated=estimated)
        paid = usage is not NOTHING
        self.unknown = self.unknown or (paid and charge is None)
        if charge is not None and paid:
            self.charges.append(charge)
            counted.usd.inc(charge.nano / NANO)
            counted.tokens_in.inc(usage.tokens_in or 0)
            counted.tokens_cached.inc(usage.cached or 0)
            counted.tokens_out.inc(usage.tokens_out or 0)
        if paid:
            nano = None if charge is None else charge.nano
            e2e_ms = e2e_s * 1000
            spent = Spent(
                live.attempt, outcome, usage, nano, estimated, e2e_ms, service_ms, beside_ms
            )
            self.spent.append(spent)
        self.attempts.append(
            {
                "fleet": fleet,
                "outcome": outcome,
                "ttft_ms": None if live.ttft_s is None else live.ttft_s * 1000,
                "e2e_ms": e2e_s * 1000,
                "queue_ms": queue_ms,
                "tokens_in": usage.tokens_in,
                "tokens_out": usage.tokens_out,
                "usd": None if charge is None else charge.nano / NANO,
                **more,
            }
        )
        if queue_ms is not None:
            counted.queue.observe(queue_ms / 1000)
        if outcome == "ok":
            counted.e2e.observe(e2e_s)
        if live.ttft_s is not None:
            counted.ttft.observe(live.ttft_s)

    def nano_so_far(self, live: Live | None = None) -> int | None:
        """Return the charge of the attempts that are over, and of this one as if it had just ended
        well.
        """
        nano = sum(charge.nano for charge in self.charges)
        if live is None:
            return self._at_most(nano) if self.charges else None
        usage, _ = self._usage(live, "ok")
        running = usage_nano(live.attempt.candidate.on.card, usage)
        return None if running is None else self._at_most(nano + running)

    def tokens(self) -> int | None:
        """Return the tokens of all attempts, in and out; None: of some nobody knows."""
        found = 0
        for spent in self.spent:
            if spent.usage.tokens_in is None or spent.usage.tokens_out is None:
                return None
            found += spent.usage.tokens_in + spent.usage.tokens_out
        return found

    def charge(self) -> Json:
        world = self.generation.world
        open_ms = sum(attempt["e2e_ms"] for attempt in self.attempts) - self.beside_ms
        usd_router = world.catalogue.router.usd(open_ms)
        return charge_json(
            self.charges,
            world.baseline.card,
            usd_router,
            unknown=self.unknown,
            served=bool(self.spent) and self.spent[-1].outcome in SERVED,
            most_nano=self.most_nano,
        )

    def _at_most(self, nano: int) -> int:
        return nano if self.most_nano is None else min(nano, self.most_nano)

    def _beside_ms(self, live: Live) -> float:
        """Return how long another attempt, which still runs, has run beside this one."""
        began_s = min((other.began_s for other in self.lives), default=None)
        if began_s is None:
            return 0.0
        return (self.runtime.clock() - max(began_s, live.began_s)) * 1000

    def _service_ms(self, live: Live, e2e_ms: float) -> float | None:
        """Return the time on the replica, if told. Of several choices an engine times but one."""
        if live.usage is None or self.decision.facts.n > 1:
            return None
        return live.usage.service_ms(e2e_ms)

    def _usage(self, live: Live, outcome: str) -> tuple[Usage, bool]:
        """Return the usage that the fleet told, and whether it is estimated. If it told none: of a
        stream the events of content (a token at least, each), of a plain answer what was expected,
        of one that nobody waited for what its time was enough for. Of a failed attempt
        without content the prompt alone (docs/ledger.md says why).
        """
        facts, candidate, told = self.decision.facts, live.attempt.candidate, live.usage
        if told is not None and told.tokens_out is not None:
            if told.tokens_in is None:
                return replace(told, tokens_in=facts.tokens_in), True
            return told, False
        most = live.attempt.max_tokens * facts.n
        if live.events:
            return Usage(facts.tokens_in, min(live.events, most)), True
        if outcome in ("ok", "not_accepted"):
            return Usage(facts.tokens_in, min(facts.tokens_out * facts.n, most)), True
        known = candidate.ttft_p50_ms is not None and candidate.itl_p50_ms
        if outcome in LEFT and known and candidate.ttft_p50_ms is not None:
            decoding_ms = (self.runtime.clock() - live.began_s) * 1000 - candidate.ttft_p50_ms
            tokens = max(0, int(decoding_ms / known)) * facts.n
            return Usage(facts.tokens_in, min(tokens, most)), True
        return Usage(facts.tokens_in, 0), True

    def _learn(self, live: Live) -> None:
        """Teach the corrections: what was seen over what was foretold without them.

        A plain answer has one time only: it teaches prefill and decode alike. A prompt that was
        cached for the most part was foretold as a whole one: it teaches nothing of prefill.
        """
        candidate = live.attempt.candidate
        usage = live.usage
        if usage is None or usage.tokens_out is None:
            return
        if candidate.ttft_p50_ms is None or candidate.itl_p50_ms is None:
            return
        tokens = usage.tokens_out
        cached = (usage.cached or 0) > CACHED_FOR_THE_MOST_PART * (usage.tokens_in or 0)
        took_ms = (self.runtime.clock() - live.began_s - live.writing_s) * 1000
        ttft_ms = candidate.ttft_p50_ms / candidate.load.ewma_ttft
        itl_ms = candidate.itl_p50_ms / candidate.load.ewma_itl
        decoded = max(tokens // self.decision.facts.n - 1, 0)
        ttft_ratio: float | None
        if live.ttft_s is None:
            if cached:
                return
            ttft_ratio = itl_ratio = took_ms / (ttft_ms + decoded * itl_ms)
        else:
            ttft_ratio = live.ttft_s * 1000 / ttft_ms
            decode_ms = took_ms - live.ttft_s * 1000
            itl_ratio = decode_ms / (decoded * itl_ms) if decoded else ttft_ratio
        tracker = self.generation.tracker
        tracker.learn(candidate.fleet, None if cached else ttft_ratio, itl_ratio)
        wrong = tracker.profile_is_wrong(candidate.fleet)
        self.runtime.metrics.of(candidate.fleet).profile_wrong.set(wrong)


def _queue_ms(live: Live, e2e_ms: float, service_ms: float | None) -> float | None:
    """Return the wait for a place on the replica, which ends before the first token."""
    if service_ms is None:
        return None
    waited_ms = e2e_ms - service_ms
    return waited_ms if live.ttft_s is None else min(waited_ms, live.ttft_s * 1000)
