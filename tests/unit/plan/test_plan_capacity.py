import itertools
import math

import pytest
from unit.plan import made

from backends import files
from router.plan.capacity import in_flight, mean_in_flight, modes, waits
from router.plan.slo import Slo
from router.world import fleet_models

MODELS = {on.fleet.id: on for on in fleet_models(files.catalogue(None))}
INF2 = MODELS["inf2-scout"]


def late_share(mean, most, places):
    """P(more than `most` in an M/M/c of `places`), by its stationary distribution."""
    weights = [1.0]
    for n in range(1, most + 400):
        weights.append(weights[-1] * mean / min(n, places))
    return sum(weights[most + 1 :]) / sum(weights)


@pytest.mark.parametrize("most", [20, 100, 400])
def test_five_percent_find_more_than_fit_where_nobody_waits(most):
    mean = mean_in_flight(most, places=10_000)
    assert late_share(mean, most, 10_000) == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize(("most", "places"), [(8, 4), (40, 20), (30, 8)])
def test_five_percent_find_more_than_fit_where_requests_wait(most, places):
    mean = mean_in_flight(most, places)
    assert mean < places
    assert late_share(mean, most, places) <= 0.05 + 1e-6
    assert late_share(mean * 1.05, most, places) > 0.05 * 0.9 or mean * 1.05 >= places


def test_erlangs_c_is_that_of_the_tables():
    assert waits(8.0, 10) == pytest.approx(0.4092, abs=0.0005)
    assert waits(0.5, 1) == pytest.approx(0.5)


def test_a_pool_of_replicas_carries_more_than_each_alone():
    (mode, *_) = modes(INF2, [made.requests("r", {"inf2-scout"})], Slo(ttft_ms=400), 4)
    alone = mode.replicas_busy[0]
    assert all(busy > n * alone for n, busy in enumerate(mode.replicas_busy[1:], 2))
    assert all(busy <= n for n, busy in enumerate(mode.replicas_busy, 1))


def test_the_last_request_that_keeps_the_slo_is_found():
    requests = made.requests("r", {"inf2-scout"})
    slo = Slo(ttft_ms=400)
    most = in_flight(INF2, requests, slo, 1)

    def ttft_ms(count):
        from backends.load import Load

        return INF2.predict(200, 50, 1, Load(in_flight=count - 1)).ttft_p95_ms

    assert ttft_ms(most) <= 400 < ttft_ms(most + 1)


def test_a_fleet_that_is_too_slow_even_idle_has_no_way_to_run():
    assert modes(INF2, [made.requests("r", {"inf2-scout"})], Slo(ttft_ms=100), 4) == ()


def test_a_fleet_runs_fuller_where_it_has_no_long_prompts_to_serve():
    both = [made.requests("short", {"x"}), made.requests("long", {"x"}, tokens=(1500, 50))]
    full, less = modes(INF2, both, Slo(ttft_ms=1200), 2)
    assert full.classes == (0,)
    assert less.classes == (0, 1)
    assert full.streams > less.streams


def test_a_looser_slo_never_carries_less():
    requests = [made.requests("r", {"inf2-scout"})]
    carried = [modes(INF2, requests, Slo(ttft_ms=ms), 1)[-1] for ms in (310, 400, 600, 1000, 5000)]
    per_second = [mode.replicas_busy[0] / mode.busy_s[0] for mode in carried]
    assert all(a <= b * 1.001 for a, b in itertools.pairwise(per_second))
    assert math.isfinite(per_second[-1])
