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
# How long an idle connection is kept. A load balancer before us has to end it first, or its next
# request on it ends in 502: those of AWS keep one for 60 s, ours before Fargate for 15 minutes
# (infra/on_fargate.py), for a plain answer is silent as long as it is made.
KEEP_ALIVE_S = 75
BALANCED_KEEP_ALIVE_S = 910
DEFAULT_STATE = Path(".sluice")
DEFAULT_QUEUE = 256  # requests that wait for a place on a fleet: each holds its body meanwhile
DEFAULT_QUEUE_S = 5.0  # each of them: after that a caller had better try elsewhere
DEFAULT_AT_ONCE = 8  # lines of batches: beside them a fleet has places for who waits for an answer
DEFAULT_QUOTA_MB = 2000  # of files, a tenant's
DEFAULT_KEEP_DAYS = 30  # files
DEFAULT_IN_FLIGHT = 2048  # requests in a process, four times what one core is meant to stream
SQLITE = "sqlite"
DYNAMODB = "dynamodb:"
LAMBDA, FARGATE = "lambda", "fargate"  # places of backends/data/router.yaml
TABLE = re.compile(r"[A-Za-z0-9_.-]{3,255}")
JSONL = "jsonl"
FIREHOSE = "firehose"
STREAM = re.compile(r"[A-Za-z0-9_.-]{1,64}")
S3 = "s3"
BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")  # no dots: TLS knows one level
PROMETHEUS = "prometheus"
EMF = "emf"
METRICS_NAMESPACE = re.compile(r"[A-Za-z0-9_./#:-]{1,255}")


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
    receipts: str = JSONL  # or firehose:STREAM
    metrics: str = PROMETHEUS  # or emf:NAMESPACE
    appconfig: str | None = None  # appconfig:APPLICATION/ENVIRONMENT/PROFILE, in place of `policy`
    batch_window: str | None = None  # when lines of batches are sent; None: at any time
    batch_at_once: int = DEFAULT_AT_ONCE
    batch_quota_mb: int = DEFAULT_QUOTA_MB
    batch_keep_days: int = DEFAULT_KEEP_DAYS
    batches: str | None = None  # s3:BUCKET, beside a ledger in DynamoDB; None: the state folder
    candidate: Path | None = None  # a policy that decides beside the one in force
    frozen: bool = False  # between requests, and told nothing, as an environment of Lambda is

    @property
    def keep_alive_s(self) -> int:
        return BALANCED_KEEP_ALIVE_S if self.router_on == FARGATE else KEEP_ALIVE_S

    @property
    def follows(self) -> bool:
        """Tell whether it is one of a stage's routers, of which none puts limits in force: while a
        policy goes out some have it and some don't, and it may be taken back.
        """
        return self.appconfig is not None and self.router_on != "local"

    @property
    def memory_gb(self) -> float | None:
        """Return what Lambda gives the function; None: it says nothing."""
        given = self.environment.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")
        return int(given) / 1024 if given.isdecimal() else None


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


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker on AWS is started with: SLUICE_... of its environment. None: not set.

    `fleets`: the catalogue of the bundle; `state`: a folder of the machine, gone with it.
    """

    stage: str
    namespace: str
    table: str
    fleets: Path
    state: Path
    rows: str | None = None  # the Firehose stream of the ledger's rows
    topic: str | None = None  # the ARN of the SNS topic that alerts go to
    appconfig: tuple[str, str, str] | None = None  # ids of application, environment, profile
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


def worker(environment: Mapping[str, str]) -> WorkerSettings:
    """Read them. Raises ValueError: one that every worker needs is not set."""
    return WorkerSettings(
        needed(environment.get("SLUICE_STAGE"), "SLUICE_STAGE", "the stage's name"),
        environment.get("SLUICE_NAMESPACE") or "Sluice",
        needed(environment.get("SLUICE_TABLE"), "SLUICE_TABLE", "the name of the ledger's table"),
        Path(environment.get("SLUICE_FLEETS") or "config/fleets.yaml"),
        Path(environment.get("SLUICE_STATE") or "/tmp/sluice"),  # noqa: S108 (Lambda's only place)
        environment.get("SLUICE_ROWS") or None,
        environment.get("SLUICE_TOPIC") or None,
        _ids(environment.get("SLUICE_APPCONFIG")),
        environment,
    )


def _ids(place: str | None) -> tuple[str, str, str] | None:
    if not place:
        return None
    application, _, rest = place.partition("/")
    environment, _, profile = rest.partition("/")
    said = "three ids of AppConfig, APPLICATION/ENVIRONMENT/PROFILE"
    return application, environment, needed(profile, "SLUICE_APPCONFIG", said)


def needed(value: str | None, name: str, what: str) -> str:
    """Return a variable's value. Raises ValueError: it is not set."""
    if not value:
        raise ValueError(f"the environment variable `{name}` is not set (valid: {what})")
    return value


def receipts_at(setting: str) -> tuple[str, str]:
    """Return the kind of store that the setting names, and its stream's name. Raises ValueError."""
    kind, _, name = setting.partition(":")
    if setting == JSONL or (kind == FIREHOSE and STREAM.fullmatch(name)):
        return kind, name
    raise ValueError(
        f"`{setting[:60]}` is no store of receipts (valid: `jsonl`, or `firehose:STREAM`, whose "
        "name is 1 to 64 letters, digits, `_`, `.` and `-`)"
    )


def bucket_of(setting: str) -> str:
    """Return the bucket that files of batches are in. Raises ValueError."""
    kind, _, name = setting.partition(":")
    if kind == S3 and BUCKET.fullmatch(name):
        return name
    raise ValueError(
        f"`{setting[:80]}` is no store of batches (valid: `s3:BUCKET`, whose name is 3 to 63 "
        "lower-case letters, digits and hyphens)"
    )


def namespace_of(setting: str) -> str | None:
    """Return the namespace of lines of metrics; None: none are printed. Raises ValueError."""
    if setting == PROMETHEUS:
        return None
    kind, _, name = setting.partition(":")
    if kind == EMF and METRICS_NAMESPACE.fullmatch(name) and not name.startswith("AWS/"):
        return name
    raise ValueError(
        f"`{setting[:60]}` is no way to tell metrics (valid: `prometheus`, or `emf:NAMESPACE`, 1 "
        "to 255 letters, digits and `_./#:-`, and not `AWS/...`)"
    )


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
