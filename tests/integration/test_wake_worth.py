"""Who wakes a fleet, through a real router: who is refused or served well wakes nobody."""

import pytest
from support import catalogue, fleet, policy, wait_until

WAKE = ", wake: {seconds: 300, min_run_seconds: 600}"
IN_ORDER = policy("{in_order: [cpu, accelerator]}")


def sleeper(name, port, price):
    url, more = f"http://127.0.0.1:{port}/v1", f"{WAKE}, usd_per_hour: {price}"
    return fleet(name, url, lane="accelerator", more=more).replace("min: 1", "min: 0")


@pytest.fixture
def start(start_router, upstream, closed_port):
    """Start a router with two fleets that sleep and, unless `alone`, one that serves."""

    def started(text, *, alone=False, small="", **rights):
        awake = fleet("one", upstream.url, more=small)
        if small:  # nothing of it is committed: each request is paid for
            awake = awake.replace("min: 1", "min: 0")
        lanes = sleeper("big", closed_port, 0.1), sleeper("bigger", closed_port, 50)
        fleets = catalogue(*lanes) if alone else catalogue(awake, *lanes)
        router = start_router(fleets, text, **rights)

        def states():
            return router.http.get("/readyz").json()["fleets"]

        wait_until(lambda: states()["big"] == states()["bigger"] == "cold")
        return router

    return started


def woken(router):
    said = " is asleep: a wake-up is asked for"
    return [one.split("fleet ")[1].split()[0] for one in router.log().splitlines() if said in one]


SPENT = "budgets: [{id: t, match: {}, usd: 0.0000001, per: day, when_spent: reject}]\n"
LIMITED = "rate_limits: [{id: r, match: {}, requests_per_min: 1}]\n"
ALONE = policy("accelerator", baseline="m@big")


def test_a_request_that_is_served_well_wakes_nobody(start):
    router = start(IN_ORDER)
    assert router.chat(max_tokens=8).headers["x-sluice-fleet"] == "one"
    assert woken(router) == []


@pytest.mark.parametrize("alone", [False, True])
def test_a_request_whose_budget_is_spent_wakes_nobody(start, alone):
    router = start((ALONE if alone else IN_ORDER) + SPENT, alone=alone)
    assert router.chat(max_tokens=8).status_code == 402
    assert woken(router) == []


def test_a_request_over_its_rate_wakes_nobody(start):
    router = start(IN_ORDER + LIMITED)
    assert [router.chat(max_tokens=8).status_code for _ in "ab"] == [200, 429]
    assert woken(router) == []


def test_a_request_over_its_rate_that_nobody_could_serve_wakes_nobody_again(start):
    router = start(ALONE + LIMITED, alone=True)
    assert [router.chat(max_tokens=8).status_code for _ in "ab"] == [503, 429]
    assert woken(router) == ["big"]
    counted = 'sluice_asleep_missed_total{fleet="big"} 1.0'
    assert counted in router.http.get("/metrics").text  # the second isn't even counted


def test_a_cap_that_no_sleeper_meets_wakes_nobody(start):
    router = start(ALONE, alone=True)
    refused = router.chat(max_tokens=8, headers={"x-sluice-max-usd": "0.000000001"})
    assert refused.status_code >= 400
    assert woken(router) == []


def test_where_nobody_can_serve_exactly_who_would_have_is_woken(start):
    router = start(ALONE, alone=True)
    assert [router.chat(max_tokens=8).status_code for _ in "ab"] == [503, 503]
    assert woken(router) == ["big"]


def test_a_dearer_lane_that_serves_often_enough_wakes_the_cheapest_alone(start):
    either = policy("[cpu, accelerator]")
    router = start(either, small=", usd_per_hour: 20")  # each saves a part of what waking costs
    assert router.chat(max_tokens=8).headers["x-sluice-fleet"] == "one"
    assert woken(router) == []

    def woke():
        router.chat(max_tokens=8)
        return woken(router)

    wait_until(woke)
    assert woken(router) == ["big"]
