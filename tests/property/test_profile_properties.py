"""Whatever a profile file may hold can be predicted from, audited and compared, absurd or not."""

import json
import math
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

import yamlfile
from backends import files, parse
from backends.audit import audit
from backends.break_even import crossings, economy
from backends.fleet_model import prepare
from backends.load import Load
from backends.parse import Source
from backends.surface import line

QUALITY, PRICES = (
    files.packaged("backends", "data", f"{name}.yaml") for name in ("quality", "prices")
)
FLEETS = """\
version: 1
models: [{id: m, context_tokens: 9000}]
fleets:
  - {id: f, model: m, lane: l, engine: vllm, kind: openai_http, url: "http://127.0.0.1:9/v1",
     instance: c8g.xlarge, region: us-east-1, profile: box/m,
     replicas: {min: 1, max: 3, concurrency_each: 40}}
"""
latencies = st.sampled_from(
    [5, 0.001, 1e6, {"mean": 7}, {"p50": 3, "p95": 9}, {"p50": 9, "p95": 3}]
)


def maybe(strategy):
    return st.none() | strategy


points = st.fixed_dictionaries(
    {
        "concurrency": st.sampled_from([0.5, 1, 2, 1000, 1e5]),
        "tok_s": maybe(st.sampled_from([0.01, 5, 100, 1e6])),
        "mix_tok_s": maybe(st.sampled_from([0.01, 5, 100, 1e6])),
        "tokens_in": maybe(st.sampled_from([1, 512, 1e5])),
        "tokens_out": maybe(st.sampled_from([1, 2, 200])),
        "prefill_tok_s": maybe(st.sampled_from([0.1, 100, 1e6])),
        "ttft_ms": maybe(latencies),
        "itl_ms": maybe(latencies),
        "e2e_ms": maybe(latencies),
    }
).map(lambda point: {key: value for key, value in point.items() if value is not None})
rows = st.fixed_dictionaries(
    {
        "points": st.lists(points, min_size=1, max_size=5),
        "tokens_in": maybe(st.sampled_from([1, 200])),
        "tokens_out": maybe(st.sampled_from([1, 200])),
        "prefill_tok_s": maybe(st.sampled_from([0.5, 300])),
        "stated": maybe(st.sampled_from([{"usd_per_mtok_out": 5}, {"usd_per_request": 0.001}])),
    }
).map(lambda row: {key: value for key, value in row.items() if value is not None})
loads = st.builds(
    Load,
    in_flight=st.sampled_from([0, 1, 5, 999, 10**6]),
    replicas=st.sampled_from([0, 1, 7]),
    committed=st.sampled_from([0, 1, 2.5]),
)


@given(rows, st.lists(loads, min_size=1, max_size=4), st.sampled_from([0, 1, 200, 10**6]))
def test_every_prediction_is_a_number_and_no_percentile_is_below_a_lower_one(row, seen, tokens_in):
    about = {"id": "box/m", "model": "m", "instance": "c8g.xlarge", "source": "s"}
    text = json.dumps({"version": 1, "profiles": [{**about, "mark": "measured", **row}]})
    try:
        shelf = parse.library([Source("p.yaml", text)], QUALITY, PRICES)
    except yamlfile.Invalid:
        return  # what the form refuses is told by other tests
    catalogue = parse.catalogue(Source("f.yaml", FLEETS), shelf)
    on = prepare(catalogue.fleets[0])
    for load in seen:
        found = on.predict(tokens_in, 50, 1, load)
        for value in found[:7]:
            assert value is None or (math.isfinite(value) and value >= 0)
        if found.ttft_p50_ms is not None:
            assert found.ttft_p95_ms >= found.ttft_p50_ms * 0.999
            assert found.e2e_p95_ms >= found.e2e_p50_ms * 0.999
            assert found.e2e_p50_ms >= found.ttft_p50_ms * 0.999
    assert audit(shelf, catalogue.fleets, date(2026, 1, 1))
    mine = economy(on, 200, 200)
    assert all(crossing.requests_per_hour > 0 for crossing in crossings([mine, mine]))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_line_between_figures_that_are_far_apart_stays_between_them(share):
    assert 1e-17 <= line(1.0, 1e-17, share) <= 1.0
