"""The contract's formulas against the recomputed columns of the source tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import cost, files
from backends.points import little_consistent

BOOK = files.library().prices
PROFILES = files.library().profiles


def price(instance):
    return BOOK.find(instance, "us-east-1", "on_demand").usd_per_hour


S1 = [  # instance, end-to-end seconds and USD a request as S1 measured and recomputed them
    ("c7i.xlarge", 9.70, 0.000481),
    ("c7g.xlarge", 8.39, 0.000338),
    ("c8g.xlarge", 7.47, 0.000331),
]


@pytest.mark.parametrize(("instance", "e2e_s", "usd_per_request"), S1)
def test_box_seconds_give_back_what_s1_measured_end_to_end(instance, e2e_s, usd_per_request):
    profile = PROFILES[f"{instance}/qwen3-0.6b"]
    tok_s = profile.speed(1).tok_s
    seconds = cost.box_seconds(200, 200, profile.speed(1).input_weight, tok_s)
    assert seconds == pytest.approx(e2e_s, rel=0.003)
    assert cost.usd(price(instance), seconds) == pytest.approx(usd_per_request, abs=1.5e-6)


def test_the_weights_of_an_input_token_are_those_of_the_contract():
    weights = {
        p: round(PROFILES[f"{p}.xlarge/qwen3-0.6b"].speed(1).input_weight, 2)
        for p in ("c8g", "c7g", "c7i")
    }
    assert weights == {"c8g": 0.35, "c7g": 0.37, "c7i": 0.24}


def test_a_million_output_tokens_on_graviton4_cost_1_22_decode_only():
    assert cost.usd_per_mtok_out(0.15952, 36.22) == pytest.approx(1.22, abs=0.005)
    assert cost.usd_per_mtok_out(2.55232, 296) == pytest.approx(2.38, rel=0.01)  # S0


S2 = {  # USD per 1M output tokens at the table's columns 1, 4, 8, 16, 32
    "p5.48xlarge": (6.503, 1.845, 1.115, 0.776, 0.650),
    "p4d.24xlarge": (3.389, 1.089, 0.726, 0.545, 0.477),
    "g6e.48xlarge": (10.895, 3.632, 2.243, 1.794, 1.658),
    "trn2.48xlarge": (3.571, 1.000, 0.595, 0.406, 0.325),
    "inf2.48xlarge": (1.279, 0.365, 0.221, 0.160, 0.128),
}
K = {
    "p5.48xlarge": 33.6,
    "p4d.24xlarge": 32.4,
    "g6e.48xlarge": 30.8,
    "trn2.48xlarge": 35.0,
    "inf2.48xlarge": 39.2,
}


@pytest.mark.parametrize("instance", S2)
def test_every_recomputed_cost_of_s2_comes_out(instance):
    profile = PROFILES[f"{instance}/llama-4-scout"]
    costs = [cost.usd_per_mtok_out(price(instance), point.tok_s) for point in profile.points]
    assert costs == pytest.approx(S2[instance], abs=0.0011)


@pytest.mark.parametrize("instance", S2)
def test_the_little_consistent_reading_stretches_the_columns_by_k(instance):
    profile = PROFILES[f"{instance}/llama-4-scout"]
    streams = [point.concurrency / K[instance] for point in profile.points]
    assert streams == pytest.approx([1, 4, 8, 16, 32])


@pytest.mark.parametrize("name", [n for n in PROFILES if "llama-4" in n])
@given(st.sampled_from([1, 2, 10, 33, 34, 100, 135, 500, 1000, 1200]))
def test_latency_and_throughput_of_the_reading_agree_by_littles_law(name, concurrency):
    profile = PROFILES[name]
    capacity = (
        profile.capacity(10_000) if len(profile.points) > 1 else profile.points[0].concurrency
    )
    streams = min(concurrency, capacity)
    speed = profile.speed(streams)
    assert speed.tok_s == pytest.approx(streams / speed.itl_ms * 1000)


def test_a_lone_stream_on_a_p5_costs_218_usd_per_million_tokens():
    speed = PROFILES["p5.48xlarge/llama-4-scout"].speed(1)
    assert speed.tok_s == pytest.approx(125)
    assert cost.usd_per_mtok_out(98.32, speed.tok_s) == pytest.approx(218, abs=0.6)


def test_maverick_costs_9_75_on_p5_and_5_68_on_trn2():
    assert cost.usd_per_mtok_out(98.32, 2800) == pytest.approx(9.75, abs=0.005)
    assert cost.usd_per_mtok_out(45.00, 2200) == pytest.approx(5.68, abs=0.005)


@pytest.mark.parametrize(
    ("usd_per_hour", "requests"), [(98.32, 297_292), (12.89, 38_976)], ids=["p5", "inf2"]
)
def test_one_always_on_machine_breaks_even_with_busy_gravitons_where_the_contract_says(
    usd_per_hour, requests
):
    profile = PROFILES["c8g.xlarge/qwen3-0.6b"]
    seconds = cost.box_seconds(200, 200, profile.speed(1).input_weight, profile.speed(1).tok_s)
    per_request = cost.usd(0.15952, seconds)
    found = cost.requests_per_hour_at_break_even(usd_per_hour, per_request)
    assert found == pytest.approx(requests, abs=1)
    measured = cost.requests_per_hour_at_break_even(usd_per_hour, cost.usd(0.15952, 7.47))
    assert found == pytest.approx(measured, rel=0.003)


def test_a_single_row_is_read_with_its_column_and_its_itl():
    points, k = little_consistent([(1.0, 2800.0)], 12)
    assert k == pytest.approx(33.6)
    assert points[0].itl_ms == 12


# -- marginal cost ---------------------------------------------------------------------------------

small = st.sampled_from([0, 1, 2, 3, 4, 5, 7, 8, 10, 50])
capacities = st.sampled_from([1, 2, 4, 10, 40])
thresholds = st.sampled_from([0.1, 0.5, 0.7, 1.0])


@given(small, small, capacities, thresholds)
def test_marginal_cost_never_falls_with_load(a, b, capacity, at):
    low, high = sorted((a, b))
    assert cost.marginal_share(low, capacity, at) <= cost.marginal_share(high, capacity, at)


@given(capacities, thresholds)
def test_marginal_cost_is_nothing_on_idle_committed_capacity(capacity, at):
    assert cost.marginal_share(0, capacity, at) == 0.0


@given(st.sampled_from([10, 40, 100]), st.sampled_from([0.1, 0.5, 0.7, 1.0]))
def test_marginal_cost_is_full_from_the_scale_out_threshold_on(capacity, at):
    at_threshold = round(capacity * at)
    assert cost.marginal_share(at_threshold, capacity, at) == pytest.approx(1.0)
    assert cost.marginal_share(at_threshold + 1, capacity, at) == 1.0


@given(small)
def test_without_committed_capacity_every_request_costs_in_full(in_flight):
    assert cost.marginal_share(in_flight, 0, 0.7) == 1.0


def test_between_half_the_threshold_and_the_threshold_it_rises_with_the_square():
    assert cost.marginal_share(3, 4, 1.0) == pytest.approx(0.25)


# -- the sources' own sums -------------------------------------------------------------------------

S1 = {  # $/h, output tok/s, end-to-end s, $/request as recomputed
    "c7i": (0.1785, 25.52, 9.70, 0.000481),
    "c7g": (0.145, 32.65, 8.39, 0.000338),
    "c8g": (0.15952, 36.22, 7.47, 0.000331),
}


@pytest.mark.parametrize("box", S1)
def test_every_recomputed_request_of_s1_comes_out_from_price_and_time(box):
    usd_per_hour, tok_s, e2e_s, usd = S1[box]
    assert price(f"{box}.xlarge") == usd_per_hour
    profile = PROFILES[f"{box}.xlarge/qwen3-0.6b"]
    assert profile.speed(1).tok_s == tok_s
    assert round(cost.usd(usd_per_hour, e2e_s), 6) == usd
    # what is left for the prompt is 1.9 to 2.3 s, which gives the prefill rate
    assert 1.85 < e2e_s - 200 / tok_s < 2.3
    assert profile.prefill_tok_s == round(200 / (e2e_s - 200 / tok_s))


def test_graviton4_against_intel_is_what_s1_says():
    (usd_x86, tok_x86, s_x86, _), (usd_arm, tok_arm, s_arm, _) = S1["c7i"], S1["c8g"]
    assert tok_arm / tok_x86 - 1 == pytest.approx(0.42, abs=0.005)
    assert s_arm / s_x86 - 1 == pytest.approx(-0.23, abs=0.005)
    per_request = cost.usd(usd_arm, s_arm) / cost.usd(usd_x86, s_x86)
    assert per_request - 1 == pytest.approx(-0.31, abs=0.005)


def test_a_million_output_tokens_with_their_prompts_cost_1_66_on_graviton4():
    assert cost.usd(0.15952, 7.47) / 200 * 1e6 == pytest.approx(1.66, abs=0.005)


def test_tokens_per_dollar_of_s0_come_out_within_one_percent():
    per_dollar = 296 * 3600 / price("c8g.16xlarge")
    assert per_dollar == pytest.approx(417_500, rel=1e-4)
    assert per_dollar == pytest.approx(420_000, rel=0.006)
    per_mtok = [1e6 / tokens for tokens in (360_000, 420_000)]
    assert per_mtok == pytest.approx([2.78, 2.38], abs=0.005)


def test_a_p5_costs_as_much_as_616_boxes_of_graviton4():
    assert price("p5.48xlarge") / price("c8g.xlarge") == pytest.approx(616, abs=0.5)


@pytest.mark.parametrize(
    ("instance", "needed"),
    [
        ("p5.48xlarge", 32_131),
        ("p4d.24xlarge", 8_472),
        ("g6e.48xlarge", 29_332),
        ("trn2.48xlarge", 35_714),
        ("inf2.48xlarge", 12_788),
    ],
)
def test_the_throughput_that_a_stated_cost_of_s2_needs_comes_out(instance, needed):
    stated = {"p5": 0.85, "p4d": 0.72, "g6e": 0.52, "trn2": 0.35, "inf2": 0.28}
    usd = stated[instance.partition(".")[0]]
    assert price(instance) / 3600 / usd * 1e6 == pytest.approx(needed, abs=0.6)


# -- waking ----------------------------------------------------------------------------------------


def test_waking_is_shared_by_the_requests_expected_while_it_has_to_run():
    # 600 s to wake and an hour to run at $3.60/h are $4.20
    assert cost.wake_usd_per_request(3.6, 600, 3600, None) == pytest.approx(4.2)
    assert cost.wake_usd_per_request(3.6, 600, 3600, 0.1) == pytest.approx(4.2)
    assert cost.wake_usd_per_request(3.6, 600, 3600, 360) == pytest.approx(0.01)


# -- charges ---------------------------------------------------------------------------------------


@given(
    st.sampled_from([0, 1, 7, 1000]),
    st.sampled_from([0, 1, 7]),
    st.sampled_from([0, 1, 3, 999_999]),
    st.sampled_from([0, 1, 127_876_984, 10**12]),
)
def test_a_charge_is_a_whole_nano_usd_and_never_less_than_the_exact_cost(
    tokens_in, cached, tokens_out, nano
):
    cached = min(cached, tokens_in)
    card = cost.RateCard(nano, nano // 10, nano * 2)
    exact = (tokens_in - cached) * nano + cached * (nano // 10) + tokens_out * nano * 2
    charge = card.charge_nano(tokens_in, cached, tokens_out)
    assert charge * cost.PER_MTOK >= exact
    assert (charge - 1) * cost.PER_MTOK < exact or charge == 0


def test_a_rate_card_prices_input_by_its_weight():
    card = cost.rate_card(0.15952, 36.22, 0.35, 0.1)
    assert card.nano_per_mtok_out == pytest.approx(1.2234e9, rel=1e-3)
    assert card.nano_per_mtok_in == pytest.approx(0.35 * card.nano_per_mtok_out, abs=1)
    assert card.nano_per_mtok_cached == pytest.approx(0.035 * card.nano_per_mtok_out, abs=1)
