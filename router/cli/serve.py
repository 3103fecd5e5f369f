"""``sluice serve``: the router alone, over fleets that run elsewhere."""

from pathlib import Path
from typing import Literal

import click

from backends.urls import check_url
from router import entry, sns
from router.cli import options, own_address
from router.cli.errors import INVALID, Ends, told
from router.settings import DEFAULT_PORT, Settings, environment
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

    entry.serve(app, sock, announce)
