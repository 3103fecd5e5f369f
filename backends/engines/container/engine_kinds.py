"""The engines that the adapter can start: one entry of ``KINDS`` each. Nothing here does I/O."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from backends.engines.container.settings import Settings

LOOPBACK = "127.0.0.1"
OPENAI = "/v1/chat/completions"


class BadBody(ValueError):  # noqa: N818 (says what is wrong)
    """What is wrong with the caller's body; no part of it is repeated."""


@dataclass(frozen=True, slots=True)
class Step:
    """A request to the engine, once it is healthy, before it counts as loaded.

    `unless`: this path with the same body answers 200: then the step is left out.
    """

    what: str
    path: str
    body: bytes
    unless: str | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """How one engine is started, asked and fed. `health` answers 200 once it serves.

    `probes`: what GET may read of it. `takes_file`: it is given a GGUF.
    """

    program: str
    arguments: Callable[[Settings, Path | None, int], tuple[str, ...]]
    environment: Callable[[Settings, int], Mapping[str, str]]
    steps: Callable[[Settings], tuple[Step, ...]]
    body: Callable[[bytes, Settings], bytes]
    health: str
    probes: frozenset[str]
    takes_file: bool


def _llama_arguments(settings: Settings, model: Path | None, port: int) -> tuple[str, ...]:
    assert model is not None, "llama-server is given a file"
    options = {
        "--host": LOOPBACK,
        "--port": port,
        "--model": model,
        "--alias": settings.model_id or model.stem,
        "--parallel": settings.parallel,
        "--ctx-size": settings.parallel * settings.context_tokens,  # shared by the slots
        "--threads": settings.threads or len(os.sched_getaffinity(0)),
    }
    given = tuple(str(part) for option in options.items() for part in option)
    # last wins: SLUICE_LLAMA_ARGS may replace what isn't the adapter's own
    return (*given, "--jinja", "--metrics", "--slots", *settings.llama_args)


def _ollama_environment(settings: Settings, port: int) -> Mapping[str, str]:
    stored = settings.model_dir / "blobs"
    return {
        "OLLAMA_HOST": f"{LOOPBACK}:{port}",
        "OLLAMA_NUM_PARALLEL": str(settings.parallel),
        "OLLAMA_MAX_QUEUE": str(max(1, settings.queue)),
        "OLLAMA_MAX_LOADED_MODELS": "1",
        "OLLAMA_CONTEXT_LENGTH": str(settings.context_tokens),
        "OLLAMA_KEEP_ALIVE": "-1",  # it would unload after 5 idle minutes
        **({"OLLAMA_MODELS": str(settings.model_dir)} if stored.is_dir() else {}),
    }


def _ollama_steps(settings: Settings) -> tuple[Step, ...]:
    model = {"model": settings.model_id}
    pull = orjson.dumps({**model, "stream": False})
    load = orjson.dumps({**model, "keep_alive": -1})
    return (
        Step("pull the model", "/api/pull", pull, unless="/api/show"),
        Step("load the model", "/api/generate", load),
    )


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        where = f"line {exc.lineno}, column {exc.colno}"
        raise BadBody(f"the body is not JSON in UTF-8 ({where})") from None
    if not isinstance(value, dict):
        raise BadBody('the body is no JSON object (valid: `{"messages": [...]}`)')
    return value


def _checked(body: bytes, _settings: Settings) -> bytes:
    """Let through what is JSON: of what isn't, llama-server repeats a part, with a 500."""
    _parsed(body)
    return body


def _named(body: bytes, settings: Settings) -> bytes:
    """Put the model's name in: SageMaker's callers send none, or that of the endpoint."""
    return orjson.dumps({**_parsed(body), "model": settings.model_id})


KINDS: Mapping[str, Kind] = {
    "llama.cpp": Kind(
        program="llama-server",
        arguments=_llama_arguments,
        environment=lambda _settings, _port: {},
        steps=lambda _settings: (),  # its health is that of the loaded model
        body=_checked,
        health="/health",
        probes=frozenset({"/health", "/v1/models", "/metrics", "/slots", "/props"}),
        takes_file=True,
    ),
    "ollama": Kind(
        program="ollama",
        arguments=lambda _settings, _model, _port: ("serve",),
        environment=_ollama_environment,
        steps=_ollama_steps,
        body=_named,
        health="/api/version",
        probes=frozenset({"/v1/models", "/api/ps", "/api/version"}),
        takes_file=False,
    ),
}
