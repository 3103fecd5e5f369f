"""Opens what a command is given as TRACE: a file, a folder of receipts, or `gen:...`."""

from pathlib import Path
from typing import Final

from router.traces import azure
from router.traces.arrivals import Arrivals, arrivals
from router.traces.dress import dressed
from router.traces.files import invalid, lines
from router.traces.generate import PREFIX, generated
from router.traces.mix import Mix
from router.traces.trace import Trace

KNOWN: Final = (
    "known: Azure's CSV with TIMESTAMP,ContextTokens,GeneratedTokens; Mooncake's JSON lines with "
    "timestamp, input_length, output_length; Sluice's receipts; each plain or gzip"
)


def open_trace(text: str, mix: Mix | None = None, seed: int = 0) -> Trace:
    """Return the trace of a path or of `gen:KIND?name=value&...`; raise yamlfile.Invalid."""
    mix = mix or Mix()
    if text.startswith(PREFIX):
        return dressed(generated(text, seed), mix, seed)
    return dressed(_read(Path(text), text), mix, seed)


def _read(path: Path, name: str) -> Arrivals:
    if path.is_dir():
        raise invalid(name, "a folder: give the file of a trace")
    found = lines(path, name)
    number, first = next(((n, line) for n, line in found if line.strip()), (1, b""))
    if not first:
        raise invalid(name, f"the file is empty ({KNOWN})")
    if azure.is_header(first):
        read = azure.read(name, found)
        if not read.at_s:
            raise invalid(f"{name}:{number}", "the header alone: no request follows")
        return arrivals(path.name, read)
    raise invalid(f"{name}:{number}", f"this is no trace ({KNOWN})")
