"""Where receipts and versions are kept: ``<state>/receipts/<day>.jsonl``, ``<state>/versions/``."""

import contextlib
import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import orjson

from policies.model import Policy
from router.world import World


class ReceiptStore(Protocol):
    """Keeps one line a decision. What is begun after `append` returned counts its own losses."""

    def append(self, at: str, line: bytes) -> None:
        """Keep the line, or begin to; raise OSError."""

    async def finished(self) -> None:
        """Return once every line is kept or lost."""

    async def aclose(self) -> None: ...


class Receipts:
    """Appends one line a decision. A line is one write, so that a killed process tears none."""

    def __init__(self, state: Path) -> None:
        self._folder = state / "receipts"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._day = ""
        self._file = -1

    def append(self, at: str, line: bytes) -> None:
        """Write the line to the file of its day; raise OSError if the disk does."""
        day = at[:10]
        if day != self._day:
            self.close()
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            self._file = os.open(self._folder / f"{day}.jsonl", flags, 0o600)
            self._day = day
        if os.write(self._file, line + b"\n") <= len(line):
            with contextlib.suppress(OSError):
                os.write(self._file, b"\n")  # so that the next line is not glued to the torn one
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def finished(self) -> None:
        """A line is written when `append` returns."""

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file, self._day = -1, ""


def keep_versions(state: Path, world: World) -> None:
    """Keep the policies, the catalogue and the prices under their hashes, for later recomputing."""
    folder = state / "versions"
    folder.mkdir(parents=True, exist_ok=True)
    keep_policy(state, world.policy)
    if world.trial is not None:
        keep_policy(state, world.trial.policy)
    if world.candidate is not None:
        keep_policy(state, world.candidate.policy)
    _keep(folder / f"{world.catalogue.hash}.json", world.catalogue.compiled)
    _keep(folder / f"{world.catalogue.prices_version}.json", world.catalogue.prices)


def keep_policy(state: Path, policy: Policy) -> None:
    """Keep a policy that receipts will point to."""
    _keep(state / "versions" / f"{policy.hash}.json", policy.compiled)


def _keep(path: Path, value: Mapping[str, object]) -> None:
    if path.exists():
        return
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2))
    part.replace(path)
