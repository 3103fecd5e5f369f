"""Predictions: latency by load, what is unknown, and what one more request costs."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.catalogue import Fleet, Model, Replicas
from backends.fleet_model import prepare
from backends.load import Load
from backends.points import Point
from backends.prices import Price
from backends.profiles import Profile
from backends.queueing import wait_over_service

CURVE = Profile(
    id="box/m",
    model="m",
    instance="box",
    mark="measured",
    source="here",
    date=None,
    points=(Point(1, 100, 10), Point(4, 200, 20), Point(8, 240, 33.3)),
    prefill_tok_s=1000,
)
ONE_POINT = replace(
    CURVE, points=(Point(1, 40, 25),), prefill_tok_s=None, ttft_ms=120, tokens_in=512
)
MODEL = Model("m", 4096, frozenset(), (), None)


def fleet(profile=CURVE, **more):
    values = {
        "id": "f",
        "model": MODEL,
        "lane": "cpu",
        "engine": "vllm",
        "kind": "openai_http",
        "urls": ("http://127.0.0.1:1/v1",),
        "upstream_model": "m",
        "instance": "box",
        "region": "r",
        "purchase": "on_demand",
        "price": Price(3.6, "2025-01-01", "here", "stated"),
        "replicas": Replicas(1, 1, 8, 1.0),
        "profile": profile,
        "context_tokens": 4096,
        **more,
    }
    return Fleet(**values)


def predicted(in_flight=0, tokens_in=100, tokens_out=11, n=1, load=None, **more):
    load = load or Load(in_flight=in_flight, committed=1)
    return prepare(fleet(**more)).predict(tokens_in, tokens_out, n, load)


def test_an_idle_replica_prefills_at_its_rate_and_decodes_at_its_itl():
    found = predicted()
    assert found.ttft_p50_ms == pytest.approx(100)
    assert found.e2e_p50_ms == pytest.approx(100 + 10 * 10)
    assert found.usd_marginal == 0.0
    # price a second x (w x in + out) / throughput, with w = 100 / 1000
    assert found.usd_average == pytest.approx(0.001 * (0.1 * 100 + 11) / 100)


def test_a_busy_replica_is_slower_in_prefill_and_decode_alike():
    found = predicted(in_flight=3)
    assert found.itl_p50_ms == pytest.approx(20)
    assert found.ttft_p50_ms == pytest.approx(200)


def test_between_points_itl_and_time_per_token_lie_on_the_straight_line():
    found = predicted(in_flight=5)  # 6 streams: halfway between 4 and 8
    assert found.itl_p50_ms == pytest.approx((20 + 33.3) / 2)
    s_per_token = (4 / 200 + 8 / 240) / 2
    assert found.usd_average == pytest.approx(0.001 * (0.1 * 100 + 11) * s_per_token / 6)


def test_above_capacity_requests_wait_for_those_before_them():
    full, over = predicted(in_flight=7), predicted(in_flight=11)
    service_ms = full.e2e_p50_ms
    assert "assumed:queue" not in full.marks
    assert "assumed:queue" in over.marks
    wait_p50, wait_p95 = wait_over_service(4, 8)
    assert over.ttft_p50_ms == pytest.approx(full.ttft_p50_ms + wait_p50 * service_ms)
    assert over.ttft_p95_ms == pytest.approx(1.5 * full.ttft_p50_ms + wait_p95 * service_ms)
    assert over.e2e_p95_ms == pytest.approx(1.5 * full.e2e_p50_ms + wait_p95 * service_ms)
    assert over.usd_average == full.usd_average


def test_replicas_share_the_requests():
    load = Load(in_flight=7, replicas=2, committed=2)
    assert predicted(load=load).itl_p50_ms == pytest.approx(20)


def test_corrections_learned_from_traffic_scale_the_prediction():
    load = Load(ewma_ttft=2.0, ewma_itl=0.5, committed=1)
    found = predicted(load=load)
    assert found.ttft_p50_ms == pytest.approx(200)
    assert found.e2e_p50_ms == pytest.approx(200 + 10 * 5)


def test_one_point_means_constant_throughput_and_an_itl_that_grows_with_the_streams():
    found = predicted(in_flight=3, profile=ONE_POINT)
    assert found.itl_p50_ms == pytest.approx(100)
    assert found.usd_average == pytest.approx(0.001 * (0.1 * 100 + 11) / 40)
    assert {"assumed:throughput", "assumed:input_weight"} <= set(prepare(fleet(ONE_POINT)).marks)


@pytest.mark.parametrize(("tokens_in", "ttft_ms"), [(100, 120), (512, 120), (1024, 240)])
def test_a_single_ttft_holds_for_shorter_prompts_and_grows_with_longer_ones(tokens_in, ttft_ms):
    assert predicted(profile=ONE_POINT, tokens_in=tokens_in).ttft_p50_ms == pytest.approx(ttft_ms)


def test_without_a_profile_latency_is_unknown_and_the_fallback_bounds_the_cost():
    half = Replicas(0, 1, 8, 0.5)
    for more in ({"profile": None}, {"price": None}):
        found = predicted(fallback_usd_per_mtok=0.5, replicas=half, load=Load(), **more)
        assert found.usd_average == pytest.approx(111 * 0.5e-6)
        assert found.usd_marginal == pytest.approx(111 * 0.5e-6 / 0.5)
    found = predicted(profile=None, fallback_usd_per_mtok=0.5)
    assert found.ttft_p50_ms is None
    assert found.e2e_p50_ms is None


def test_without_price_and_fallback_cost_is_unknown_not_zero():
    for profile in (CURVE, None):
        found = predicted(profile=profile, price=None)
        assert found.usd_marginal is None
        assert found.usd_average is None
        assert prepare(fleet(profile, price=None)).card is None


def test_a_price_without_a_prefill_figure_leaves_latency_unknown():
    profile = replace(CURVE, prefill_tok_s=None)
    found = predicted(profile=profile)
    assert found.ttft_p50_ms is None
    assert found.usd_average is not None


def test_a_shared_host_costs_its_share():
    whole, half = predicted(), predicted(host_share=0.5)
    assert half.usd_average == pytest.approx(whole.usd_average / 2)


def test_several_choices_pay_for_every_output_but_once_for_the_input():
    one, three = predicted(), predicted(n=3)
    assert three.usd_average - one.usd_average == pytest.approx(0.001 * 22 / 100)


def test_marginal_cost_reaches_the_rate_card_over_the_scale_out_threshold():
    busy = predicted(in_flight=8)
    card = prepare(fleet()).card
    exact = (100 * card.nano_per_mtok_in + 11 * card.nano_per_mtok_out) / 1e6
    assert busy.usd_marginal == pytest.approx(exact / 1e9)


@given(st.sampled_from([0, 1, 3, 4, 7, 8, 9, 30]), st.sampled_from([0, 1, 3, 7, 8, 20]))
def test_more_load_is_never_faster_and_never_cheaper_at_the_margin(a, b):
    low, high = sorted((a, b))
    calm, busy = predicted(in_flight=low), predicted(in_flight=high)
    assert calm.ttft_p50_ms <= busy.ttft_p50_ms
    assert calm.e2e_p50_ms <= busy.e2e_p50_ms
    assert calm.usd_marginal <= busy.usd_marginal
    assert calm.usd_average >= busy.usd_average
