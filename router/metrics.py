"""Prometheus metrics. Labels are names of the catalogue and the policy, never a caller's text."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_TTFT_BUCKETS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 20)
_E2E_BUCKETS_S = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 40, 60, 120)


@dataclass(frozen=True, slots=True)
class FleetMetrics:
    usd: Counter
    tokens_in: Counter
    tokens_cached: Counter
    tokens_out: Counter
    ttft: Histogram
    e2e: Histogram
    profile_wrong: Gauge


class Metrics:
    """One registry an app, so that two apps in one process don't mix."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._fleets: dict[str, FleetMetrics] = {}

        def counter(name: str, about: str, *labels: str) -> Counter:
            return Counter(f"sluice_{name}", about, labels, registry=self._registry)

        self.requests = counter("requests", "requests by outcome", "outcome", "rule", "fleet")
        self.attempts = counter("attempts", "attempts by outcome", "fleet", "outcome")
        self.tokens = counter("tokens", "tokens by kind (in, cached, out)", "fleet", "kind")
        self.usd = counter("usd", "charged USD by the rate card", "fleet")
        self.refusals = counter("refusals", "requests refused before routing", "status")
        self.receipts_lost = counter("receipts_lost", "receipts that could not be written")
        self.unsettled = counter("unsettled", "requests whose charge could not be settled in time")
        self.shadow = counter("shadow", "answers drawn to be judged, by what came of it", "outcome")
        self.reloads = counter("reloads", "reloads of policy or fleets", "outcome")
        self.stale = Gauge(
            "sluice_policy_stale",
            "1 while the last reload failed and the last good policy goes on",
            registry=self._registry,
        )
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
        self.in_flight = Gauge(
            "sluice_in_flight", "requests sent and not finished", ["fleet"], registry=self._registry
        )

        self.profile_wrong = Gauge(
            "sluice_profile_wrong",
            "1 while answers take over twice or under half of what the fleet's profile foretells",
            ["fleet"],
            registry=self._registry,
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
                profile_wrong=self.profile_wrong.labels(fleet),
            )
        return found

    def text(self) -> bytes:
        return generate_latest(self._registry)
