"""What one router is started with, and the only place where the environment is read."""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

DEFAULT_PORT = 8080
DEFAULT_DRAIN_S = 25  # for running answers after SIGTERM; ECS and Kubernetes kill after 30 s
DEFAULT_STATE = Path(".sluice")
DEFAULT_QUEUE = 256  # requests that wait for a place on a fleet: each holds its body meanwhile
DEFAULT_QUEUE_S = 5.0  # each of them: after that a caller had better try elsewhere
DEFAULT_IN_FLIGHT = 2048  # requests in a process, four times what one core is meant to stream
SQLITE = "sqlite"
DYNAMODB = "dynamodb:"
LAMBDA = "lambda"  # a place of backends/data/router.yaml
TABLE = re.compile(r"[A-Za-z0-9_.-]{3,255}")


@dataclass(frozen=True, slots=True)
class Settings:
    """`fleets`, `policy` None: the packaged ones. `environment` holds keys: it is never shown."""

    state: Path = DEFAULT_STATE
    fleets: Path | None = None
    policy: Path | None = None
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    auth: Literal["keys", "none"] = "keys"
    auth_config: Path | None = None  # whose tokens and principals are believed beside our keys
    calibration: Path | None = None
    alerts: str | None = None  # the webhook's URL or the topic's ARN; None: the log alone
    ledger: str = SQLITE  # or dynamodb:TABLE
    router_on: str = "local"  # where it runs, which is what it costs (backends/data/router.yaml)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    queue: int = DEFAULT_QUEUE
    queue_s: float = DEFAULT_QUEUE_S
    in_flight: int = DEFAULT_IN_FLIGHT
    unready_s: int = 0
    drain_s: int = DEFAULT_DRAIN_S


def table_of(ledger: str) -> str | None:
    """Return the DynamoDB table that the setting names; None: the file. Raises ValueError."""
    if ledger == SQLITE:
        return None
    table = ledger.removeprefix(DYNAMODB)
    if table == ledger or not TABLE.fullmatch(table):
        raise ValueError(
            f"`{ledger[:60]}` is no ledger (valid: `sqlite`, or `dynamodb:TABLE`, whose name is "
            "3 to 255 letters, digits, `_`, `.` and `-`)"
        )
    return table


def environment() -> Mapping[str, str]:
    return dict(os.environ)  # noqa: TID251  (here it is allowed)


def cache_dir(env: Mapping[str, str]) -> Path:
    """Return where slow builds are kept, outside any checkout."""
    base = env.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "sluice"


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def cores() -> int:
    """Return the processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
