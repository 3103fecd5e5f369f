"""Reading a file where anything may lie: a pipe would keep its reader waiting for ever."""

import errno
import os
import stat
from pathlib import Path


def content(path: Path) -> bytes:
    """Return what a regular file holds. Raises OSError, also for what is none."""
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # so that a pipe opens at once
    with open(opened, "rb") as file:  # noqa: PTH123  (it is opened already)
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise OSError(errno.EINVAL, "no regular file", str(path))
        return file.read()
