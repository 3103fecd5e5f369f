"""How engines differ behind one API, as data: one entry an engine, read by whoever has to know.

Paths are below the server's root: a fleet's url without its `/v1`. Of names that changed the newest
comes first. Sources: the engines' documentation and sources, and llama-server itself. Pure.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

Format = Literal["prometheus", "llama_slots", "ollama_ps"]
OVERLOADED = frozenset({429, 503, 529})
"""Statuses that say `later`: vLLM's and gateways' 429, Ollama's 503 above OLLAMA_MAX_QUEUE,
Anthropic's 529. llama-server has none: its queue is without bound, and 503 means that it loads."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A sample of Prometheus' text; `label`: only where it has this one."""

    name: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """A path that says what the engine is doing, and how to read its answer."""

    path: str
    format: Format


@dataclass(frozen=True, slots=True)
class Dialect:
    """One engine. `status` are asked in turn until one tells something; none: it can't be asked.

    `alive`: where 503 means that the model isn't there yet. `thinking_on`, `thinking_off`: the
    field, by its path, and its value; None: nothing is to be sent. `work_ms` in an answer are the
    milliseconds that the engine worked, in sum; `queue_ms` those that the request waited in it.
    """

    owned_by: frozenset[str] = frozenset()  # how it names itself in /v1/models
    alive: str = "/health"
    status: tuple[Ask, ...] = ()
    running: tuple[Metric, ...] = ()
    waiting: tuple[Metric, ...] = ()
    kv_used: tuple[Metric, ...] = ()  # 0 to 1
    metrics_flag: str = ""  # what turns its metrics on
    slots_flag: str = ""  # what sets how many streams it carries at once
    thinking_on: tuple[tuple[str, ...], object] | None = None
    thinking_off: tuple[tuple[str, ...], object] | None = None
    work_ms: tuple[tuple[str, str], ...] = ()
    queue_ms: tuple[str, str] | None = None
    context_codes: frozenset[str] = frozenset()  # of an error: the prompt is too long
    context_texts: tuple[str, ...] = ()  # patterns, of messages without such a code
    n_ctx_texts: tuple[str, ...] = ()
    n_prompt_texts: tuple[str, ...] = ()


_BY_TEMPLATE = ("chat_template_kwargs", "enable_thinking")
_PROMETHEUS = Ask("/metrics", "prometheus")

_LLAMA_CPP = Dialect(
    owned_by=frozenset({"llamacpp"}),
    status=(_PROMETHEUS, Ask("/slots", "llama_slots")),  # the second doesn't know who waits
    running=(Metric("llamacpp:requests_processing"),),
    waiting=(Metric("llamacpp:requests_deferred"),),
    kv_used=(Metric("llamacpp:kv_cache_usage_ratio"),),  # gone since 2025
    metrics_flag="--metrics",
    slots_flag="-np",
    thinking_on=(_BY_TEMPLATE, True),
    thinking_off=(_BY_TEMPLATE, False),
    work_ms=(("timings", "prompt_ms"), ("timings", "predicted_ms")),
    context_codes=frozenset({"exceed_context_size_error"}),
    context_texts=(r"exceeds? the (?:available |model's )?context (?:size|length|window)",),
)
_VLLM = Dialect(
    owned_by=frozenset({"vllm"}),
    status=(_PROMETHEUS,),
    running=(Metric("vllm:num_requests_running"),),
    waiting=(  # those `deferred` wait for something else than a place
        Metric("vllm:num_requests_waiting_by_reason", 'reason="capacity"'),
        Metric("vllm:num_requests_waiting"),
    ),
    kv_used=(Metric("vllm:kv_cache_usage_perc"), Metric("vllm:gpu_cache_usage_perc")),
    slots_flag="--max-num-seqs",
    thinking_on=(_BY_TEMPLATE, True),
    thinking_off=(_BY_TEMPLATE, False),
    queue_ms=("metrics", "queue_time_ms"),  # with --enable-per-request-metrics
    context_codes=frozenset({"context_length_exceeded"}),  # OpenAI's own
    context_texts=(r"maximum context length",),
    n_ctx_texts=(r"context length(?: is| of)? \(?(\d{1,9})",),
    n_prompt_texts=(
        r"resulted in (\d{1,9}) tokens",
        r"has (\d{1,9}) input tokens",
        r"requested (\d{1,9}) tokens",
    ),
)
_SGLANG = Dialect(
    owned_by=frozenset({"sglang"}),
    status=(_PROMETHEUS,),
    running=(Metric("sglang:num_running_reqs"),),
    waiting=(Metric("sglang:num_queue_reqs"),),
    kv_used=(Metric("sglang:token_usage"),),
    metrics_flag="--enable-metrics",
    slots_flag="--max-running-requests",
    thinking_on=(_BY_TEMPLATE, True),
    thinking_off=(_BY_TEMPLATE, False),
    context_texts=(r"longer than the model's context length",),
    n_prompt_texts=(r"input \((\d{1,9}) tokens\)",),
)
_OLLAMA = Dialect(
    owned_by=frozenset({"library", "ollama"}),
    alive="/api/version",
    status=(Ask("/api/ps", "ollama_ps"),),  # which models are loaded; its queue is nowhere told
    slots_flag="OLLAMA_NUM_PARALLEL",
    # It thinks by itself; `reasoning_effort` only sets how much.
    thinking_off=(("reasoning_effort",), "none"),
)

DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        "llama.cpp": _LLAMA_CPP,
        "ollama": _OLLAMA,
        "vllm": _VLLM,
        "vllm-neuron": _VLLM,  # a plugin of the same server
        "sglang": _SGLANG,
        "sagemaker": replace(_VLLM, owned_by=frozenset(), status=()),  # what the container is
        "emulated": replace(_VLLM, owned_by=frozenset({"sluice-emulator"})),
    }
)
_ALL = tuple(dict.fromkeys(DIALECTS.values()))

# What an answer or an error says is read whichever engine it is from: gateways stand between, and
# nothing in the one means something else in the other.
WORK_MS = tuple(dialect.work_ms for dialect in _ALL if dialect.work_ms)
QUEUE_MS = tuple(dict.fromkeys(d.queue_ms for d in _ALL if d.queue_ms is not None))
CONTEXT_CODES = frozenset[str]().union(*(dialect.context_codes for dialect in _ALL))


def _either(texts: list[tuple[str, ...]]) -> re.Pattern[str]:
    """Return what finds any of these texts, each once."""
    return re.compile("|".join(dict.fromkeys(t for each in texts for t in each)), re.IGNORECASE)


CONTEXT_TEXT = _either([dialect.context_texts for dialect in _ALL])
N_CTX = _either([dialect.n_ctx_texts for dialect in _ALL])
N_PROMPT = _either([dialect.n_prompt_texts for dialect in _ALL])


def engine_of(owned_by: str) -> str | None:
    """Return the engine that names itself so, the first of those that share a name."""
    return next((name for name, known in DIALECTS.items() if owned_by in known.owned_by), None)
