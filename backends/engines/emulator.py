"""The emulated fleets: a server that speaks OpenAI's protocol in the time the profiles predict.

    python -m backends.engines.emulator --fleets fleets.yaml --port 8082

No model runs, and every answer says so. Each fleet of kind `emulated` is one ready replica under
``/<fleet>/v1``; beyond its capacity requests queue. ``emulation`` has the timing,
``emulated_request`` and ``emulated_reply`` the protocol, ``emulated_app`` the server.
"""

import errno
import math
import signal
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import click
import uvicorn

from backends import files, open_files
from backends.catalogue import Catalogue
from backends.engines.emulated_app import Emulator
from backends.engines.emulated_fleet import Unfit
from backends.engines.emulated_strike import Wire
from yamlfile import Invalid

STOP_S = 1


def app(
    catalogue: Catalogue,
    time_scale: float = 1.0,
    clock: Callable[[], float] = time.monotonic,
    wall_clock: Callable[[], float] = time.time,
    faults: Mapping[str, str] = MappingProxyType({}),
) -> Emulator:
    """Build the ASGI app. `clock` counts seconds; at `time_scale` 0.1 all goes ten times faster.

    It is to be served over `emulated_strike.Wire`: some faults need the connection itself.
    """
    return Emulator(catalogue, time_scale, clock, wall_clock, faults)


class _Server(uvicorn.Server):
    """Says when it listens, and ends the streams when it is to stop."""

    def __init__(self, config: uvicorn.Config, emulator: Emulator, hello: str) -> None:
        super().__init__(config)
        self._emulator = emulator
        self._hello = hello

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        click.echo(self._hello)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._emulator.stop()
        await super().shutdown(sockets)


@click.command()
@click.option("--fleets", type=click.Path(path_type=Path), help="Catalogue; the packaged one.")
@click.option("--state", type=click.Path(path_type=Path), help="State folder: its own profiles.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), required=True)
@click.option(
    "--time-scale",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="0.1: ten times faster.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="'FLEET FAULT'",
    help="From the start: 'p5-scout reset after=3 share=0.2 seed=7' (docs/emulation.md).",
)
def main(
    fleets: Path | None,
    state: Path | None,
    host: str,
    port: int,
    time_scale: float,
    faults: tuple[str, ...],
) -> None:
    """Emulate the fleets of kind `emulated`: they answer in the time their profiles predict."""
    if not math.isfinite(time_scale):  # which the range doesn't see
        raise click.BadParameter(f"{time_scale} is no number", param_hint="'--time-scale'")
    try:
        emulator = app(files.catalogue(fleets, state), time_scale, faults=_by_fleet(faults))
    except OSError as exc:
        click.echo(f"{exc.filename}: {exc.strerror}", err=True)
        raise SystemExit(3) from None
    except (Invalid, Unfit) as exc:
        click.echo(str(exc), err=True)
        raise SystemExit(3) from None
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as exc:
        why = "the port is in use" if exc.errno == errno.EADDRINUSE else exc.strerror
        click.echo(f"can't listen on {host}:{port}: {why}", err=True)
        raise SystemExit(1) from None
    open_files.allow_many()  # one fleet alone carries over 1000 streams
    config = uvicorn.Config(
        emulator,
        http=Wire,
        access_log=False,
        log_level="error",
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=STOP_S,
    )
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listener.getsockname()[1]}"
    server = _Server(config, emulator, f"emulating {', '.join(emulator.fleets)} on {address}")
    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn hands the signal on to this handler when it has stopped: no traceback, exit 0
        signal.signal(number, server.handle_exit)
    server.run(sockets=[listener])


def _by_fleet(faults: tuple[str, ...]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for text in faults:
        fleet, _, fault = text.strip().partition(" ")
        if fleet in found:
            raise Unfit(f"two faults for `{fleet}`: one fleet has one at a time")
        found[fleet] = fault
    return found


if __name__ == "__main__":
    main()
