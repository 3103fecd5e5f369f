"""Whatever the rows are, a report adds up to the nano-dollar."""

from dataclasses import replace
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from router.finops.dimensions import DIMENSIONS, dimension
from router.finops.period import day_start
from router.finops.report import report, slots
from router.ledger.fleet_time import bill_nano
from tools.ledger_rows import entries, times

ROWS = entries(60, seed=3, days=0.01)
TIMES = list(times(20, seed=3))
ODD = st.sampled_from([0, 1, -1, 333, 10**9 + 7, 10**19])
REPLICAS = st.sampled_from([0, 1, 3])
SECONDS = st.sampled_from([0.0, 0.001, 59.999, 60.0])
some_entries = st.lists(
    st.builds(
        lambda row, nano, ms, baseline: replace(
            row, nano=nano, service_ms=ms, nano_baseline=baseline
        ),
        st.sampled_from(ROWS),
        ODD,
        st.sampled_from([0.0, 0.1, 12_345.678]),
        st.one_of(st.none(), ODD),
    ),
    max_size=30,
)
some_times = st.lists(
    st.builds(
        lambda row, n, s: replace(row, replicas=n, seconds=s),
        st.sampled_from(TIMES),
        REPLICAS,
        SECONDS,
    ),
    max_size=20,
).map(lambda rows: sorted(rows, key=lambda row: row.minute))
SUMS = ("requests", "nano", "marginal", "router", "baseline", "baseline_unknown", "unmatched")


@given(rows=some_entries, over=some_times)
def test_charged_idle_and_variance_are_the_bill(rows, over):
    totals = report("team", dimension("team"), rows, over).totals
    assert totals.sums.nano == sum(row.nano for row in rows)
    fleets = {row.fleet for row in over}
    if len({(row.fleet, row.minute) for row in over}) == len(over):
        alone = [[row for row in over if row.fleet == fleet] for fleet in fleets]
        assert totals.bill == sum(map(bill_nano, alone))
    if totals.idle is not None:
        assert totals.sums.nano + totals.idle + totals.variance == totals.bill + totals.without_bill


@given(rows=some_entries, over=some_times)
def test_every_grouping_adds_up_to_the_same(rows, over):
    wanted = None
    for by in (*DIMENSIONS, "tag:project"):
        found = report(by, dimension(by), rows, over)
        whole = {name: getattr(found.totals.sums, name) for name in SUMS}
        added = {name: sum(getattr(sums, name) for _, sums in found.rows) for name in SUMS}
        assert added == whole
        wanted = wanted or whole
        assert whole == wanted
        known = [sums.saved for _, sums in found.rows if sums.saved is not None]
        if known and len(known) == len(found.rows):
            assert sum(known) == found.totals.sums.saved


@given(rows=some_entries, over=some_times, zone=st.sampled_from(["UTC", "Asia/Shanghai"]))
def test_days_add_up_to_their_period(rows, over, zone):
    whole = report("team", dimension("team"), rows, over).totals
    found = slots(rows, over, lambda at: day_start(at, ZoneInfo(zone)))
    assert abs(sum(day.totals.bill for day in found) - whole.bill) <= 3 * len(found)
    assert sum(day.totals.sums.nano for day in found) == whole.sums.nano
