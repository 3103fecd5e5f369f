"""Lines of a trace's file, plain or packed (told by its first bytes), read as a stream."""

import gzip
import io
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from yamlfile import Invalid, Problem

GZIP: Final = b"\x1f\x8b"
LONGEST_LINE: Final = 4 << 20  # a receipt over a hundred fleets has 100 kB


def invalid(where: str, message: str) -> Invalid:
    return Invalid([Problem(where, message)])


def lines(path: Path, name: str) -> Iterator[tuple[int, bytes]]:
    """Yield each line with its number, blank ones too, without its end."""
    number = 0
    try:
        with path.open("rb") as file:
            packed = file.peek(len(GZIP)).startswith(GZIP)
            stream: IO[bytes] = io.BufferedReader(gzip.GzipFile(fileobj=file)) if packed else file
            for number, line in enumerate(iter(lambda: stream.readline(LONGEST_LINE), b""), 1):
                if len(line) == LONGEST_LINE:
                    raise invalid(f"{name}:{number}", "a line of more than 4 MB: this is no trace")
                yield number, line.removeprefix(BOM_UTF8) if number == 1 else line
    except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
        told = "the packed file ends too early or is damaged: pack it again"
        raise invalid(f"{name}:{number + 1}", told) from exc
    except OSError as exc:
        raise invalid(name, f"can't be read: {exc.strerror or exc}") from exc
