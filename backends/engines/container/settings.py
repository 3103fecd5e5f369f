"""The container's environment as one value. Pure: the mapping is given."""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backends.engines.container import BadSetting
from backends.urls import check_url

OUR = "SLUICE_"
SECONDS_TO_SIGKILL = 30  # SageMaker's, after SIGTERM
_DIGITS = re.compile(r"[0-9]{1,10}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_RESERVED = (  # the adapter's own: another value would part it from its engine
    "--host",
    "--port",
    "--model",
    "-m",
    "--alias",
    "-a",
    "--api-key",
    "--api-key-file",
    "--api-prefix",
    "--no-metrics",
)


@dataclass(frozen=True, slots=True)
class Settings:
    """`context_tokens` are one request's; `threads` None: one for each core that may be used.

    `queue`: requests that may wait for a slot. `model_url`: None, or where the GGUF is fetched.
    """

    engine: str
    model_id: str | None
    parallel: int
    context_tokens: int
    threads: int | None
    queue: int
    body_limit_bytes: int
    drain_s: int
    load_within_s: int
    host: str
    port: int
    model_dir: Path
    model_file: str | None
    model_url: str | None
    model_sha256: str | None
    llama_args: tuple[str, ...]
    program: str | None


def read(environment: Mapping[str, str], engines: Mapping[str, object]) -> Settings:
    """Return the settings; raise BadSetting with every mistake."""
    faults: list[str] = []
    values: dict[str, Any] = {}
    for key, (name, default, parse) in _SETTINGS.items():
        given = environment.get(name, "")
        try:
            values[key] = parse(given) if given else default
        except ValueError as exc:
            faults.append(f"{name}: {exc}")
    faults += _unknown(environment)
    if values.get("engine") not in engines and "engine" in values:
        faults.append(f"SLUICE_ENGINE: unknown engine (known: {', '.join(engines)})")
    if not faults:
        faults += _together(values)
    if faults:
        raise BadSetting("\n".join(faults))
    return Settings(**values)


def _unknown(environment: Mapping[str, str]) -> Iterator[str]:
    known = {name for name, _, _ in _SETTINGS.values()}
    for name in sorted(environment):
        if name.startswith(OUR) and name not in known:
            ours = sorted(each for each in known if each.startswith(OUR))
            yield f"{name}: there is no such setting (known: {', '.join(ours)})"


def _together(values: Mapping[str, Any]) -> Iterator[str]:
    if (values["model_url"] is None) != (values["model_sha256"] is None):
        yield "SLUICE_MODEL_URL and SLUICE_MODEL_SHA256 go together: give both, or neither"
    if values["model_url"] is not None and values["model_file"] is not None:
        yield "SLUICE_MODEL_FILE names a file that is there: leave it out with SLUICE_MODEL_URL"
    if values["engine"] == "ollama":
        if values["model_id"] is None:
            yield "OLLAMA_MODEL_ID: Ollama needs the model's name (for example `qwen3:0.6b`)"
        for key in ("model_file", "model_url", "llama_args", "threads"):
            if values[key]:
                yield f"{_SETTINGS[key][0]}: goes with SLUICE_ENGINE=llama.cpp only"


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not _DIGITS.fullmatch(text) or not least <= int(text) <= most:
            raise ValueError(f"an integer from {least:,} to {most:,} is valid")
        return int(text)

    return parse


def _name(text: str) -> str:
    if text.startswith("-") or not text.isprintable() or " " in text:
        raise ValueError("a name has no spaces and does not start with `-`")
    return text


def _file(text: str) -> str:
    if Path(text).is_absolute() or ".." in Path(text).parts:
        raise ValueError("a path inside the model's folder is valid")
    return text


def _url(text: str) -> str:
    objection = check_url(text.partition("?")[0])
    if objection is not None:
        raise ValueError(objection)
    if not text.isascii() or not text.isprintable() or "#" in text:
        raise ValueError("a url is ASCII without `#` (percent-encode the rest)")
    return text


def _sha256(text: str) -> str:
    if not _SHA256.fullmatch(text.lower()):
        raise ValueError("64 hexadecimal digits are valid")
    return text.lower()


def _arguments(text: str) -> tuple[str, ...]:
    try:
        arguments = tuple(shlex.split(text))
    except ValueError:
        raise ValueError("its quotes don't match") from None
    for argument in arguments:
        if argument.partition("=")[0] in _RESERVED:
            raise ValueError(f"`{argument.partition('=')[0]}` is the adapter's own")
    return arguments


_SETTINGS: Mapping[str, tuple[str, Any, Callable[[str], Any]]] = {
    "engine": ("SLUICE_ENGINE", "llama.cpp", str),
    "model_id": ("OLLAMA_MODEL_ID", None, _name),
    "parallel": ("OLLAMA_NUM_PARALLEL", 4, _whole(1, 256)),
    "context_tokens": ("SLUICE_CONTEXT_TOKENS", 8192, _whole(256, 1_048_576)),
    "threads": ("SLUICE_THREADS", None, _whole(1, 1024)),
    "queue": ("SLUICE_QUEUE", 16, _whole(0, 512)),
    "body_limit_bytes": ("SLUICE_BODY_LIMIT_BYTES", 6_000_000, _whole(1, 100_000_000)),
    "drain_s": ("SLUICE_DRAIN_S", 25, _whole(0, SECONDS_TO_SIGKILL - 3)),
    "load_within_s": ("SLUICE_LOAD_WITHIN_S", 1200, _whole(1, 3600)),
    "host": ("SLUICE_HOST", "0.0.0.0", _name),  # noqa: S104 (the container's only address)
    "port": ("SAGEMAKER_BIND_TO_PORT", 8080, _whole(0, 65535)),
    "model_dir": ("SLUICE_MODEL_DIR", Path("/opt/ml/model"), Path),
    "model_file": ("SLUICE_MODEL_FILE", None, _file),
    "model_url": ("SLUICE_MODEL_URL", None, _url),
    "model_sha256": ("SLUICE_MODEL_SHA256", None, _sha256),
    "llama_args": ("SLUICE_LLAMA_ARGS", (), _arguments),
    "program": ("SLUICE_ENGINE_PROGRAM", None, str),
}
NAMES = tuple(name for name, _, _ in _SETTINGS.values())
