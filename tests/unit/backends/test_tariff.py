"""Several purchase options for one fleet: which replicas they price, and what is committed."""

import json

import pytest

from backends import files, parse
from backends.fleet_model import prepare
from backends.load import Load
from backends.parse import Source
from backends.prices import Price
from backends.tariff import Tariff, Tranche, single


def price(usd):
    return Price(usd, "2026-01-01", "here", "stated")


BLOCK = Tranche("capacity_block", 2, price(20.0))
SPOT = Tranche("spot", None, price(5.0))
BOTH = Tariff((BLOCK, SPOT))


@pytest.mark.parametrize(
    ("replicas", "counts", "usd"),
    [(1, [1], 20.0), (2, [2], 20.0), (3, [2, 1], 15.0), (4, [2, 2], 12.5), (0, [], 20.0)],
)
def test_replicas_fill_the_tranches_in_their_order(replicas, counts, usd):
    assert [count for _, count in BOTH.filled(replicas)] == counts
    assert BOTH.usd_per_hour(replicas) == usd


def test_a_fleet_grows_at_the_price_of_its_last_tranche():
    assert BOTH.next_usd_per_hour() == 5.0
    assert single("on_demand", price(8.0)).next_usd_per_hour() == 8.0


def test_the_last_tranche_takes_the_rest_even_if_it_counts_fewer():
    counted = Tariff((BLOCK, Tranche("spot", 1, price(5.0))))
    assert [count for _, count in counted.filled(5)] == [2, 3]


@pytest.mark.parametrize(
    ("replicas", "least", "committed"), [(1, 0, 1), (3, 0, 2), (3, 3, 3), (1, 4, 1)]
)
def test_what_was_bought_ahead_and_what_is_always_there_is_committed(replicas, least, committed):
    assert BOTH.committed(replicas, least) == committed
    assert single("spot", None).committed(replicas, least) == min(replicas, least)


def test_an_unknown_price_is_unknown_only_where_it_is_needed():
    half = Tariff((BLOCK, Tranche("spot", None, None)))
    assert half.usd_per_hour(2) == 20.0
    assert half.usd_per_hour(3) is None
    assert half.next_usd_per_hour() is None


CATALOGUE = """\
version: 1
models: [{id: m, context_tokens: 8192}]
fleets:
  - id: f
    model: m
    lane: l
    engine: vllm
    kind: openai_http
    url: http://127.0.0.1:9/v1
    instance: box
    region: r
    profile: box/m
    replicas: {min: 0, max: 4, concurrency_each: 10, scale_out_at: 0.5}
    purchase: [{option: capacity_block, replicas: 2}, {option: spot}]
"""


def priced(**usd):
    rows = [
        {
            "instance": "box", "region": "r", "purchase": option, "usd_per_hour": value,
            "as_of": "2026-01-01", "source": "here", "mark": "stated",
        }
        for option, value in usd.items()
    ]  # fmt: skip
    profile = {
        "id": "box/m", "model": "m", "instance": "box", "source": "here", "mark": "measured",
        "points": [{"concurrency": 10, "tok_s": 100}],
    }  # fmt: skip
    shelf = parse.library(
        [Source("p", json.dumps({"version": 1, "profiles": [profile]}))],
        files.packaged("backends", "data", "quality.yaml"),
        Source("prices", json.dumps({"version": 1, "currency": "USD", "prices": rows})),
    )
    (fleet,) = parse.catalogue(Source("f.yaml", CATALOGUE), shelf).fleets
    return prepare(fleet)


def test_a_fleet_of_tranches_is_charged_at_full_size_and_grows_at_its_last_ones_price():
    on = priced(capacity_block=3600 * 2.0, spot=3600 * 0.5)
    assert on.usd_per_hour == 3600 * 1.25  # two at 2, two at 0.5
    assert on.card.nano_per_mtok_out == round(1.25 / 100 * 1e15)
    growing = on.predict(0, 100, 1, Load(in_flight=50, replicas=2))
    assert growing.usd_marginal == pytest.approx(0.5 * 100 / 100 / 0.5)
    assert {"stated:price"} <= set(on.marks)


def test_the_average_is_that_of_the_replicas_that_are_there():
    on = priced(capacity_block=3600 * 2.0, spot=3600 * 0.5)
    for replicas, usd_per_s in ((2, 2.0), (4, 1.25)):
        seen = on.predict(0, 100, 1, Load(in_flight=10 * replicas - 1, replicas=replicas))
        assert seen.usd_average == pytest.approx(usd_per_s)


def test_without_the_price_of_a_tranche_the_cost_is_unknown():
    on = priced(capacity_block=7200.0)
    assert on.card is None
    assert on.predict(10, 10, 1, Load()).usd_marginal is None
