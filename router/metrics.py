"""Prometheus metrics. Labels are names of the catalogue and the policy, never a caller's text.

Workers of one router count in files of one folder, a few for each worker, and a scrape of any of
them shows the sum. A worker goes on counting where the dead one before it in its slot stopped.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
    values,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from backends.base import Seen
from backends.load import Load

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_TTFT_BUCKETS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 20)
_QUEUE_BUCKETS_S = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
_E2E_BUCKETS_S = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 40, 60, 120)


@dataclass(frozen=True, slots=True)
class FleetMetrics:
    usd: Counter
    tokens_in: Counter
    tokens_cached: Counter
    tokens_out: Counter
    ttft: Histogram
    e2e: Histogram
    queue: Histogram
    profile_wrong: Gauge


def count_in_files(slot: int) -> None:
    """Have all metrics that are made from now on counted in the files of this worker."""
    values.ValueClass = values.MultiProcessValue(lambda: slot)  # type: ignore[no-untyped-call]


class Metrics:
    """One registry an app, so that two apps in one process don't mix. `shared`: the folder where
    the workers of one router count.
    """

    def __init__(self, shared: Path | None = None) -> None:
        self._registry = CollectorRegistry()
        self._loads = _Loads()
        self._shown = CollectorRegistry()
        self._shown.register(self._loads)
        if shared is not None:
            multiprocess.MultiProcessCollector(self._shown, str(shared))  # type: ignore[no-untyped-call]
        self._shared = shared is not None
        self._fleets: dict[str, FleetMetrics] = {}

        def counter(name: str, about: str, *labels: str) -> Counter:
            return Counter(f"sluice_{name}", about, labels, registry=self._registry)

        self.requests = counter("requests", "requests by outcome", "outcome", "rule", "fleet")
        self.attempts = counter("attempts", "attempts by outcome", "fleet", "outcome")
        self.retries = counter(
            "retries", "second tries of a fleet: made, or why not", "fleet", "outcome"
        )
        self.tokens = counter("tokens", "tokens by kind (in, cached, out)", "fleet", "kind")
        self.usd = counter("usd", "charged USD by the rate card", "fleet")
        self.refusals = counter("refusals", "requests refused before routing", "status")
        self.turned_away = counter(
            "turned_away", "requests that found no place on a fleet or in this process", "why"
        )
        self.receipts_lost = counter("receipts_lost", "receipts that could not be written")
        self.lines_lost = counter("lines_lost", "lines of metrics that could not be written")
        self.unsettled = counter("unsettled", "requests whose charge could not be settled in time")
        self.shadow = counter("shadow", "answers drawn to be judged, by what came of it", "outcome")
        self.canary_requests = counter(
            "canary_requests", "requests while a canary runs", "arm", "outcome"
        )
        self.canary_usd = counter("canary_usd", "charges compared while a canary runs", "arm")
        self.canaries_stopped = counter("canaries_stopped", "canaries that were stopped")
        self.candidate = counter(
            "candidate", "decisions of the candidate, beside those in force", "outcome"
        )
        self.candidate_usd = counter(
            "candidate_usd", "expected charges of what both would have served", "policy"
        )
        self.reloads = counter("reloads", "reloads of policy or fleets", "outcome")
        self.probes = counter(
            "probes", "probes of a fleet's urls, by what was found", "fleet", "state"
        )
        self.missed_asleep = counter(
            "asleep_missed", "requests that a fleet might have served were it awake", "fleet"
        )
        self.wake_ups = counter("wake_ups", "wake-ups asked for", "fleet")
        self.stale = Gauge(
            "sluice_policy_stale",
            "1 while a change of policy or fleets is refused, or can not be asked for",
            registry=self._registry,
            multiprocess_mode="max",
        )
        self.stale.set(0)  # whatever the worker before this one left
        self.ttft = Histogram(
            "sluice_ttft_seconds",
            "time to the first content token of streams",
            ["fleet"],
            registry=self._registry,
            buckets=_TTFT_BUCKETS_S,
        )
        self.e2e = Histogram(
            "sluice_e2e_seconds",
            "end-to-end time of answered requests",
            ["fleet"],
            registry=self._registry,
            buckets=_E2E_BUCKETS_S,
        )

        self.queue = Histogram(
            "sluice_queue_seconds",
            "time in the engine's queue, of answers whose engine tells its own times",
            ["fleet"],
            registry=self._registry,
            buckets=_QUEUE_BUCKETS_S,
        )

        self.waiting = Gauge(
            "sluice_waiting",
            "requests that wait for a place on a fleet",
            ["service_class"],
            registry=self._registry,
            multiprocess_mode="sum",
        )
        self.profile_wrong = Gauge(
            "sluice_profile_wrong",
            "1 while answers take over twice or under half of what the fleet's profile foretells",
            ["fleet"],
            registry=self._registry,
            multiprocess_mode="max",
        )

    def of(self, fleet: str) -> "FleetMetrics":
        """Return what is counted of this fleet; finding it by labels each time costs more."""
        found = self._fleets.get(fleet)
        if found is None:
            found = self._fleets[fleet] = FleetMetrics(
                usd=self.usd.labels(fleet),
                tokens_in=self.tokens.labels(fleet, "in"),
                tokens_cached=self.tokens.labels(fleet, "cached"),
                tokens_out=self.tokens.labels(fleet, "out"),
                ttft=self.ttft.labels(fleet),
                e2e=self.e2e.labels(fleet),
                queue=self.queue.labels(fleet),
                profile_wrong=self.profile_wrong.labels(fleet),
            )
        return found

    def show(self, fleet: str, in_flight: int, load: Load, seen: Sequence[Seen]) -> None:
        """Set the gauges of one fleet; what isn't known is left out."""
        gauges = self._loads.gauges
        gauges["in_flight"].add_metric([fleet], in_flight)
        gauges["replicas_ready"].add_metric([fleet], load.replicas)
        gauges["load_stale"].add_metric([fleet], load.stale)
        if load.limit is not None:
            gauges["limit"].add_metric([fleet], load.limit)
        if load.queued is not None:
            gauges["engine_waiting"].add_metric([fleet], load.queued)
        up = [each for each in seen if each.state == "up"]
        requests = [e.running + (e.waiting or 0) for e in up if e.running is not None]
        if requests and len(requests) == len(up):
            gauges["engine_requests"].add_metric([fleet], sum(requests))
        if kv_used := [each.kv_used for each in up if each.kv_used is not None]:
            gauges["engine_kv_used"].add_metric([fleet], max(kv_used))

    def forget_loads(self) -> None:
        """Leave out what was shown of fleets, some of which may be gone."""
        self._loads.forget()

    def text(self) -> bytes:
        loads = generate_latest(self._shown)  # and, of workers, what all of them have counted
        return loads if self._shared else generate_latest(self._registry) + loads


class _Loads(Collector):
    """Gauges of fleets as of one scrape: no sum over workers, each knows them whole."""

    def __init__(self) -> None:
        self.gauges: dict[str, GaugeMetricFamily] = {}
        self.forget()

    def forget(self) -> None:
        self.gauges = {
            name: GaugeMetricFamily(f"sluice_{name}", about, labels=["fleet"])
            for name, about in _OF_LOADS.items()
        }

    def collect(self) -> Iterable[GaugeMetricFamily]:
        return self.gauges.values()


# Of all but the first a fleet has no figure where nobody knows it.
_OF_LOADS = {
    "in_flight": "requests sent and not finished",
    "limit": "requests in flight at which a fleet is full",
    "replicas_ready": "replicas that answer, or are taken to",
    "engine_waiting": "requests that wait in the fleet's engines",
    "engine_requests": "requests in the fleet's engines, all routers'",
    "engine_kv_used": "share of the fullest engine's KV cache in use",
    "load_stale": "1 while what probes saw of a fleet is out of date",
}
