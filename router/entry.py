"""The composition root and the server: settings -> app -> uvicorn."""

import asyncio
import gc
import logging
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType

import uvicorn

from backends import files, open_files
from router import load_items
from router import sources as file_sources
from router.admission import Admission
from router.alerts import Alerts, target_of
from router.app import App
from router.appconfig_place import place_of
from router.auth import Auth, File
from router.auth.config import parse as parse_auth
from router.auth.rules import AuthConfig
from router.batch_desk import BatchDesk
from router.batches import opening
from router.batches.dispatcher import Dispatcher
from router.batches.hands import Hands
from router.board import Board
from router.board_canary import BoardSums
from router.board_fleets import BoardFleets
from router.board_rates import BoardBuckets
from router.canaries import Canaries, OwnSums
from router.classify import judge_by
from router.doors import Doors
from router.emf import form
from router.faults import BadSetting, CannotListen, MissingPart, Unsafe
from router.feed import Feed
from router.feed_source import Polled, Source
from router.feedback import Feedback
from router.fleet_keys import fleet_keys
from router.keeper import Keeper
from router.key_rows import Keys
from router.labels import Labels
from router.ledger.port import Ledger
from router.load_reader import LoadReader
from router.metric_lines import Lines, to_stdout
from router.metrics import Metrics
from router.prober import Prober
from router.rates import Rates
from router.receipt_store import open_receipts
from router.record import keep_versions
from router.runtime import Runtime, generation
from router.settings import (
    JSONL,
    KEEP_ALIVE_S,
    LAMBDA,
    Settings,
    is_loopback,
    namespace_of,
    table_of,
)
from router.shadow import Shadow
from router.siblings import MINE
from router.store import open_stores
from router.treasury import Treasury
from router.waking import Wakes, WakeTable

LEDGER_WAIT_S = 0.25  # a request's, for a ledger that another process holds: all others wait too
SIBLINGS_WAIT_S = 1.0  # where siblings hold it by turns, and more often
CUT_S = 3  # for those that are cut off then, to be told and charged
BACKLOG = 2048
GC_THRESHOLD = 20_000  # new containers before the collector looks for cycles; Python's 700 is small


@dataclass(frozen=True, slots=True)
class Shared:
    """What a worker shares with the others of its router. `metrics`: the folder of their counts."""

    board: Board
    metrics: Path


def build(settings: Settings, shared: Shared | None = None) -> App:
    """Build the app; raise yamlfile.Invalid, OSError, LedgerUnavailable or one of router.faults.

    `shared` None: this process is the whole router.
    """
    if settings.auth == "none" and not is_loopback(settings.host):
        raise Unsafe(
            f"`--auth none` goes with a loopback address only, not with `{settings.host}`: "
            "leave it out, and create a key with `sluice keys create`"
        )
    if settings.frozen and table_of(settings.ledger) is None:
        raise Unsafe(
            "every environment of Lambda would have a ledger and budgets of its own: give "
            "`--router-on lambda` one that they share, `--ledger dynamodb:TABLE`"
        )
    calibration = file_sources.calibration(settings.calibration)
    counts = calibration.counts if calibration else {}
    feed_source = _feed_source(settings)
    sources = file_sources.Sources(
        settings.state,
        settings.fleets,
        settings.policy if feed_source is None else feed_source.policy,
        settings.router_on,
        bool(counts),
        settings.frozen,
        settings.memory_gb,
        settings.candidate,
        deployed=feed_source is not None,
    )
    if feed_source is None:
        world, polled = sources.load(), Polled()
    else:
        world, polled = feed_source.begin(sources.load)
    keys = fleet_keys([on.fleet for on in world.fleets], settings.environment)
    keep_versions(settings.state, world)
    fleets = None if shared is None else BoardFleets(shared.board)
    metrics = Metrics(None if shared is None else shared.metrics)
    lost = metrics.receipts_lost.inc
    runtime = Runtime(
        generation=generation(world, keys, circuits=fleets),
        metrics=metrics,
        receipts=open_receipts(settings.receipts, settings.state, settings.environment, lost),
        clock=time.monotonic,  # one for all processes of a machine, as what is shared needs it
        environment=settings.environment,
        circuits=fleets,
    )
    turn = MINE if shared is None else shared.board
    feed = None
    if feed_source is not None:
        feed = Feed(runtime, sources, feed_source, polled, time.time, turn)
    wait_s = LEDGER_WAIT_S if shared is None else SIBLINGS_WAIT_S
    stores = open_stores(settings.ledger, settings.state, settings.environment, wait_s)
    alerts = Alerts(None if settings.alerts is None else target_of(settings.alerts))
    treasury = Treasury(
        stores.ledger,
        time.time,
        alerts,
        metrics.unsettled.inc,
        settings.frozen,
        follows=settings.follows,
    )
    treasury.adopt(world.policy)
    admission = Admission(time.monotonic, runtime.metrics, settings.queue, settings.queue_s)
    runtime.generation.tracker.freed = admission.freed
    store, pace = opening.opened(settings, time.time), opening.pace_of(settings)
    app = App(
        runtime,
        sources,
        _auth(settings, runtime, stores.keys),
        judge_by(calibration=calibration),
        Feedback(settings.state, Labels(settings.state), settings.receipts == JSONL),
        counts,
        Shadow(runtime, settings.state, treasury, Labels(settings.state), time.time),
        treasury,
        Keeper(runtime, treasury, time.time, turn=turn),
        alerts,
        Rates() if shared is None else Rates(BoardBuckets(shared.board)),
        admission,
        Doors(runtime.metrics, settings.in_flight),
        _prober(settings, runtime, stores.ledger),
        Wakes(runtime.metrics, sleepers=fleets, table=_wake_table(settings, stores.ledger)),
        Canaries(
            runtime,
            sources,
            OwnSums() if shared is None else BoardSums(shared.board),
            alerts.tell,
            time.time,
        ),
        time.time,
        settings.frozen,
        _lines(settings, runtime),
        feed,
    )
    hands = Hands()
    if store is None:
        elsewhere = opening.opened_on_aws(settings, time.time)
        if elsewhere is None:
            return app
        # whoever looks every minute sees what is new
        batching = opening.batching(settings, elsewhere, time.time, lambda: None, hands)
        return replace(app, batching=batching)
    dispatcher = Dispatcher(store, BatchDesk(app), pace, time.time, time.monotonic, hands)
    batching = opening.batching(settings, store, time.time, dispatcher.wake, hands)
    return replace(app, batching=batching, dispatcher=dispatcher)


def _prober(settings: Settings, runtime: Runtime, ledger: Ledger) -> Prober | LoadReader:
    """On Lambda an observer probes, and writes what it saw into the ledger's table. On Fargate it
    is read where the stage makes fleets: whether one sleeps or wakes, no probe can tell.
    """
    made = any(on.fleet.runs is not None for on in runtime.generation.world.fleets)
    observed = settings.router_on == LAMBDA or (settings.follows and made)
    if not observed or table_of(settings.ledger) is None:
        return Prober(runtime)
    from router.ledger.dynamo import DynamoLedger  # noqa: PLC0415  (only if used)

    assert isinstance(ledger, DynamoLedger)
    return LoadReader(runtime, partial(load_items.read, ledger.table), time.time)


def _wake_table(settings: Settings, ledger: Ledger) -> WakeTable | None:
    """Return where fleets of a deployment are asked for; None: there is no table to say it in."""
    if table_of(settings.ledger) is None:
        return None
    from router.ledger.dynamo import DynamoLedger  # noqa: PLC0415  (only if used)

    assert isinstance(ledger, DynamoLedger)
    return WakeTable(ledger.table, time.time)


def _feed_source(settings: Settings) -> Source | None:
    if settings.appconfig is None:
        return None
    place, table = place_of(settings.appconfig), table_of(settings.ledger)
    return Source(place, settings.state, settings.environment, table)


def _lines(settings: Settings, runtime: Runtime) -> Lines | None:
    namespace = namespace_of(settings.metrics)
    if namespace is None:
        return None
    try:
        written = form(namespace, settings.environment)
    except ValueError as exc:
        raise BadSetting(str(exc)) from None
    return Lines(written, runtime, time.time, to_stdout)


def _auth(
    settings: Settings, runtime: Runtime, opened: Callable[[Callable[[], float]], Keys]
) -> Auth | None:
    """Open what tells who asks; None: nobody is asked. Raises as build does."""
    if settings.auth == "none":
        if settings.auth_config is not None:
            raise Unsafe(
                "`--auth none` asks nobody, so `--auth-config` would do nothing: choose one"
            )
        return None
    path = settings.auth_config
    file = None if path is None else File(path, lambda: _auth_config(path, settings, runtime))
    config = AuthConfig() if file is None else file.read()
    keys = opened(time.monotonic)
    try:
        return Auth(keys, settings.environment, config, file)
    except (MissingPart, Unsafe):
        keys.close()
        raise


def _auth_config(path: Path, settings: Settings, runtime: Runtime) -> AuthConfig:
    given, world = files.on_disk(path), runtime.generation.world
    config = parse_auth(given.text, given.name, file_sources.names_of(world.catalogue))
    if config.iam is not None and not is_loopback(settings.host):
        raise Unsafe(f"`iam` goes with a loopback address only, not with `{settings.host}`")
    return config


def listen(host: str, port: int, other: str = "`--port`") -> socket.socket:
    """Bind before anything else is started, so that a port in use is told at once.

    `other` says how another port is chosen.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except (OSError, OverflowError) as exc:
        sock.close()
        reason = exc.strerror if isinstance(exc, OSError) else "no such port"
        raise CannotListen(
            f"can't listen on {host}:{port}: {reason}; stop what is there, or choose another "
            f"port with {other}"
        ) from None
    sock.setblocking(False)
    return sock


def serve(
    app: App,
    sock: socket.socket,
    announce: Callable[[], None],
    *,
    drain_s: int,
    unready_s: int = 0,
    keep_alive_s: int = KEEP_ALIVE_S,
) -> None:
    """Serve until SIGINT or SIGTERM; `announce` is called once it listens.

    Then /readyz says so, for `unready_s` while all is served as ever; after that nothing more is
    taken on, and after `drain_s` more what still runs is cut off.
    """
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # nobody is believed to be somebody else because a header says so
        timeout_keep_alive=keep_alive_s,
        timeout_graceful_shutdown=drain_s + CUT_S,
    )
    server = _Server(config, app, announce, drain_s, unready_s)
    open_files.allow_many()
    # What was made at start lives as long as the process: the collector need not look at it again,
    # and a request's values die by their reference counts.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn raises the signal again once it has stopped: to this handler, so that the caller
        # goes on and ends in good order
        signal.signal(number, server.handle_exit)
    server.run(sockets=[sock])


class _Server(uvicorn.Server):
    def __init__(
        self,
        config: uvicorn.Config,
        app: App,
        announce: Callable[[], None],
        drain_s: int,
        unready_s: int,
    ) -> None:
        super().__init__(config)
        self._app = app
        self._announce = announce
        self._drain_s, self._unready_s = drain_s, unready_s
        self._exit_s: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; a second signal spares the time in which all is served as ever."""
        self._app.unready()
        if self._unready_s and self._exit_s is None:
            self._exit_s = time.monotonic() + self._unready_s
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        if self._exit_s is not None and time.monotonic() >= self._exit_s:
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.close_doors()
        loop = asyncio.get_running_loop()
        cutting = loop.call_later(self._drain_s, self._app.cut_off)
        await super().shutdown(sockets)
        cutting.cancel()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self._announce()


def address(sock: socket.socket) -> str:
    """Return the URL that a listening socket is reached at."""
    host, port = sock.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (shown, not bound)
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
