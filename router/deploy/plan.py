"""What a stage costs before it exists: idle for a month, and per million requests. Pure.

List prices without the free tier. An environment of Lambda serves one request at a time, so a
request pays for every second that it is open.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from backends.aws_prices import AwsPrice
from backends.points import Mark
from router.deploy import parts
from router.deploy.lane_lines import LaneLines
from router.deploy.lane_plan import LaneCost, costs
from router.deploy.shape import (
    GB,
    MILLION,
    MONTH_HOURS,
    MONTH_MINUTES,
    MONTH_SECONDS,
    BreakEven,
    Line,
    Per,
    Shape,
)
from router.deploy.stage import Compute, Stage

Prices = Mapping[str, AwsPrice]

WRITES = 12  # write units of a request: two transactions (counted in backends/data/router.yaml)
READS = 2  # read units: the key, the load of the fleets
RECORD_GB = 5_000 / GB  # Firehose counts every record as 5 KB at least
ACCESS_LINE_GB, METRIC_LINE_GB, WORKER_LINE_GB = 500 / GB, 700 / GB, 900 / GB
KEPT_GB = 1_500 / GB  # a request's rows in the table, until TTL takes them
POLL_SECONDS = 45  # between two questions to AppConfig of one router
DELIVERIES = MONTH_MINUTES / 5  # Firehose writes what came within five minutes
KMS_CALLS = 20_000  # DynamoDB and S3 keep data keys for minutes
SWEEP_SECONDS, STREAM_SECONDS, PRICES_SECONDS = 0.3, 0.2, 20
WAKE_SECONDS = 0.2
SCHEDULER_SECONDS = 0.1
LCU_GB = 1.0  # an LCU-hour takes 1 GB
COMPARED = (  # prices of the break-even
    *("api-request", "lambda-request", "lambda-gb-second", "appconfig-received"),
    *("fargate-vcpu", "fargate-gb", "endpoint-hour", "public-ipv4", "alb-hour", "alb-lcu"),
)
LOG_GB = 0.05  # what a VPC without a way out refuses in a month


@dataclass(frozen=True, slots=True)
class Plan:
    """`idle_usd` and `million_usd` are of the lines that are known; `unknown` counts the rest.

    `lanes_idle_usd`: of the machines whose price is known; `lanes_unknown`: of how many it isn't.
    """

    stage: Stage
    shape: Shape
    lines: tuple[Line, ...]
    break_even: BreakEven | None  # None: a price that it needs is unknown
    lanes: tuple[LaneCost, ...] = ()  # the machines of the fleets that it makes: in no line

    @property
    def idle_usd(self) -> float:
        return self._sum("month")

    @property
    def million_usd(self) -> float:
        return self._sum("million")

    @property
    def groups(self) -> dict[str, tuple[float, float]]:
        """Return each group's USD idle and per million; what a small stage lacks is not there."""
        found = dict.fromkeys((line.group for line in self.lines), (0.0, 0.0))
        for line in self.lines:
            idle, million = found[line.group]
            usd = line.usd or 0.0
            found[line.group] = (
                (idle + usd, million) if line.per == "month" else (idle, million + usd)
            )
        return found

    @property
    def unknown(self) -> int:
        return sum(line.usd is None for line in self.lines)

    @property
    def lanes_idle_usd(self) -> float:
        return sum(each.idle_month or 0.0 for each in self.lanes)

    @property
    def lanes_unknown(self) -> int:
        return sum(each.idle_month is None for each in self.lanes)

    def _sum(self, per: Per) -> float:
        return sum(line.usd or 0.0 for line in self.lines if line.per == per)


def plan(stage: Stage, prices: Prices, shape: Shape | None = None) -> Plan:
    """Return every line; raise KeyError for a price that the file lacks (a bug of ours)."""
    made = _Lines(stage, prices, shape or Shape())
    lines = tuple(line for line in made.all() if line.quantity != 0)
    return Plan(stage, made.shape, lines, made.break_even(), costs(stage, prices))


class _Lines:
    """Makes the lines of one stage, group by group."""

    def __init__(self, stage: Stage, prices: Prices, shape: Shape) -> None:
        self.stage, self.shape, self._prices = stage, shape, prices

    def all(self) -> Iterator[Line]:
        yield from self._api()
        yield from self._router()
        yield from self._policy()
        yield from self._state()
        yield from self._workers()
        yield from self._batches()
        yield from self._observability()
        yield from self._network()
        yield from LaneLines(self.stage, self.shape, self._prices).all()

    def _line(  # a line has seven parts
        self,
        group: str,
        key: str,
        what: str,
        quantity: float | None,
        *,
        per: Per = "month",
        mark: Mark = "stated",
    ) -> Line:
        return Line(key, group, what, per, quantity, self._prices[key], mark)

    def _each(self, group: str, key: str, what: str, quantity: float, mark: Mark) -> Line:
        """Return what one request takes, a million times."""
        return self._line(group, key, what, quantity * MILLION, per="million", mark=mark)

    def _api(self) -> Iterator[Line]:
        shape, each = self.shape, self._each
        if parts.on_lambda(self.stage):
            yield each("api", "api-request", "REST requests", 1, "stated")
        else:
            yield self._line("api", "alb-hour", "load balancer", MONTH_HOURS)
            if not self.stage.private:
                hours = MONTH_HOURS * parts.ZONES
                yield self._line("api", "public-ipv4", "its public addresses", hours)
            lcus = (shape.bytes_in + shape.bytes_out) / GB / LCU_GB
            yield each("api", "alb-lcu", "load balancer, by bytes", lcus, "assumed")
        if not self.stage.private:
            yield each("api", "transfer-out", "answers out", shape.bytes_out / GB, "assumed")
        yield each("api", "logs-gb", "access log", ACCESS_LINE_GB, "assumed")

    def _router(self) -> Iterator[Line]:
        compute, each = self.stage.compute, self._each
        if not parts.on_lambda(self.stage):
            hours = compute.tasks[0] * MONTH_HOURS
            vcpus, gb = compute.cpu_units / 1024, compute.memory_mb / 1024
            tasks = f"{compute.tasks[0]} tasks of {vcpus:g} vCPU"
            yield self._line("router", "fargate-vcpu", tasks, hours * vcpus)
            yield self._line("router", "fargate-gb", f"their {gb:g} GB each", hours * gb)
            return
        gb = compute.memory_mb / 1024
        warm = compute.provisioned * gb * MONTH_SECONDS
        kept = f"{compute.provisioned} environments kept warm"
        yield self._line("router", "lambda-provisioned", kept, warm)
        yield each("router", "lambda-request", "requests", 1, "stated")
        open_for = f"open for {self.shape.seconds:g} s at {compute.memory_mb} MB"
        yield each("router", "lambda-gb-second", open_for, self.shape.seconds * gb, "assumed")

    def _policy(self) -> Iterator[Line]:
        """A router that starts receives the policy; one that runs asks whether it changed."""
        asks = self.shape.seconds / POLL_SECONDS
        if parts.on_lambda(self.stage):
            yield self._each("policy", "appconfig-request", "polls", asks, "assumed")
            started = "policy read by new environments"
            cold = self.shape.cold
            yield self._each("policy", "appconfig-received", started, cold, "assumed")
        else:
            polls = self.stage.compute.tasks[0] * MONTH_SECONDS / POLL_SECONDS
            yield self._line("policy", "appconfig-request", "polls", polls, mark="assumed")
        secrets = parts.secrets(self.stage)
        yield self._line("policy", "secret", "keys of fleets in Secrets Manager", secrets)
        if secrets and parts.on_lambda(self.stage):
            read = self.shape.cold * secrets
            yield self._each("policy", "secret-call", "read by new environments", read, "assumed")

    def _state(self) -> Iterator[Line]:
        each, fleets = self._each, len(self.stage.catalogue.fleets)
        if parts.prod(self.stage):
            yield self._line("state", "kms-key", "a key of your own", 1)
            yield self._line("state", "kms-call", "its calls", KMS_CALLS, mark="assumed")
        rows = fleets * MONTH_MINUTES
        said = "load and minutes of the fleets, by the observer"
        yield self._line("state", "dynamodb-write", said, 2 * rows, mark="estimated")
        read = (4 + 2 * bool(parts.sleepers(self.stage))) * MONTH_MINUTES
        yield self._line("state", "dynamodb-read", "by the workers", read, mark="estimated")
        lake = "minutes of the fleets, to the lake"
        yield self._line("state", "firehose-gb", lake, rows * RECORD_GB, mark="estimated")
        yield self._line("state", "firehose-parquet", "as Parquet", rows * RECORD_GB)
        yield self._line("state", "s3-put", "files of the lake", DELIVERIES, mark="estimated")
        yield each("state", "dynamodb-write", "ledger: reserve and settle", WRITES, "assumed")
        looks = (parts.BUSY_LOOKS - 1) * rows
        busy = "load of the fleets, at most, in a month with requests"
        yield self._line("state", "dynamodb-write", busy, looks, per="million", mark="estimated")
        yield each("state", "dynamodb-read", "key and load", READS, "assumed")
        yield each("state", "dynamodb-gb", "rows kept for a month", KEPT_GB, "assumed")
        yield each("state", "dynamodb-pitr", "their backup of 35 days", KEPT_GB, "assumed")
        both = "ledger rows and receipts, to the lake"
        yield each("state", "firehose-gb", both, 2 * RECORD_GB, "estimated")
        yield each("state", "firehose-parquet", "ledger rows as Parquet", RECORD_GB, "estimated")
        yield each("state", "s3-gb", "kept for a month", KEPT_GB, "assumed")

    def _workers(self) -> Iterator[Line]:
        a_minute = parts.IDLE_SECONDS + SWEEP_SECONDS + STREAM_SECONDS
        daily = 30 * PRICES_SECONDS * 2  # 512 MB
        seconds = MONTH_MINUTES * a_minute + daily
        said = f"observer {parts.IDLE_SECONDS:g} s, sweeper, stream of the table: every minute"
        gb_seconds = seconds * parts.WORKER_GB
        yield self._line("workers", "lambda-gb-second", said, gb_seconds, mark="assumed")
        runs = 3 * MONTH_MINUTES + 30
        if parts.sleepers(self.stage):
            said = f"waker {WAKE_SECONDS:g} s: every minute, for fleets that scale to zero"
            more = MONTH_MINUTES * WAKE_SECONDS * parts.WORKER_GB
            yield self._line("workers", "lambda-gb-second", said, more, mark="assumed")
            runs += MONTH_MINUTES
        yield self._line("workers", "lambda-request", "their runs", runs, mark="estimated")
        log = runs * WORKER_LINE_GB
        yield self._line("workers", "logs-gb", "their logs and metrics", log, mark="assumed")

        longer = parts.BUSY_SECONDS - parts.IDLE_SECONDS
        more = MONTH_MINUTES * longer * parts.WORKER_GB
        busy = "observer, at most, in a month with requests"
        yield self._line("workers", "lambda-gb-second", busy, more, per="million", mark="estimated")

    def _batches(self) -> Iterator[Line]:
        """What is there before a batch is. A line of a batch is no request of the million: what it
        takes beside them stands in docs/batches.md.
        """
        if self.stage.deferrable is None:
            return
        line, group = self._line, "batches"
        said = "the queue, read while it is empty"
        yield line(group, "sqs-request", said, parts.POLLS * MONTH_MINUTES, mark="estimated")
        seconds = MONTH_MINUTES * SCHEDULER_SECONDS * parts.WORKER_GB
        yield line(group, "lambda-gb-second", "scheduler: every minute", seconds, mark="assumed")
        yield line(group, "lambda-request", "its runs", MONTH_MINUTES, mark="estimated")
        yield line(group, "dynamodb-read", "by the scheduler", 2 * MONTH_MINUTES, mark="estimated")

    def _observability(self) -> Iterator[Line]:
        group, stage = "observability", self.stage
        yield self._line(group, "alarm-metric", "alarms", parts.alarm_metrics(stage))
        said, made = "alarms that AWS makes to scale", parts.scaling_alarms(stage)
        yield self._line(group, "alarm-metric", said, made)
        fast = parts.FAST * parts.fast_scaling_alarms(stage)
        said = "of SageMaker, every 10 s: each paid as three"
        yield self._line(group, "alarm-metric", said, fast, mark="assumed")
        composite = parts.composite_alarms(stage)
        yield self._line(group, "composite-alarm", "error budget, two speeds", composite)
        yield self._line(group, "dashboard", "dashboard", parts.dashboards(stage))
        yield self._line(group, "metric", "metrics of the workers", parts.WORKER_METRICS)
        in_use = parts.in_use_metrics(stage)
        yield self._line(group, "metric", "how full fleets on ECS are, which scales them", in_use)
        wakes = parts.WAKER_METRICS if parts.sleepers(stage) else 0
        said = "metrics of the waker, at most: in hours with wake-ups"
        yield self._line(group, "metric", said, wakes, mark="assumed")
        routers = parts.router_metrics(stage)
        said = "metrics of the router, in a month with requests"
        if parts.on_lambda(stage):
            yield self._line(group, "metric", said, routers, per="million")
        else:
            yield self._line(group, "metric", "metrics of the router", routers)
            yield self._line(group, "metric", "Container Insights", None, mark="assumed")
        if parts.on_ecs(stage):
            said = "Container Insights of the fleets' cluster"
            yield self._line(group, "metric", said, None, mark="assumed")
        by_route = "metrics of API Gateway by route, in a month with requests"
        yield self._line(group, "metric", by_route, parts.api_metrics(stage), per="million")
        yield self._each(group, "logs-gb", "a line of metrics each", METRIC_LINE_GB, "assumed")

    def _network(self) -> Iterator[Line]:
        if not parts.prod(self.stage):
            return
        shape, each = self.shape, self._each
        yield self._line("waf", "waf-acl", "web ACL", 1)
        yield self._line("waf", "waf-rule", "its rules", parts.WAF_RULES)
        yield each("waf", "waf-request", "requests looked at", 1, "stated")
        endpoints = len(parts.endpoints(self.stage))
        said = f"{endpoints} VPC endpoints in {parts.ZONES} zones"
        hours = endpoints * parts.ZONES * MONTH_HOURS
        yield self._line("network", "endpoint-hour", said, hours)
        through = (shape.bytes_in + shape.bytes_out) / GB
        yield each("network", "endpoint-gb", "bytes through them", through, "assumed")
        yield self._line("network", "logs-gb", "refused connections", LOG_GB, mark="assumed")

    def break_even(self) -> BreakEven | None:
        """Compare what differs: compute, its front door, and what Fargate alone needs."""
        stage, shape = self.stage, self.shape

        found = {key: self._prices[key].usd for key in COMPARED}
        if None in found.values():
            return None

        def usd(key: str) -> float:
            return found[key] or 0.0

        compute = stage.compute
        gb = compute.memory_mb / 1024 if parts.on_lambda(stage) else Compute().memory_mb / 1024
        request = usd("api-request") + usd("lambda-request")
        request += shape.seconds * gb * usd("lambda-gb-second")
        request += shape.cold * usd("appconfig-received")
        least = compute.tasks[0]
        task_gb = 2.0 if parts.on_lambda(stage) else compute.memory_mb / 1024
        task = compute.cpu_units / 1024 * usd("fargate-vcpu") + task_gb * usd("fargate-gb")
        doors = 3 * parts.ZONES * usd("endpoint-hour")
        addresses = 0.0 if stage.private else parts.ZONES * usd("public-ipv4")
        hour = least * task + usd("alb-hour") + doors + addresses
        each = (shape.bytes_in + shape.bytes_out) / GB / LCU_GB * usd("alb-lcu")
        saved = request - each
        return BreakEven(hour / saved if saved > 0 else None, hour, request, each)
