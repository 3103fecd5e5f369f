"""The cost and latency model against an oracle that is written straight from its documentation."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from backends.bill import FleetTime, Served, close
from backends.catalogue import Fleet, Model, Replicas
from backends.fleet_model import prepare
from backends.load import Load
from backends.points import Point, Quantiles
from backends.prices import Price
from backends.profiles import Profile
from backends.queueing import wait_over_service

USD_PER_HOUR = 3600.0  # a second costs a dollar: averages read as seconds

concurrencies = st.sampled_from([1, 2, 3, 4, 8, 20])
lengths = st.sampled_from([16, 100, 512, 2000])
speeds = st.sampled_from([5.0, 40.0, 41.0, 300.0, 9000.0])
loads = st.sampled_from([0, 1, 2, 3, 5, 7, 19, 20, 40, 100])


def profile(points, **more):
    return Profile("box/m", "m", "box", "measured", "here", None, tuple(points), **more)


def model(curve, replicas=None):
    return prepare(
        Fleet(
            id="f",
            model=Model("m", 10_000, frozenset(), (), None),
            lane="cpu",
            engine="vllm",
            kind="openai_http",
            urls=("http://127.0.0.1:1/v1",),
            upstream_model="m",
            instance="box",
            region="r",
            purchase="on_demand",
            price=Price(USD_PER_HOUR, "2025-01-01", "here", "stated"),
            replicas=replicas or Replicas(0, 1, 100, 0.7),
            profile=curve,
            context_tokens=10_000,
        )
    )


@st.composite
def rising_curves(draw):
    """Return decode points in which more streams make more tokens, each of them more slowly."""
    at = sorted(draw(st.sets(concurrencies, min_size=1, max_size=5)))
    per_stream = 100.0
    points = []
    for i, c in enumerate(at):
        if i:
            floor = per_stream * at[i - 1] / c  # below it the throughput would fall
            share = draw(st.sampled_from([0.0, 0.3, 0.9, 1.0]))
            per_stream = floor + share * (per_stream - floor)
        points.append(Point(c, per_stream * c, 1000 / per_stream))
    return points


@st.composite
def mixes(draw):
    """Return whole-request measurements over loads and lengths, in any relation to each other."""
    at = draw(st.sets(st.tuples(concurrencies, lengths, lengths), min_size=1, max_size=7))
    return [
        Point(c, None, 10, tokens_in, tokens_out, mix_tok_s=draw(speeds))
        for c, tokens_in, tokens_out in sorted(at)
    ]


@given(mixes())
def test_every_measured_mix_is_given_back_exactly(points):
    on = model(profile(points))
    assume(len({p.concurrency for p in points}) > 1)  # one level alone is held at any load
    for point in points:
        load = Load(in_flight=point.concurrency - 1)
        seconds = on.predict(point.tokens_in, point.tokens_out, 1, load).usd_average
        assert seconds == pytest.approx(point.tokens_out / point.mix_tok_s)


@given(lengths, lengths, st.sampled_from([2.0, 50.0, 900.0]), st.sampled_from([0.02, 0.3, 2.0]))
def test_two_mixes_tell_what_an_input_token_costs(a, b, decode, weight):
    assume(a != b)
    points = [
        Point(4, None, 10, i, 100, mix_tok_s=100 * decode / (weight * i + 100)) for i in (a, b)
    ]
    (level,) = profile(points).surface.levels
    assert level[1].input_weight == pytest.approx(weight)
    assert level[1].tok_s == pytest.approx(decode)


@given(rising_curves(), loads, loads)
def test_throughput_never_falls_with_load_where_no_point_falls(points, a, b):
    assume(a and b)
    low, high = sorted((a, b))
    curve = profile(points)
    assert curve.speed(low).tok_s <= curve.speed(high).tok_s * (1 + 1e-9)
    assert curve.speed(low).itl_ms <= curve.speed(high).itl_ms * (1 + 1e-9)


def exact(points, prefill_tok_s, tokens_in, tokens_out, in_flight, replicas=1):
    """Return (ttft p50, ttft p95, e2e p50, e2e p95, seconds) as docs/cost-model.md says."""
    last = points[-1].concurrency
    capacity = last if len(points) > 1 else 100
    c = min(max((in_flight + 1) / replicas, 1), capacity)
    first = points[0]
    if c <= first.concurrency:
        s_per_token, itl = first.concurrency / first.tok_s, first.itl_ms
    elif c >= last:
        s_per_token = c / points[-1].tok_s
        itl = points[-1].itl_ms * c / last
    else:
        low = max((p for p in points if p.concurrency <= c), key=lambda p: p.concurrency)
        high = min((p for p in points if p.concurrency > c), key=lambda p: p.concurrency)
        share = (c - low.concurrency) / (high.concurrency - low.concurrency)
        ends = [(p.concurrency / p.tok_s, p.itl_ms) for p in (low, high)]
        s_per_token, itl = (a + share * (b - a) for a, b in zip(*ends, strict=True))
    weight = first.tok_s / prefill_tok_s
    seconds = (weight * tokens_in + tokens_out) * s_per_token / c
    prefill = 1000 * tokens_in / prefill_tok_s * itl / first.itl_ms
    decode = (tokens_out - 1) * itl
    ahead = max(0, math.ceil(in_flight + 1 - capacity * replicas))
    p50, p95 = wait_over_service(ahead, capacity * replicas)
    service = prefill + decode
    return (
        prefill + p50 * service,
        1.5 * prefill + p95 * service,
        service + p50 * service,
        1.5 * service + p95 * service,
        seconds,
    )


@given(
    rising_curves(),
    st.sampled_from([30.0, 1000.0]),
    lengths,
    lengths,
    loads,
    st.sampled_from([1, 3]),
)
def test_the_tables_of_the_hot_path_agree_with_the_formulas(
    points, prefill, tokens_in, tokens_out, in_flight, replicas
):
    on = model(profile(points, prefill_tok_s=prefill))
    load = Load(in_flight=in_flight, replicas=replicas)
    for _ in range(2):  # worked out, then looked up
        seen = on.predict(tokens_in, tokens_out, 1, load)
        found = (
            seen.ttft_p50_ms,
            seen.ttft_p95_ms,
            seen.e2e_p50_ms,
            seen.e2e_p95_ms,
            seen.usd_average,
        )
        expected = exact(points, prefill, tokens_in, tokens_out, in_flight, replicas)
        assert found == pytest.approx(expected)


@given(rising_curves(), loads, loads, lengths, lengths, st.sampled_from([0, 1, 2.5]))
def test_more_load_is_never_faster_and_never_cheaper_at_the_margin(
    points, a, b, tokens_in, tokens_out, committed
):
    on = model(profile(points, prefill_tok_s=500.0), Replicas(0, 3, 100, 0.7))
    low, high = (
        on.predict(tokens_in, tokens_out, 1, Load(in_flight=n, replicas=3, committed=committed))
        for n in sorted((a, b))
    )
    assert low.ttft_p50_ms <= high.ttft_p50_ms * (1 + 1e-9)
    assert low.ttft_p95_ms <= high.ttft_p95_ms * (1 + 1e-9)
    assert low.e2e_p95_ms <= high.e2e_p95_ms * (1 + 1e-9)
    assert low.usd_marginal <= high.usd_marginal


@given(rising_curves(), lengths, lengths)
def test_one_more_request_is_free_when_idle_and_costs_in_full_from_the_threshold_on(
    points, tokens_in, tokens_out
):
    on = model(profile(points), Replicas(1, 1, 100, 0.5))
    full = on.predict(tokens_in, tokens_out, 1, Load()).usd_marginal
    at = math.ceil(on.capacity * 0.5)
    assert on.predict(tokens_in, tokens_out, 1, Load(committed=1)).usd_marginal == 0
    busy = on.predict(tokens_in, tokens_out, 1, Load(in_flight=at, committed=1))
    assert busy.usd_marginal == full
    card = (tokens_in * on.card.nano_per_mtok_in + tokens_out * on.card.nano_per_mtok_out) / 1e15
    assert full == pytest.approx(card / 0.5)


@given(st.sampled_from([1, 2, 3, 5, 9, 30]), st.sampled_from([1, 4, 4.5, 64]))
def test_waits_grow_with_the_queue_and_their_p95_is_above_their_p50(ahead, places):
    p50, p95 = wait_over_service(ahead, places)
    assert 0 < p50 < p95
    assert wait_over_service(ahead + 1, places)[0] > p50
    assert p50 <= ahead / places < p95


@pytest.mark.parametrize(  # quantiles of the Erlang distribution with rate 1
    ("ahead", "p50", "p95"), [(1, 0.6931, 2.9957), (2, 1.6783, 4.7439), (5, 4.6709, 9.1535)]
)
def test_waits_are_those_of_the_erlang_distribution(ahead, p50, p95):
    assert wait_over_service(ahead, 1) == pytest.approx((p50, p95), rel=0.02)


def test_nobody_ahead_is_no_wait():
    assert wait_over_service(0, 4) == wait_over_service(-3, 4) == (0.0, 0.0)


times = st.builds(
    FleetTime, st.sampled_from([0.0, 60.0, 59.9]), st.sampled_from([0, 1, 3]), st.just(98.32)
)
attempts = st.builds(Served, st.sampled_from([0.0, 0.7, 30.0]), st.sampled_from([0, 1, 10**9]))


@given(st.lists(times, max_size=6), st.lists(attempts, max_size=6))
def test_allocated_idle_and_variance_add_up_to_the_bill_on_any_schedule(minutes, served):
    closed = close(minutes, served, 98.32, 8)
    assert closed.allocated + closed.idle + closed.variance == closed.bill
    exact_bill = sum(98.32 / 3600 * t.seconds * t.replicas for t in minutes)
    assert closed.bill / 1e9 == pytest.approx(exact_bill)
    assert closed.allocated == sum(attempt.charge_nano for attempt in served)


def test_an_idle_fleet_is_all_idle_and_a_full_one_is_not():
    hour = [FleetTime(3600, 1, 8.0)]
    assert close(hour, [], 8.0, 4) == close(hour, [Served(0, 0)], 8.0, 4)
    assert close(hour, [], 8.0, 4).idle == 8 * 10**9
    full = close(hour, [Served(3600, 1_900_000_000)] * 4, 8.0, 4)
    assert full.idle == 0
    assert full.variance == 400_000_000


def test_percentiles_that_were_measured_replace_the_assumed_ones():
    points = [
        Point(1, 100, 10, ttft_ms=Quantiles(50, 60), itl_p95_ms=12, tokens_in=100, tokens_out=10),
        Point(4, 200, 20, ttft_ms=Quantiles(80, 160), itl_p95_ms=28, tokens_in=100, tokens_out=10),
    ]
    on = model(profile(points))
    assert "assumed:p95" not in on.marks
    idle, busy = (on.predict(100, 11, 1, Load(in_flight=n)) for n in (0, 3))
    assert (idle.ttft_p50_ms, idle.ttft_p95_ms) == pytest.approx((50, 60))
    assert idle.e2e_p95_ms == pytest.approx(60 + 10 * 12)
    assert (busy.ttft_p50_ms, busy.ttft_p95_ms) == pytest.approx((80, 160))
    assert busy.e2e_p95_ms == pytest.approx(160 + 10 * 28)
    between = on.predict(100, 11, 1, Load(in_flight=1))
    assert 50 < between.ttft_p50_ms < 80
    whole = [Point(1, 100, 10, e2e_ms=Quantiles(1000, 1300))]
    assert model(profile(whole, prefill_tok_s=100.0)).predict(
        100, 11, 1, Load()
    ).e2e_p95_ms == pytest.approx(1.3 * 1100)


def test_a_prompts_time_is_a_line_through_the_measured_lengths():
    points = [Point(1, 100, 10, n, 10, ttft_ms=Quantiles(20 + 0.1 * n)) for n in (100, 400, 1000)]
    law = profile(points).surface.law
    assert (law.floor_ms, law.fixed_ms, law.ms_per_token) == pytest.approx((0, 20, 0.1))


@given(mixes(), lengths, lengths, loads)
def test_lengths_that_were_not_measured_lie_between_those_that_were(points, a, b, in_flight):
    """The blend of deviations never leaves their range, and costs stay above zero."""
    curve = profile(points)
    weights = curve.surface.blend(a, b)
    assert sum(weights) == pytest.approx(1)
    assert min(weights) >= 0
    seen = model(curve).predict(a, b, 1, Load(in_flight=in_flight))
    assert seen.usd_average > 0


# -- what a weight and a prompt law are drawn from -------------------------------------------------


def weight_of(*points, **beside):
    return profile(points, **beside).surface.levels[0][1].input_weight


def test_a_weight_is_measured_where_prefill_was():
    assert weight_of(Point(4, 100, 10, prefill_tok_s=500)) == pytest.approx(0.2)
    assert weight_of(Point(4, 100, 10), prefill_tok_s=400) == pytest.approx(0.25)


def test_a_mix_with_a_prefill_rate_gives_decode_and_weight():
    # 200 tokens in at 400/s are 0.5 s of its 2.5 s; 100 tokens out in the other 2 s are 50/s
    mix = Point(4, None, 10, 200, 100, mix_tok_s=40)
    for points, beside in (
        ([mix], {"prefill_tok_s": 400}),
        ([Point(4, None, 10, 200, 100, mix_tok_s=40, prefill_tok_s=400)], {}),
    ):
        (level,) = profile(points, **beside).surface.levels
        assert level[1].tok_s == pytest.approx(50)
        assert level[1].input_weight == pytest.approx(50 / 400)


def test_the_ttft_of_a_lone_request_is_its_prompts_time():
    alone = Point(1, None, 10, 200, 100, mix_tok_s=40, ttft_ms=Quantiles(500))
    assert weight_of(alone) == pytest.approx(50 / 400)
    among_others = Point(4, None, 10, 200, 100, mix_tok_s=40, ttft_ms=Quantiles(500))
    assert not profile([among_others]).surface.weight_known
    assert weight_of(among_others) == 0.1


@pytest.mark.parametrize("beside", [{"prefill_tok_s": 10}, {}])
def test_a_prompt_that_would_take_longer_than_the_request_tells_no_weight(beside):
    ttft = None if beside else Quantiles(90_000)
    point = Point(1, None, 10, 200, 100, mix_tok_s=40, ttft_ms=ttft)
    assert weight_of(point, **beside) == 0.1


def test_mixes_that_say_nonsense_of_the_prompt_leave_it_free_or_unknown():
    def pair(long):
        return [
            Point(4, None, 10, 200, 100, mix_tok_s=40),
            Point(4, None, 10, 800, 100, mix_tok_s=long),
        ]

    assert weight_of(*pair(80)) == 0.0  # longer prompts were quicker
    assert weight_of(*pair(1)) == 0.1  # the answers would take less than no time


@pytest.mark.parametrize(
    ("ttfts", "law"),
    [
        ({100: 50, 400: 50}, (0, 50, 0)),  # no longer with the prompt
        ({100: 60, 400: 50}, (0, 55, 0)),  # noise
        ({100: 1, 1000: 100}, (0, 0, (100 * 1 + 1000 * 100) / (100**2 + 1000**2))),
    ],
)
def test_neither_part_of_a_prompts_law_is_below_zero(ttfts, law):
    points = [Point(1, 100, 10, n, 10, ttft_ms=Quantiles(ms)) for n, ms in ttfts.items()]
    found = profile(points).surface.law
    assert (found.floor_ms, found.fixed_ms, found.ms_per_token) == pytest.approx(law)


def test_a_rate_beside_one_ttft_splits_it_into_fixed_and_per_token():
    point = Point(1, 100, 10, 200, 10, ttft_ms=Quantiles(150), prefill_tok_s=2000)
    law = profile([point]).surface.law
    assert (law.floor_ms, law.fixed_ms, law.ms_per_token) == pytest.approx((0, 50, 0.5))


def test_where_ttft_was_not_measured_it_slows_down_as_itl_does():
    points = [
        Point(1, 100, 10, ttft_ms=Quantiles(50), tokens_in=100, tokens_out=10),
        Point(4, 200, 20, tokens_in=100, tokens_out=10),
    ]
    curve = profile(points)
    assert curve.speed(4).slowdown == pytest.approx(2)
    assert curve.speed(2.5).slowdown == pytest.approx(1.5)
