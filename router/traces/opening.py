"""Opens what a command is given as TRACE: a file, a folder of receipts, or `gen:...`."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final

import orjson

from router.traces import azure, mooncake, receipts
from router.traces.arrivals import arrivals
from router.traces.dress import dressed
from router.traces.files import invalid, lines
from router.traces.generate import PREFIX, generated
from router.traces.mix import Mix
from router.traces.trace import Trace
from router.traces.window import WHOLE, Window, nothing, part, within

KNOWN: Final = (
    "known: Azure's CSV with the header TIMESTAMP,ContextTokens,GeneratedTokens; Mooncake's JSON "
    "lines with timestamp, input_length, output_length; Sluice's receipts; each plain or gzip"
)
ENDS: Final = (".jsonl", ".jsonl.gz")  # of files of receipts
UNDATED: Final = "`--from` and `--to` choose by the date"


def open_trace(text: str, mix: Mix | None = None, seed: int = 0, window: Window = WHOLE) -> Trace:
    """Return the trace of a path or of `gen:KIND?name=value&...`; raise yamlfile.Invalid.

    A path is a file, or a folder of receipts, such as a router's state. `mix`: of traces without
    texts; receipts say themselves who asked what (`Trace.mixed` tells). `window`: of a trace with
    dates; the rest of it is as if it weren't there.
    """
    mix = mix or Mix()
    if text.startswith(PREFIX):
        if window != WHOLE:
            told = f"{UNDATED}: what is generated is as long as asked for (`seconds` or `days`)"
            raise invalid(text, f"{told}, from its `start` on")
        return dressed(generated(text, seed), mix, seed)
    path = Path(text)
    if path.is_dir():
        return _folder(path, seed, window)
    if path.exists() and not path.is_file():
        told = "this is no regular file (a pipe?), and a trace is read more than once"
        raise invalid(text, f"{told}: write it to a file, and give that")
    return _file(text, path, mix, seed, window)


def _file(text: str, path: Path, mix: Mix, seed: int, window: Window) -> Trace:
    """Return the trace of a file; its first line tells its format."""
    found = lines(path, text)
    number, first = next(((n, line) for n, line in found if line.strip()), (1, b""))
    if not first:
        raise invalid(text, f"the file is empty ({KNOWN})")
    if azure.is_header(first):
        read = azure.read(text, found)
        if not read.at_s:
            raise invalid(f"{text}:{number}", "the header alone: no request follows")
        kept = within(text, read, window)
        assumed = part(window, len(kept.at_s), len(read.at_s))
        return dressed(arrivals(path.name, kept, assumed), mix, seed)
    again = chain([(number, first)], found)
    value = _json(first)
    if receipts.is_first(value):
        return _receipts(path.name, [(text, again)], seed, window)
    if mooncake.is_first(value):
        if window != WHOLE:
            raise invalid(text, f"{UNDATED}, and Mooncake's traces have none: give it whole")
        read = mooncake.read(text, again)
        return dressed(arrivals(path.name, read, mooncake.ASSUMED), mix, seed)
    raise invalid(f"{text}:{number}", f"this is no trace ({KNOWN})")


def _json(line: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(line)
    except ValueError:  # the first of a file of receipts may be cut off
        return {"facts": None} if line.startswith(receipts.TORN) else {}
    return value if isinstance(value, dict) else {}


def _folder(path: Path, seed: int, window: Window) -> Trace:
    """Return the receipts of a router's state, or of its folder of them."""
    folder = path / "receipts" if (path / "receipts").is_dir() else path
    files = sorted(file for file in folder.iterdir() if file.name.endswith(ENDS))
    if not files:
        told = "a folder without receipts: give a file, a router's state, or its `receipts`"
        raise invalid(str(path), told)
    days = {file.name.removesuffix(".gz") for file in files}
    for day in sorted(days):
        if folder / day in files and folder / f"{day}.gz" in files:
            raise invalid(str(folder / day), f"the day is there twice: delete it or `{day}.gz`")
    each = [(str(file), lines(file, str(file))) for file in files]
    return _receipts(path.name, each, seed, window)


def _receipts(
    name: str, files: list[tuple[str, Iterator[tuple[int, bytes]]]], seed: int, window: Window
) -> Trace:
    found = receipts.Found(window)
    for file, each in files:
        receipts.read(found, file, each)
    if not found.at_s and found.passed.count:
        raise invalid(files[0][0], nothing(window, found.passed.first_s, found.passed.last_s))
    if not found.at_s:
        raise invalid(files[0][0], "no receipt of a caller's request is in it")
    return receipts.trace(name, found, seed)
