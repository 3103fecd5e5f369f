"""Where ``sluice calibrate`` writes: never over what it reads, and whole or not at all."""

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from router.cli.errors import INVALID, Ends


def check_written(written: Sequence[Path | None], read: Sequence[Path | str | None]) -> None:
    """Raise Ends where a file can't be written, or is one that is read or written as well, by
    whatever name: a link is what it leads to.
    """
    taken = [(other, "read") for other in read if other is not None]
    for path in written:
        if path is None:
            continue
        if not path.parent.is_dir():
            raise Ends(f"{path.parent}: no such folder", INVALID)
        for other, what in taken:
            if _same(path, other):
                is_it = "" if str(path) == str(other) else f" is {other}, which"
                said = f"{path}{is_it} is {what} as well: write to another file"
                raise Ends(said, INVALID)
        taken.append((path, "written"))


def _same(path: Path, other: Path | str) -> bool:
    try:
        if other == "-":
            return os.path.samestat(path.stat(), os.fstat(sys.stdin.fileno()))
        return path.samefile(other)
    except (OSError, ValueError):  # one of them isn't there, or standard input is no file
        return other != "-" and path.resolve() == Path(other).resolve()


def write(path: Path, data: bytes) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
