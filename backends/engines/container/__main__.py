"""Run the container: `python -m backends.engines.container`, settings from the environment.

Exit codes: 0 after SIGTERM, 1 where the model can't be served (the engine died, no weights), 3 for
a wrong setting.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping

import uvicorn

from backends.engines.container import BadSetting, CannotServe
from backends.engines.container.adapter import Adapter
from backends.engines.container.engine import Engine
from backends.engines.container.engine_kinds import KINDS
from backends.engines.container.settings import Settings, read
from backends.engines.container.weights import find

AFTER_DRAIN_S = 2  # for the last events of streams whose engine was ended


class _Server(uvicorn.Server):
    """Signals are the run's business: uvicorn would raise them once more at the end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Run:
    """One container's life."""

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._engine = Engine(settings, environment)
        self._adapter = Adapter(self._engine, settings)
        self._server = _Server(
            uvicorn.Config(
                self._adapter,
                host=settings.host,
                port=settings.port,
                loop="asyncio",
                http="httptools",
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=settings.drain_s + AFTER_DRAIN_S,
            )
        )

    async def __call__(self) -> int:
        """Serve until SIGTERM, or until the engine ends; return the exit code."""
        try:
            sock = _bound(self._settings)  # before anything is started that would linger
        except CannotServe as exc:
            _say(str(exc))
            return 1
        _say(f"listens on port {sock.getsockname()[1]}")
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._drain)
        serving = asyncio.create_task(self._server.serve([sock]))  # /ping answers while it loads
        working = asyncio.create_task(self._work())
        await asyncio.wait({serving, working}, return_when=asyncio.FIRST_COMPLETED)
        self._server.should_exit = True
        await serving
        if not working.done():
            working.cancel()
        elif not self._adapter.draining:
            _say(working.result())
        await asyncio.gather(working, return_exceptions=True)
        await self._engine.stop()
        return 0 if self._adapter.draining else 1

    async def _work(self) -> str:
        """Load the model and watch over the engine; return why it can't go on."""
        try:
            model = await find(self._settings) if self._engine.kind.takes_file else None
            await self._engine.start(model)
            return await self._watch()
        except CannotServe as exc:
            return str(exc)

    async def _watch(self) -> str:
        ended = asyncio.create_task(self._engine.ended())
        loading = asyncio.create_task(self._engine.load())
        try:
            await asyncio.wait({ended, loading}, return_when=asyncio.FIRST_COMPLETED)
            if loading.done():
                loading.result()
                _say("the model is loaded")
            return await ended
        finally:
            for each in (ended, loading):
                each.cancel()
            await asyncio.gather(ended, loading, return_exceptions=True)

    def _drain(self) -> None:
        if self._adapter.draining:
            return
        self._adapter.draining = True
        self._server.should_exit = True
        most_s, running = self._settings.drain_s, self._adapter.running
        _say(f"ends; answers that may run on for {most_s} s: {running}")
        loop = asyncio.get_running_loop()
        loop.call_later(self._settings.drain_s, self._break_off)

    def _break_off(self) -> None:
        if self._adapter.running:
            _say(f"answers that are broken off: {self._adapter.running}")
        self._engine.kill()


def _bound(settings: Settings) -> socket.socket:
    """Return a socket that is bound; raise CannotServe."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((settings.host, settings.port))
    except OSError as exc:
        sock.close()
        where = f"{settings.host}, port {settings.port}"
        names = "SLUICE_HOST and SAGEMAKER_BIND_TO_PORT say where"
        raise CannotServe(f"can't listen on {where}: {exc.strerror} ({names})") from None
    return sock


def main() -> int:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    if sys.argv[1:] not in ([], ["serve"]):  # SageMaker appends `serve`, or `train` to a training
        _say("this image serves a model and does nothing else: the only argument is `serve`")
        return 3
    environment = dict(os.environ)  # noqa: TID251 (the container's own entry, without a router)
    try:
        settings = read(environment, KINDS)
    except BadSetting as exc:
        _say(str(exc))
        return 3
    return asyncio.run(Run(settings, environment)())


def _say(text: str) -> None:
    sys.stderr.write(f"sluice-engine: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
