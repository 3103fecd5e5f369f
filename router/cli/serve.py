"""``sluice serve``: the router alone, over fleets that run elsewhere."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import click
from click.core import ParameterSource

from backends.urls import check_url
from router import entry, sns
from router.batches import opening
from router.batches.schedule import window_of
from router.board import MOST_WORKERS
from router.cli import options, own_address
from router.cli.errors import INVALID, Ends, told
from router.order import Ready
from router.settings import (
    DEFAULT_AT_ONCE,
    DEFAULT_DRAIN_S,
    DEFAULT_IN_FLIGHT,
    DEFAULT_KEEP_DAYS,
    DEFAULT_PORT,
    DEFAULT_QUEUE,
    DEFAULT_QUEUE_S,
    DEFAULT_QUOTA_MB,
    JSONL,
    PROMETHEUS,
    Settings,
    bucket_of,
    environment,
    namespace_of,
    receipts_at,
)
from router.sources import unproved

FROZEN = "lambda"  # the place whose processes do nothing between requests


def _who_is_told(
    _context: click.Context, _parameter: click.Parameter, where: str | None
) -> str | None:
    if where is not None:
        objection = sns.objection(where) if where.startswith("arn:") else check_url(where)
        if objection is not None:
            raise click.BadParameter(objection)
    return where


def _checked(
    read: Callable[[str], object],
) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    """Return a callback that refuses what the setting's reader does."""

    def check(
        _context: click.Context, _parameter: click.Parameter, setting: str | None
    ) -> str | None:
        try:
            if setting is not None:
                read(setting)
        except ValueError as exc:
            raise click.BadParameter(str(exc)) from None
        return setting

    return check


class Workers(click.IntRange):
    def __init__(self) -> None:
        super().__init__(1, MOST_WORKERS)

    def convert(self, value: int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            found: int = super().convert(value, param, ctx)
        except click.BadParameter:
            valid = f"valid: 1 to {MOST_WORKERS}, one for each core it may use"
            self.fail(f"`{str(value)[:20]}` is no number of workers ({valid})", param, ctx)
        return found


@click.command("serve")
@options.fleets
@options.policy_source
@click.option(
    "--candidate",
    type=options.FILE,
    help="A policy (YAML) that decides every request too; nothing is sent for that.",
)
@options.state
@options.ledger
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--auth",
    type=click.Choice(["keys", "none"]),
    default="keys",
    show_default=True,
    help="`none` asks nobody for a key, on loopback only.",
)
@click.option(
    "--auth-config",
    type=options.FILE,
    help="Whose tokens (OIDC) and AWS principals are believed beside our keys (YAML).",
)
@options.calibration
@click.option(
    "--alerts",
    metavar="URL|ARN",
    callback=_who_is_told,
    help="Webhook (by POST) or SNS topic that is told when a budget reaches a threshold.",
)
@options.router_on
@click.option(
    "--receipts",
    metavar="STORE",
    default=JSONL,
    show_default=True,
    callback=_checked(receipts_at),
    help="Where receipts go: jsonl (files in --state), or firehose:STREAM.",
)
@click.option(
    "--metrics",
    metavar="HOW",
    default=PROMETHEUS,
    show_default=True,
    callback=_checked(namespace_of),
    help="prometheus (/metrics alone), or emf:NAMESPACE: a line a request on standard output too.",
)
@click.option(
    "--queue",
    type=click.IntRange(0, 100_000),
    default=DEFAULT_QUEUE,
    show_default=True,
    help="Requests that may wait while every fleet is at its limit.",
)
@click.option(
    "--queue-s",
    type=options.Number(0, 600),
    default=DEFAULT_QUEUE_S,
    show_default=True,
    help="Seconds that each of them waits at the most.",
)
@click.option(
    "--in-flight",
    type=click.IntRange(1, 1_000_000),
    default=DEFAULT_IN_FLIGHT,
    show_default=True,
    help="Requests in this process at once; more are refused unread.",
)
@click.option(
    "--unready-s",
    type=click.IntRange(0, 3600),
    default=0,
    show_default=True,
    help="Seconds after SIGTERM in which /readyz says 503 and all is served as ever.",
)
@click.option(
    "--drain-s",
    type=click.IntRange(0, 3600),
    default=DEFAULT_DRAIN_S,
    show_default=True,
    help="Seconds after that in which running answers may end.",
)
@click.option(
    "--workers",
    type=Workers(),
    default=1,
    show_default=True,
    help="Processes that serve; one for each core that the router may use.",
)
@click.option(
    "--batch-window",
    metavar="HH:MM-HH:MM@ZONE",
    callback=_checked(window_of),
    help="When lines of batches are sent, as 22:00-06:00@Asia/Shanghai; without it at any time.",
)
@click.option(
    "--batch-at-once",
    type=click.IntRange(1, 1000),
    default=DEFAULT_AT_ONCE,
    show_default=True,
    help="Lines of all batches at a time.",
)
@click.option(
    "--batch-quota-mb",
    type=click.IntRange(1, 10_000_000),
    default=DEFAULT_QUOTA_MB,
    show_default=True,
    help="Megabytes that the files of a tenant may take.",
)
@click.option(
    "--batch-keep-days",
    type=click.IntRange(1, 365),
    default=DEFAULT_KEEP_DAYS,
    show_default=True,
    help="Days that files are kept.",
)
@click.option(
    "--batches",
    metavar="STORE",
    callback=_checked(bucket_of),
    help="Where files and batches are, beside a ledger in DynamoDB: s3:BUCKET. Workers send them.",
)
@click.pass_context
def command(
    context: click.Context,
    fleets: Path | None,
    policy: Path | str | None,
    candidate: Path | None,
    state: Path,
    store: str,
    host: str,
    port: int,
    auth: Literal["keys", "none"],
    auth_config: Path | None,
    calibration: Path | None,
    alerts: str | None,
    router_on: str,
    receipts: str,
    metrics: str,
    queue: int,
    queue_s: float,
    in_flight: int,
    unready_s: int,
    drain_s: int,
    workers: int,
    batch_window: str | None,
    batch_at_once: int,
    batch_quota_mb: int,
    batch_keep_days: int,
    batches: str | None,
) -> None:
    """Start the router and serve until it is stopped."""
    settings = Settings(
        state,
        fleets,
        policy if isinstance(policy, Path) else None,
        host,
        port,
        auth,
        auth_config,
        calibration,
        alerts,
        store,
        router_on,
        environment(),
        queue,
        queue_s,
        in_flight,
        unready_s,
        drain_s,
        receipts,
        metrics,
        policy if isinstance(policy, str) else None,
        batch_window,
        batch_at_once,
        batch_quota_mb,
        batch_keep_days,
        batches,
        candidate=candidate,
        frozen=router_on == FROZEN,
    )
    if not opening.is_local(settings):
        _refuse_batch_settings(context, elsewhere=batches is not None)
    if workers > 1 and metrics != PROMETHEUS:
        raise click.BadParameter(
            f"`{metrics}` prints a line a request, which {workers} workers would tear: it goes "
            "with one",
            param_hint="'--metrics'",
        )
    if workers == 1:
        _serve(settings)
    else:
        _supervise(settings, workers)


def _refuse_batch_settings(context: click.Context, *, elsewhere: bool) -> None:
    """Refuse what would do nothing: a router without a store takes no batches, and one whose store
    is `elsewhere` sends none.
    """
    sending, keeping = ("batch_window", "batch_at_once"), ("batch_quota_mb", "batch_keep_days")
    for name in sending if elsewhere else (*sending, *keeping):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = f"--{name.replace('_', '-')}"
            said = (
                "with `--batches` the stage's workers send (SLUICE_WINDOW, SLUICE_AT_ONCE)"
                if elsewhere
                else "files and batches are kept in --state, which goes with `--ledger sqlite` "
                "alone, or by `--batches`"
            )
            raise click.BadParameter(f"it would do nothing: {said}", param_hint=f"'{option}'")


def _serve(settings: Settings) -> None:
    """Serve in this process."""
    with told():
        app = entry.build(settings)
        sock = entry.listen(settings.host, settings.port)
    world = app.runtime.generation.world
    own = own_address.objection((on.fleet for on in world.fleets), sock)
    if own is not None:
        raise Ends(own, INVALID)
    running = f"{world.policy.name} {world.hash_and_version}"
    ready = Ready(running, unproved(app.sources, world))
    _warn(ready)
    entry.serve(
        app,
        sock,
        lambda: _hello(sock, ready, settings.batch_window),
        drain_s=settings.drain_s,
        unready_s=settings.unready_s,
        keep_alive_s=settings.keep_alive_s,
    )


def _supervise(settings: Settings, workers: int) -> None:
    """Serve in that many processes of which this one is the parent."""
    from router.supervise import (  # noqa: PLC0415  (a cold start has no use for it)
        SharedPort,
        WorkersFailed,
        supervise,
    )

    with told():
        port = SharedPort(entry.listen(settings.host, settings.port))

    def announce(ready: Ready) -> None:
        _warn(ready)
        _hello(port.sock, ready, settings.batch_window)

    def say(line: str) -> None:
        click.echo(line, err=True)

    try:
        with told():
            supervise(settings, port, workers, announce, say)
    except WorkersFailed as exc:
        raise Ends(str(exc), exc.exit_code) from None


def _warn(ready: Ready) -> None:
    if ready.warning is not None:
        click.echo(f"warning: {ready.warning}", err=True)


def _hello(sock: socket.socket, ready: Ready, window: str | None) -> None:
    # A batch outside it says `in_progress` and nothing more: so this is told before, on one line
    # with the rest, for who waits for that line reads no other.
    batches = "" if window is None else f"; lines of batches wait for {window}, or their deadline"
    click.echo(f"sluice listens on {entry.address(sock)} (policy {ready.policy}){batches}")
