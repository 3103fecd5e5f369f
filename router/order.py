"""What the parent and a worker of a router say to each other: one line of JSON each way.

A worker reads its order from its standard input, which stays open as long as the parent lives, and
answers on its standard output that it listens, or why it can't.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import orjson

from router.settings import Settings

PATHS = ("state", "fleets", "policy", "auth_config", "calibration", "candidate")


@dataclass(frozen=True, slots=True)
class Order:
    """`listen` and `board` are descriptors that the worker has from its parent; `metrics` is the
    folder of all workers' counts. The settings' environment is not in it: it is handed on as such.
    """

    settings: Settings
    slot: int
    workers: int
    listen: int
    board: int
    metrics: Path


@dataclass(frozen=True, slots=True)
class Ready:
    """It listens. `policy` is the running one's name and hash, with its version in a store;
    `warning` what to say of it.
    """

    policy: str
    warning: str | None


@dataclass(frozen=True, slots=True)
class CannotStart:
    """A mistake that the operator can mend, and the exit code that goes with it."""

    message: str
    exit_code: int


Answer = Ready | CannotStart


def to_line(order: Order) -> bytes:
    said = asdict(replace(order, settings=replace(order.settings, environment={})))
    return orjson.dumps(said, default=str) + b"\n"


def from_line(line: bytes, environment: Mapping[str, str]) -> Order:
    said = orjson.loads(line)
    given = said["settings"]
    paths = {name: None if given[name] is None else Path(given[name]) for name in PATHS}
    settings = Settings(**(given | paths | {"environment": environment}))
    return Order(**(said | {"settings": settings, "metrics": Path(said["metrics"])}))


def answer_line(answer: Answer) -> bytes:
    return orjson.dumps({type(answer).__name__: asdict(answer)}) + b"\n"


def answer_of(line: bytes) -> Answer | None:
    """Return what a worker said; None: it ended before it said anything."""
    if not line.endswith(b"\n"):
        return None
    ((kind, said),) = orjson.loads(line).items()
    return Ready(**said) if kind == Ready.__name__ else CannotStart(**said)
