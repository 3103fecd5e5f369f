"""One `sluice up` a state folder: a lock that ends with the process that holds it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from router.cli.errors import Ends


@contextmanager
def held(state: Path) -> Iterator[None]:
    """Hold the folder, made if need be; end the command where another process holds it."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "up.lock").open("a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            said = f"`{state}` is in use by another `sluice up` (process {holder})"
            raise Ends(f"{said}: stop it, or choose another folder with `--state`") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
