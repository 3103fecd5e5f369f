"""The price file: currencies with dated rates, savings plans, and the user's rows before ours."""

import json
from datetime import date

import pytest

import yamlfile
from backends import files, parse
from backends.load import Load
from backends.parse import Source
from backends.parse_prices import overlaid, read
from backends.prices import family, partition
from policies.parse import parse as parse_policy
from router.sources import names_of
from router.tracker import Tracker
from router.world import world

ROW = {
    "instance": "c8g.xlarge",
    "region": "us-east-1",
    "purchase": "on_demand",
    "usd_per_hour": 0.16,
    "as_of": "2026-01-01",
    "source": "a list",
    "mark": "stated",
}
CNY = {
    **{key: value for key, value in ROW.items() if key != "usd_per_hour"},
    "region": "cn-north-1",
    "per_hour": 1.0,
    "currency": "CNY",
}
RATE = {"currency": "CNY", "usd": 0.14, "as_of": "2025-06-01", "source": "the central bank"}
PLAN = {**ROW, "purchase": "savings_plan", "usd_per_hour": 0.1}
POOL = {"id": "compute", "usd_per_hour": 0.15, "families": ["c8g"]}


def book(*prices, **more):
    return read(json.dumps({"version": 1, "currency": "USD", "prices": prices, **more}), "p.yaml")


def test_a_price_in_yuan_is_turned_into_dollars_by_the_dated_rate():
    price = book(CNY, exchange=[RATE]).find("c8g.xlarge", "cn-north-1", "on_demand")
    assert price.usd_per_hour == pytest.approx(0.14)
    assert (price.per_hour, price.currency) == (1.0, "CNY")
    assert price.source == "a list; CNY at 0.14 (the central bank)"


@pytest.mark.parametrize("day", ["2026-13-45", "2026-02-30", "0000-01-01", "2026-1-1"])
def test_a_day_that_does_not_exist_is_refused_once(day):
    with pytest.raises(yamlfile.Invalid) as caught:
        book({**ROW, "as_of": day})
    assert str(caught.value) == f"p.yaml:1: prices[0].as_of: `{day}` is not a date (YYYY-MM-DD)"


def test_a_price_that_no_ledger_could_hold_is_refused():
    with pytest.raises(yamlfile.Invalid, match=r"prices\[0\].usd_per_hour: .* is above 1000000"):
        book({**ROW, "usd_per_hour": 1e30})
    with pytest.raises(yamlfile.Invalid, match="1e\\+30 CNY are more than \\$1,000,000 an hour"):
        book({**CNY, "per_hour": 1e30}, exchange=[RATE])


def test_a_price_is_as_old_as_the_older_of_price_and_rate():
    today = date(2026, 1, 11)
    yuan = book(CNY, exchange=[RATE]).find("c8g.xlarge", "cn-north-1", "on_demand")
    dollar = book(ROW).find("c8g.xlarge", "us-east-1", "on_demand")
    assert dollar.age_days(today) == 10
    assert yuan.age_days(today) == 224


@pytest.mark.parametrize(
    ("prices", "more", "said"),
    [
        ([CNY], {}, "p.yaml:1: no `exchange` rate of `CNY`"),
        ([CNY], {"exchange": [{**RATE, "currency": "EUR"}]}, "(known: EUR)"),
        ([CNY], {"exchange": [RATE, RATE]}, "the rate of CNY stands here twice"),
        ([ROW], {"exchange": [{**RATE, "currency": "USD"}]}, "USD needs no rate"),
        ([{**CNY, "usd_per_hour": 1}], {"exchange": [RATE]}, "needs either `usd_per_hour`, or"),
        ([{k: v for k, v in CNY.items() if k != "currency"}], {}, "go together"),
        ([{**CNY, "currency": "yuan"}], {}, "is not a currency as CNY"),
        ([ROW, ROW], {}, "price of c8g.xlarge / us-east-1 / on_demand stands here twice"),
        ([{**ROW, "purchase": "ondemand"}], {}, "did you mean `on_demand`"),
        ([{**ROW, "usd_per_hour": 0}], {}, "`0` is not above 0"),
        ([{**ROW, "as_of": "lately"}], {}, "is not a date"),
        ([ROW], {"pools": [POOL]}, "pool compute: no `savings_plan` price of its families"),
        ([PLAN], {"pools": [POOL, POOL]}, "pool `compute` stands here twice"),
        ([PLAN], {"pools": [{**POOL, "families": []}]}, "is empty"),
        ([PLAN], {"pools": [{**POOL, "regions": ["mars-1"]}]}, "can't be priced"),
    ],
)
def test_a_price_file_that_cant_be_right_is_told_with_its_line(prices, more, said):
    with pytest.raises(yamlfile.Invalid) as found:
        book(*prices, **more)
    assert said in str(found.value)


def test_the_users_rows_go_before_the_packaged_ones_and_the_rest_stays():
    other = {**ROW, "instance": "p5.48xlarge"}
    packaged = book(ROW, other)
    own = book({**ROW, "usd_per_hour": 0.1}, CNY, PLAN, exchange=[RATE], pools=[POOL])
    both = overlaid(packaged, own)
    assert both.find("c8g.xlarge", "us-east-1", "on_demand").usd_per_hour == 0.1
    assert both.find("c8g.xlarge", "cn-north-1", "on_demand").usd_per_hour == pytest.approx(0.14)
    assert both.find("p5.48xlarge", "us-east-1", "on_demand").usd_per_hour == 0.16
    assert [pool.id for pool in both.pools] == ["compute"]
    again = read(json.dumps(both.compiled), "version")
    assert (again.rows, again.pools, again.version) == (both.rows, both.pools, both.version)
    assert both.version not in {packaged.version, own.version}


def test_partitions_and_families_are_read_off_the_names():
    assert [partition(region) for region in ("cn-north-1", "us-east-1")] == ["aws-cn", "aws"]
    assert [family(name) for name in ("c8g.xlarge", "ml.c8g.xlarge", "trn2.48xlarge")] == [
        "c8g",
        "c8g",
        "trn2",
    ]


# -- what routing makes of a pool ------------------------------------------------------------------

FLEETS = """\
version: 1
models: [{id: m, context_tokens: 8192}]
fleets:
  - {id: f, model: m, lane: l, engine: vllm, kind: openai_http, url: "http://127.0.0.1:9/v1",
     instance: c8g.xlarge, region: us-east-1, profile: c8g.xlarge/qwen3-0.6b,
     replicas: {max: 2, concurrency_each: 4}}
"""
POLICY = "version: 1\nname: p\nbaseline: m@f\nrules: [{id: all, use: [l]}]\n"


def decided_with(*prices, **more):
    text = json.dumps({"version": 1, "currency": "USD", "prices": prices, **more})
    folder = ("backends", "data")
    shelf = parse.library(
        [files.packaged(*folder, "profiles", "graviton.yaml")],
        files.packaged(*folder, "quality.yaml"),
        Source("prices.yaml", text),
    )
    catalogue = parse.catalogue(Source("f.yaml", FLEETS), shelf)
    now = world(parse_policy(POLICY, "p.yaml", names_of(catalogue)), catalogue)
    (load,) = Tracker(now.fleets).loads(0)
    (on,) = now.fleets
    return load, on


def test_what_a_pool_covers_is_committed_and_costs_the_plans_price():
    load, on = decided_with(ROW, PLAN, pools=[POOL])
    assert load.committed == 1  # $0.15 of commitment cover one replica at $0.10
    covered = on.predict(100, 100, 1, load)
    assert covered.usd_marginal == 0
    plain_load, plain = decided_with(ROW)
    assert plain_load.committed == 0
    full = plain.predict(100, 100, 1, plain_load)
    assert full.usd_marginal > 0
    assert covered.usd_average == pytest.approx(full.usd_average * 0.1 / 0.16)
    assert on.card == plain.card  # what requests are charged stays: plans come and go


def test_a_pool_that_is_too_small_covers_a_part():
    load, on = decided_with(ROW, PLAN, pools=[{**POOL, "usd_per_hour": 0.05}])
    assert load.committed == pytest.approx(0.5)
    half = on.predict(100, 100, 1, load).usd_average
    whole = on.predict(100, 100, 1, Load()).usd_average
    assert half == whole
    _, plain = decided_with(ROW)
    listed = plain.predict(100, 100, 1, Load()).usd_average
    assert half == pytest.approx(listed * (0.16 - 0.5 * 0.06) / 0.16)
