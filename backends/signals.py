"""What an engine says it is doing: bytes of its status page -> numbers. None is unknown. Pure."""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from backends.dialects import Ask, Dialect, Format, Metric

MOST = 1e9  # of requests: whoever says more is wrong


@dataclass(frozen=True, slots=True)
class Signals:
    """`kv_used`: share of the cache's places in use. `warm`: the model is loaded."""

    running: int | None = None
    waiting: int | None = None
    kv_used: float | None = None
    warm: bool | None = None


NOTHING = Signals()


def read(ask: Ask, body: bytes, dialect: Dialect, model: str) -> Signals:
    """Return what this page says; `model` is the name that the engine knows the model by."""
    return _READERS[ask.format](body, dialect, model)


def _prometheus(body: bytes, dialect: Dialect, _model: str) -> Signals:
    kv_used = _samples(body, dialect.kv_used)
    return Signals(
        running=_count(_samples(body, dialect.running)),
        waiting=_count(_samples(body, dialect.waiting)),
        kv_used=max(kv_used) if kv_used and max(kv_used) <= 1 else None,
    )


def _llama_slots(body: bytes, _dialect: Dialect, _model: str) -> Signals:
    slots = _json(body)
    if not isinstance(slots, list) or not slots:
        return NOTHING
    busy = [slot.get("is_processing") if isinstance(slot, dict) else None for slot in slots]
    return NOTHING if None in busy else Signals(running=sum(map(bool, busy)))


def _ollama_ps(body: bytes, _dialect: Dialect, model: str) -> Signals:
    said = _json(body)
    models = said.get("models") if isinstance(said, dict) else None
    if not isinstance(models, list):
        return NOTHING
    wanted = {model, f"{model}:latest"}
    loaded = {m.get(key) for m in models if isinstance(m, dict) for key in ("name", "model")}
    return Signals(warm=bool(wanted & loaded))


_READERS: Mapping[Format, Callable[[bytes, Dialect, str], Signals]] = {
    "prometheus": _prometheus,
    "llama_slots": _llama_slots,
    "ollama_ps": _ollama_ps,
}


def _samples(body: bytes, metrics: Sequence[Metric]) -> list[float]:
    """Return the samples of the first of these metrics that has any; [] if one can't be read."""
    for metric in metrics:
        found = _pattern(metric.name).findall(body)
        values = [value for labels, value in found if metric.label.encode() in labels]
        if values:
            try:
                numbers = [float(value) for value in values]
            except ValueError:
                return []
            return numbers if all(0 <= number <= MOST for number in numbers) else []  # not NaN
    return []


def _count(samples: Sequence[float]) -> int | None:
    """Return the sum over a server's engines and models."""
    return round(sum(samples)) if samples else None


@functools.cache
def _pattern(name: str) -> re.Pattern[bytes]:
    return re.compile(rb"^%b(\{[^\n]*\}|)[ \t]+(\S+)" % re.escape(name).encode(), re.MULTILINE)


def _json(body: bytes) -> Any:  # noqa: ANN401  (whatever the server sent)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
