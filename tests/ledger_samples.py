"""One row of each kind, for tests that reckon by hand."""

from router.ledger.entry import Entry
from router.ledger.fleet_time import FleetTime

HOUR = 3_600_000_000  # nano-USD: a micro-dollar a second
ENTRY = Entry(
    request_id="a", n=0, kind="charge", at="2026-11-01T00:00:10.000Z",
    period_at="2026-11-01T00:00:00.000Z", key="k", tenant="acme", team="search",
    tags=(("project", "x"),), task="chat", tier="simple", language="en", service_class="standard",
    policy="h", rule="r", model="m", fleet="cpu", instance="c8g.xlarge", region="us-east-1",
    outcome="ok", last=True, tokens_in=1, tokens_cached=None, tokens_out=1, tokens_reasoning=None,
    nano=1000, nano_marginal=10, nano_average=None, nano_baseline=5000, nano_router=7,
    service_ms=4000, capacity=4, nano_hour=HOUR, estimated=False, emulated=False,
    reserved_nano=9000, overrun_nano=0, receipt=None,
)  # fmt: skip
MINUTE = FleetTime("cpu", "2026-11-01T00:00:00Z", 60.0, 1, HOUR, "observed", False)
