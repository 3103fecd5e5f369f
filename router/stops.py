"""What is kept of a canary that was stopped, so that no restart and no other router begins it
again: ``<folder>/<key>.json``, in the store of policies or in the state folder.
"""

import contextlib
import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from router.regular import content

IN_STORE: Final = "stops"
IN_STATE: Final = "canaries"


@dataclass(frozen=True, slots=True)
class Stop:
    """`number`: the candidate's version in a store. `at`: RFC 3339, UTC."""

    policy: str
    hash: str
    stable: str
    stable_hash: str
    why: str
    at: str
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Stops:
    """`folders`: where it is looked for; it is written into the first that takes it."""

    folders: tuple[Path, ...]

    def find(self, key: str) -> Stop | None:
        for folder in self.folders:
            if (found := _read(folder / f"{key}.json")) is not None:
                return found
        return None

    def all(self) -> list[Stop]:
        paths = [path for folder in self.folders for path in sorted(folder.glob("*.json"))]
        return [stop for path in paths if (stop := _read(path)) is not None]

    def write(self, key: str, stop: Stop) -> Path | None:
        """Keep it for good; return where, or None: somebody else has. Raises OSError where no
        folder takes it.
        """
        failed: OSError | None = None
        for folder in self.folders:
            try:
                return _write(folder / f"{key}.json", stop)
            except OSError as exc:
                failed = failed or exc
        raise failed or FileNotFoundError(key)

    def stamp(self) -> Sequence[object]:
        """Return a value that changes when one is written or removed."""
        return [sorted(path.name for path in folder.glob("*.json")) for folder in self.folders]


def _read(path: Path) -> Stop | None:
    """Return what the file says; one that can't be read still stops its canary."""
    try:
        said = json.loads(content(path))
        return Stop(**said)
    except FileNotFoundError:
        return None
    except (OSError, RecursionError, TypeError, ValueError):
        return Stop("", "", "", "", f"{path} says so, and can't be read", "")


def _write(path: Path, stop: Stop) -> Path | None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        part.write_text(json.dumps(asdict(stop)) + "\n", "utf-8")
        os.link(part, path)
    except FileExistsError:
        return None
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
    return path
