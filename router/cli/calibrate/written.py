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
        if os.path.isdir(path):  # noqa: PTH112  (a name that is too long is no error here)
            raise Ends(f"`{path}` is a folder, or no name: give a file to write", INVALID)
        folder = Path(os.path.realpath(path)).parent  # a link is what it leads to
        if not os.path.exists(path) and not folder.is_dir():  # noqa: PTH110  (the same)
            missing = folder if path.is_symlink() else path.parent
            raise Ends(f"{missing}: no such folder", INVALID)
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
    """Write a file whole or not at all; a link stays one, and so does a device or a pipe."""
    if path.exists() and not path.is_file():
        with path.open("ab", buffering=0) as file:
            file.write(data)
        return
    path = Path(os.path.realpath(path))
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
