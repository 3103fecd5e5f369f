"""``sluice serve``: the router alone, over fleets that run elsewhere."""

from pathlib import Path
from typing import Literal

import click

from backends.urls import check_url
from router import entry, sns
from router.cli import options, own_address
from router.cli.errors import INVALID, Ends, told
from router.settings import (
    DEFAULT_IN_FLIGHT,
    DEFAULT_PORT,
    DEFAULT_QUEUE,
    DEFAULT_QUEUE_S,
    Settings,
    environment,
)
from router.sources import unproved


def _who_is_told(
    _context: click.Context, _parameter: click.Parameter, where: str | None
) -> str | None:
    if where is not None:
        objection = sns.objection(where) if where.startswith("arn:") else check_url(where)
        if objection is not None:
            raise click.BadParameter(objection)
    return where


@click.command("serve")
@options.fleets
@options.policy
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
    "--queue",
    type=click.IntRange(0, 100_000),
    default=DEFAULT_QUEUE,
    show_default=True,
    help="Requests that may wait while every fleet is at its limit.",
)
@click.option(
    "--queue-s",
    type=click.FloatRange(0, 600),
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
    default=entry.DRAIN_S,
    show_default=True,
    help="Seconds after that in which running answers may end.",
)
def command(
    fleets: Path | None,
    policy: Path | None,
    state: Path,
    store: str,
    host: str,
    port: int,
    auth: Literal["keys", "none"],
    auth_config: Path | None,
    calibration: Path | None,
    alerts: str | None,
    router_on: str,
    queue: int,
    queue_s: float,
    in_flight: int,
    unready_s: int,
    drain_s: int,
) -> None:
    """Start the router and serve until it is stopped."""
    settings = Settings(
        state,
        fleets,
        policy,
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
    )
    with told():
        app = entry.build(settings)
        sock = entry.listen(host, port)
    world = app.runtime.generation.world
    own = own_address.objection((on.fleet for on in world.fleets), sock)
    if own is not None:
        raise Ends(own, INVALID)
    running, lacking = world.policy, unproved(app.sources, world)
    if lacking is not None:
        click.echo(f"warning: {lacking}", err=True)

    def announce() -> None:
        where = entry.address(sock)
        click.echo(f"sluice listens on {where} (policy {running.name} {running.hash})")

    entry.serve(app, sock, announce, drain_s, unready_s)
