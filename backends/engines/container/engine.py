"""The engine's process: started, brought to serve its model, watched, ended."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Mapping
from pathlib import Path

from backends.base import BackendError
from backends.engines.container import EngineEnded
from backends.engines.container.engine_kinds import KINDS, LOOPBACK, Step
from backends.engines.container.settings import Settings
from backends.http1 import Client

POLL_S = 0.1
HEALTH_WITHIN_S = 1.5  # SageMaker gives /ping 2 seconds
STOPPED_WITHIN_S = 2.0


class Engine:
    """One engine for one model. `loaded`: it has served its model at least once."""

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        self.kind = KINDS[settings.engine]
        self.loaded = False
        self._settings = settings
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self.client = Client(f"http://{LOOPBACK}:9")  # nobody: replaced when it is started

    async def start(self, model: Path | None) -> None:
        """Start the process; raise EngineEnded if there is no such program."""
        port = _free_port()
        program = self._settings.program or self.kind.program
        arguments = self.kind.arguments(self._settings, model, port)
        environment = {**self._environment, **self.kind.environment(self._settings, port)}
        try:
            self._process = await asyncio.create_subprocess_exec(
                program,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                env=environment,
                start_new_session=True,  # a Ctrl-C is for us; and its children end with it
            )
        except OSError as exc:
            raise EngineEnded(f"`{program}` can't be started: {exc.strerror}") from exc
        self.client = Client(f"http://{LOOPBACK}:{port}")

    async def load(self) -> None:
        """Return once it serves its model; raise EngineEnded if it doesn't in time."""
        within_s = self._settings.load_within_s
        try:
            async with asyncio.timeout(within_s):
                while not await self.healthy():  # noqa: ASYNC110 (another process becomes ready)
                    await asyncio.sleep(POLL_S)
                for step in self.kind.steps(self._settings):
                    await self._do(step)
        except TimeoutError:
            raise EngineEnded(f"the model is not loaded after {within_s} s") from None
        self.loaded = True

    async def serves(self) -> bool:
        """Whether it runs, has loaded its model and answers now."""
        return self.loaded and await self.healthy()

    async def healthy(self) -> bool:
        """Whether it answers its health check; a stopped or hung process doesn't."""
        if self._process is None or self._process.returncode is not None:
            return False
        try:
            answer = await self.client.request("GET", self.kind.health, timeout_s=HEALTH_WITHIN_S)
        except BackendError:
            return False
        return answer.status == 200  # noqa: PLR2004 (OK; 503 while it loads)

    async def ended(self) -> str:
        """Wait for the process's end; return what happened."""
        assert self._process is not None, "it was started"
        status = await self._process.wait()
        self.loaded = False
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return f"the engine {how}"

    async def stop(self) -> None:
        """End it, gently at first."""
        process = self._process
        if process is not None and process.returncode is None:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOPPED_WITHIN_S):
                    await process.wait()
            self.kill()
            await process.wait()
        await self.client.aclose()

    def kill(self) -> None:
        """End it now: whoever waits for an answer of it is told at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    async def _do(self, step: Step) -> None:
        if step.unless is not None and await self._status(step.unless, step.body) == 200:  # noqa: PLR2004 (OK)
            return
        status = await self._status(step.path, step.body)
        if status != 200:  # noqa: PLR2004 (OK)
            raise EngineEnded(f"the engine can't {step.what}: it answers with status {status}")

    async def _status(self, path: str, body: bytes) -> int:
        try:
            return (await self.client.request("POST", path, body)).status
        except BackendError as exc:
            raise EngineEnded(f"the engine does not answer {path}: {exc}") from None


def _free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as probe:
        return int(probe.getsockname()[1])
