"""The ASGI application: who asks, what for, and which part answers."""

import asyncio
import contextlib
import hashlib
import secrets
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import orjson

from router import refusals, wire
from router.admission import URGENCY, Admission, hope, rank_of
from router.alerts import Alerts
from router.asked import Asked, in_time
from router.auth import Auth
from router.auth.given import credential
from router.batches.api import BATCHES, FILES, Batching, Who, is_ours
from router.batches.dispatcher import Dispatcher
from router.canaries import Canaries
from router.canary_count import counted
from router.classify import Judge
from router.classify.calibration import Counts
from router.decide import Decision, decide
from router.doors import Doors
from router.entries import Spent
from router.errors import Refusal, envelope
from router.exchange import Exchange
from router.facts import facts_of
from router.features import read
from router.feed import Feed
from router.feedback import Feedback
from router.feedback import parse as parse_feedback
from router.http import Http, HungUp, Receive, Scope, Send
from router.identity import NOBODY, Key
from router.keeper import Keeper
from router.key_rows import PREFIX
from router.ledger.port import Once
from router.load_reader import LoadReader
from router.metric_lines import Lines, measure
from router.metrics import CONTENT_TYPE
from router.place import Place
from router.prober import Prober
from router.rates import Rates, expected_tokens
from router.readiness import readiness, show_loads
from router.receipt import Outcome, receipt
from router.replies import as_stream, cut_off, plainly, rfc3339, unless_hung_up
from router.request_id import CHANCE_BYTES
from router.request_id import request_id as new_request_id
from router.requested import check_model, check_tags, known_models
from router.runtime import LOG, Runtime
from router.sampling import drawn
from router.shadow import Shadow
from router.sources import Sources, watch
from router.treasury import Held, Treasury, decided_by
from router.unsent import record_refusal
from router.wake_worth import if_awake, sleeper
from router.waking import Wakes

FINISH_S = 5.0  # as long as the ledger takes to say that it can't be reached, and no longer


@dataclass(frozen=True, slots=True)
class App:
    """Built once, at the root. `auth` None: nobody is asked for a key (loopback only).

    `now` is the wall clock, in seconds since 1970; `counts` are the calibration's, by task.
    `frozen`: nothing of it runs between requests (docs/lambda.md). `lines`: where the metrics of
    each request are printed, if they are.
    """

    runtime: Runtime
    sources: Sources
    auth: Auth | None
    judge: Judge
    feedback: Feedback
    counts: Counts
    shadow: Shadow
    treasury: Treasury
    keeper: Keeper
    alerts: Alerts
    rates: Rates
    admission: Admission
    doors: Doors
    prober: Prober | LoadReader
    wakes: Wakes
    canaries: Canaries
    now: Callable[[], float]
    frozen: bool = False
    lines: Lines | None = None
    feed: Feed | None = None  # where policy and prices come from AWS
    batching: Batching | None = None  # None: this router takes no batches
    dispatcher: Dispatcher | None = None  # None: somebody else sends their lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            http = Http(scope, receive, send, last=self.runtime.draining, ending=self.ending)
            await self.respond(http, self.new_id())

    @property
    def ending(self) -> Callable[[Http], Awaitable[None]] | None:
        return self._end if self.frozen or self.lines is not None else None

    def new_id(self) -> str:
        """Return the id of a request that comes now."""
        return new_request_id(self.now(), secrets.token_hex(CHANCE_BYTES))

    async def _live(self, receive: Receive, send: Send) -> None:
        """Watch the files from start-up to shutdown."""
        await receive()
        watch_files = watch(self.sources, self.runtime, self.treasury.publish)
        watching = asyncio.get_running_loop().create_task(watch_files)
        self.alerts.start()
        if self.feed is not None:
            self.feed.start()
        if not self.frozen:  # else the workers of the deployment keep the books, and look at fleets
            self.shadow.start()
            self.keeper.start()
            self.prober.start()
        if self.auth is not None:
            self.auth.start()
        if self.dispatcher is not None:
            self.dispatcher.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self.dispatcher is not None:  # first: its lines need all the rest
            await self.dispatcher.aclose()
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        if self.feed is not None:
            await self.feed.aclose()
        await self.prober.aclose()
        await self.shadow.aclose()
        await self.keeper.aclose()
        await self.treasury.aclose()
        await self.wakes.aclose()
        await self.alerts.aclose()
        await self.runtime.aclose()
        if self.auth is not None:
            await self.auth.aclose()
        self.feedback.labels.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def respond(self, http: Http, request_id: str) -> None:
        """Answer a request, whatever comes of it."""
        try:
            handler = _handler(http)
            if http.method == "POST":
                with self.doors.let_in(http, held=http.path != FILES):
                    await self.prober.asked()
                    await handler(self, http, request_id)
            else:
                await handler(self, http, request_id)
        except Refusal as refusal:
            self.runtime.metrics.refusals.labels(str(refusal.status)).inc()
            headers = [(b"x-sluice-request-id", request_id.encode()), *refusal.headers]
            await http.answer(refusal.status, refusal.body(), headers)
        except HungUp:
            return
        except asyncio.CancelledError:
            if not self.runtime.ending:
                raise
            await cut_off(http, request_id)
        except Exception as exc:  # noqa: BLE001  (the one place where a bug of ours is told)
            # Its place and type, not its message: that may quote the request.
            where = "".join(traceback.format_tb(exc.__traceback__))
            LOG.error("request %s: a bug, %s at\n%s", request_id, type(exc).__name__, where)
            said = envelope(500, f"internal error, request {request_id}", "internal_error")
            with contextlib.suppress(RuntimeError):  # the answer may have begun
                await http.answer(500, said, [(b"x-sluice-request-id", request_id.encode())])
        finally:
            await http.end()  # unless its last byte was sent: its caller left

    async def _end(self, http: Http) -> None:
        """Finish what the request left behind, where that can't wait, and print its metrics."""
        if self.frozen:
            await self.finished()
        if self.lines is not None and http.method == "POST":
            self.lines.tell(http.status, http.numbers)

    async def finished(self) -> None:
        """Return once nothing is under way in the background, after FINISH_S at most."""
        try:
            async with asyncio.timeout(FINISH_S):
                await self.treasury.finished()
                await self.runtime.receipts.finished()
                await self.alerts.finished()
                await self.wakes.finished()
        except TimeoutError:
            LOG.error("what a request left behind is not finished after %g s", FINISH_S)

    # -- the end -----------------------------------------------------------------------------------

    def unready(self) -> None:
        """Say on /readyz that no more shall come; what comes is served, its connection closed."""
        self.runtime.draining = True

    def close_doors(self) -> None:
        """Refuse what comes from now on, and who waits; what was sent goes on."""
        self.runtime.draining = self.doors.closed = True
        self.admission.close()

    def cut_off(self) -> None:
        """End every request: its caller is told, its receipt says `shutdown`, it is charged."""
        self.runtime.ending = True
        for task in self.doors.tasks:
            task.cancel()

    # -- one request -------------------------------------------------------------------------------

    async def chat(self, http: Http, request_id: str) -> None:
        asked = await self._decided(http, request_id)
        answering = self._answered(http, request_id, asked)
        await (answering if asked.arm is None else counted(self.canaries, asked, http, answering))

    async def _answered(self, http: Http, request_id: str, asked: Asked) -> Exchange:
        request, generation, clock = asked.request, asked.generation, self.runtime.clock
        hoped = asked.decision
        if not hoped.plan.attempts:
            hoped = hope(asked.decision, asked.decided)
        if not hoped.plan.attempts:
            record_refusal(self.runtime, request_id, generation, asked.decision)
            await self._missed_by_all(asked)
            raise refusals.no_candidate(hoped, generation.tracker.reopens_in_s(clock()))
        admitted = self.rates.admit(asked.limits, expected_tokens(hoped), clock())
        used: int | None = 0
        place = Place(generation.tracker)
        try:
            try:
                asked = await self._placed(http, request_id, asked, hoped, place)
            except Refusal:
                await self._missed_by_all(asked, admitted=True)
                raise
            decision, held = await self._set_aside(request_id, asked)
            self.admission.move(place, decision)
            self._missed(decision, if_awake(generation.world, decision))
            heard = self.shadow.listen(generation, request, decision, request_id)

            def settle(spent: Sequence[Spent], line: bytes) -> None:
                self.treasury.settle(held, (request_id, generation.world, decision), spent, line)
                if self.lines is not None:
                    measure(http.numbers, exchange, held.reserved.nano)

            exchange = Exchange(
                self.runtime, generation, request, decision, request_id, heard, settle, place
            )
            exchange.reservation, exchange.meter.most_nano = held.json(), held.most_nano
            exchange.headers = admitted.headers
            answer = as_stream if request.stream else plainly
            delivered = False
            try:
                await unless_hung_up(http, answer(http, exchange))
                delivered = True
            finally:
                # Unless it is finished; else it never began.
                exchange.finish("shutdown" if self.runtime.ending else "client_closed")
                used = exchange.meter.tokens()
                self.shadow.offer(exchange, delivered=delivered)
        finally:
            self.admission.give_up(place)
            self.rates.end(admitted, used, clock())
        return exchange

    async def _placed(
        self, http: Http, request_id: str, asked: Asked, hoped: Decision, place: Place
    ) -> Asked:
        """Take a place on a fleet, and wait for it where all are full; decided anew then."""
        began_s = self.runtime.clock()
        decision = asked.decision
        if decision.plan.attempts:
            if place.take(decision, began_s):
                return asked
            # Another worker was quicker.
            decision = self.admission.placed(place, asked.rank, asked.decided)
            if decision.plan.attempts:
                return replace(asked, decision=decision)
            hoped = hope(decision, asked.decided)
            if not hoped.plan.attempts:
                record_refusal(self.runtime, request_id, asked.generation, decision)
                raise refusals.no_candidate(hoped, asked.generation.tracker.reopens_in_s(began_s))
        waiting = self.admission.wait(place, asked.rank, decision, hoped, asked.decided)
        try:
            decision = await unless_hung_up(http, waiting)
        except (Refusal, HungUp) as exc:
            late = replace(decision, waited_ms=(self.runtime.clock() - began_s) * 1000)
            outcome = "refused" if isinstance(exc, Refusal) else "client_closed"
            record_refusal(self.runtime, request_id, asked.generation, late, outcome)
            raise
        waited_ms = (self.runtime.clock() - began_s) * 1000
        return replace(asked, decision=replace(decision, waited_ms=waited_ms))

    async def _set_aside(self, request_id: str, asked: Asked) -> tuple[Decision, Held]:
        """Take the money and the idempotency key, or neither."""
        world, name = asked.generation.world, asked.hints.idempotency_key
        once = None if name is None else Once(asked.key.id, name, asked.body_hash)
        decided = decided_by(world, stream=asked.request.stream)
        try:
            decision, held = await self.treasury.set_aside(
                request_id, world, asked.decision, decided, once
            )
        except Refusal:
            record_refusal(self.runtime, request_id, asked.generation, asked.decision)
            raise
        return in_time(decision, asked.decision.waited_ms), held

    async def _missed_by_all(self, asked: Asked, *, admitted: bool = False) -> None:
        """Wake who alone could have served what is refused now. Raises Refusal where the request
        would not have been sent there either: too many, or not paid for.
        """
        world = asked.generation.world
        awake = if_awake(world, asked.decision)
        if awake is None or not awake.plan.attempts or self.runtime.draining:
            return
        if not admitted:
            now_s = self.runtime.clock()
            self.rates.end(self.rates.admit(asked.limits, expected_tokens(awake), now_s), 0, now_s)
        decided, trial = decided_by(world, stream=asked.request.stream), self.new_id()
        awake, held = await self.treasury.set_aside(trial, world, awake, decided)
        self.treasury.settle(held, (trial, world, awake), (), b"")  # it was only tried
        self._missed(replace(asked.decision, plan=replace(asked.decision.plan, attempts=())), awake)

    def _missed(self, decision: Decision, awake: Decision | None) -> None:
        """Tell of the fleet that would have served, were it not asleep."""
        missed = None if awake is None else sleeper(decision, awake)
        if missed is not None:
            self.wakes.missed(missed, self.runtime.clock())

    async def route(self, http: Http, request_id: str) -> None:
        """Answer with the receipt of the decision; no model is called, nothing is charged."""
        asked = await self._decided(http, request_id)
        now_s = self.runtime.clock()
        admitted = self.rates.admit(asked.limits, 0, now_s)
        self.rates.end(admitted, 0, now_s)
        line = receipt(request_id, asked.generation.world, asked.decision, Outcome())
        headers = [(b"x-sluice-request-id", request_id.encode()), *admitted.headers]
        await http.answer(200, line, headers)

    async def _decided(self, http: Http, request_id: str) -> Asked:
        at = rfc3339(self.now())
        if http.inside is None:
            key, hints = await self._key(http, at), wire.parse_hints(http.headers)
            check_tags(hints.tags, key)
        else:
            key, hints = http.inside.key, http.inside.hints
        raw = await http.body()
        self.doors.measured(http, len(raw))
        request = wire.parse_chat(raw)
        generation, arm = self.canaries.of(request_id)
        check_model(request.model, key, generation.world.catalogue)
        reading = read(request.body, request.sent_bytes)
        judged = self.judge(reading)
        counted = self.counts.get(judged.task, (0, 0))
        spread = drawn(request_id, "spread") if self.frozen else None
        facts = facts_of(request, reading.features, judged, key, hints, at, counted, spread)
        self.admission.look()  # who waits goes first
        now_s = self.runtime.clock()
        rank = rank_of(URGENCY[facts.service_class], now_s)
        loads = generation.tracker.loads(now_s, rank)
        decision = decide(generation.world, facts, loads, stream=request.stream)
        body_hash = "" if hints.idempotency_key is None else hashlib.sha256(raw).hexdigest()
        return Asked(key, hints, request, body_hash, decision, generation, rank, arm)

    # -- who asks ----------------------------------------------------------------------------------

    async def _key(self, http: Http, at: str) -> Key:
        return NOBODY if self.auth is None else await self.auth.identify(http.headers, at)

    async def _admin(self, http: Http, what: str) -> Key:
        """Return the admin who asks for `what`; raise Refusal (401, 403). Being local is no key."""
        key = await self._key(http, rfc3339(self.now()))
        if not key.admin:
            raise Refusal(403, f"{what} need an admin key", "key_not_allowed")
        return key

    # -- batches -----------------------------------------------------------------------------------

    async def batched(self, http: Http, _request_id: str) -> None:
        """Answer what is asked of files and batches."""
        key = await self._key(http, rfc3339(self.now()))
        if self.batching is None:
            told = "this router has no store of files and batches: its ledger is not in its folder"
            raise Refusal(501, told, "no_batches")
        kept = self.auth is not None and credential(http.headers).startswith(PREFIX.encode())
        await self.batching.answer(http, Who(key, kept))

    # -- the rest ----------------------------------------------------------------------------------

    async def judged(self, http: Http, _request_id: str) -> None:
        """Keep what a caller says of an answer of its own."""
        now_s = self.now()
        at = rfc3339(now_s)
        key = await self._key(http, at)
        said = parse_feedback(await http.body())
        world = self.runtime.generation.world
        await http.answer(200, await self.feedback.take(said, key, world, now_s, at))

    async def models(self, http: Http, _request_id: str) -> None:
        key = await self._key(http, rfc3339(self.now()))
        names = known_models(key, self.runtime.generation.world.catalogue)
        listed = [{"id": n, "object": "model", "created": 0, "owned_by": "sluice"} for n in names]
        await http.answer(200, orjson.dumps({"object": "list", "data": listed}))

    async def healthz(self, http: Http, _request_id: str) -> None:
        await http.answer(200, b'{"status":"ok"}')

    async def readyz(self, http: Http, _request_id: str) -> None:
        """Ready while at least one fleet may be tried, and until the router is told to end."""
        ready, said = readiness(self.runtime, self.canaries)
        await http.answer(200 if ready else 503, said)

    async def metrics(self, http: Http, _request_id: str) -> None:
        if not http.is_local:
            await self._admin(http, "metrics")
        show_loads(self.runtime)
        headers = [(b"content-type", CONTENT_TYPE.encode())]
        await http.answer(200, self.runtime.metrics.text(), headers, json=False)


Handler = Callable[[App, Http, str], Awaitable[None]]

ROUTES: Mapping[str, tuple[str, Handler]] = {
    "/v1/chat/completions": ("POST", App.chat),
    "/v1/route": ("POST", App.route),
    "/v1/feedback": ("POST", App.judged),
    "/v1/models": ("GET", App.models),
    "/healthz": ("GET", App.healthz),
    "/readyz": ("GET", App.readyz),
    "/metrics": ("GET", App.metrics),
}


def _handler(http: Http) -> Handler:
    if is_ours(http.path):
        return App.batched
    found = ROUTES.get(http.path)
    if found is None:
        known = ", ".join((*ROUTES, FILES, BATCHES))
        raise Refusal(404, f"unknown path (known: {known})", "not_found")
    method, handler = found
    if http.method != method:
        headers = ((b"allow", method.encode()),)
        raise Refusal(405, f"this path takes {method}", "method_not_allowed", headers=headers)
    return handler
