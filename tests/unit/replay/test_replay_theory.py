"""Replays against queueing theory: what Erlang, Pollaczek and Little say, through `replay` itself.

A fleet whose streams are as fast among others as alone is a queue with so many servers; one that
makes as many tokens for many as for one shares its processor. Traces are seeded, and come in pairs
that mirror each other (antithetic variates), so that 3 % is far beyond chance.
"""

import math
import random

import pytest
from replay_worlds import STEADY, box, catalogue_of, trace_of, world_of

from router.replay.outcome import SERVED, Settings
from router.replay.run import replay

PATIENT = """
version: 1
name: patient
baseline: m@only
defaults:
  quality_floor: 0
  slo: {ttft_p95_ms: null, e2e_p95_ms: null}
  max_output_tokens: 1000000
  limits: {deadline_ms: 3600000, ttft_timeout_ms: 3600000}
rules: [{id: all, use: cpu}]
"""
SHARING = """
version: 1
profiles:
  - {id: box/steady, model: m, instance: box, source: a test, mark: stated,
     tokens_in: 1, ttft_ms: 0.001,
     points: [{concurrency: 1, tok_s: 100, itl_ms: 10}]}
"""
STEP_S = 0.01  # a token of both
MEAN = 1000  # tokens: the steps are fine beside it
WAITS = Settings(queue=10**9, queue_s=math.inf)


def queue(servers, profile, replicas=1):
    """Return the world of replicas with so many places each."""
    only = box(
        "only",
        profile="box/steady",
        replicas={
            "min": replicas,
            "max": replicas,
            "concurrency_each": servers,
            "scale_out_at": 1.0,
        },
    )
    fleets = catalogue_of(only).replace("context_tokens: 4096", "context_tokens: 100000000")
    return world_of(PATIENT, fleets, (profile,))


def traffic(load, servers, requests, *, exponential=True, seed=1):
    """Return two traces whose draws are each other's mirror, at this load of the servers."""
    draw = random.Random(seed)
    pairs = [(draw.random(), draw.random()) for _ in range(requests)]
    rate = load * servers / (MEAN * STEP_S)
    for mirrored in (False, True):
        now_s, rows = 0.0, []
        for u, v in pairs:
            gap, size = (1 - u, 1 - v) if mirrored else (u, v)
            now_s += -math.log1p(-min(gap, 1 - 1e-12)) / rate
            tokens = -math.log1p(-min(size, 1 - 1e-12)) * MEAN if exponential else MEAN
            rows.append((now_s, 1, 1 + round(tokens)))
        yield trace_of(rows)


def waits_s(world, trace):
    """Return how long each request waited for a place."""
    out = replay(world, trace, WAITS)
    assert set(out.outcome) == {SERVED}
    return [
        ms / 1000 - STEP_S * (tokens - 1)
        for ms, tokens in zip(out.e2e_ms, trace.tokens_out, strict=True)
    ]


def erlang_c(servers, load):
    """Return the probability that who comes has to wait (Erlang, 1917)."""
    offered = load * servers
    last = offered**servers / math.factorial(servers) / (1 - load)
    return last / (sum(offered**k / math.factorial(k) for k in range(servers)) + last)


@pytest.mark.parametrize("replicas", [1, 2])
def test_many_servers_make_wait_as_erlang_says(replicas):
    servers, load = 4, 0.6
    each = servers // replicas
    world = queue(each, STEADY.format(c=each, tok_s=100 * each), replicas)
    waits = [w for t in traffic(load, servers, 45_000) for w in waits_s(world, t)]
    waited = sum(w > STEP_S for w in waits) / len(waits)
    assert waited == pytest.approx(erlang_c(servers, load), rel=0.03)
    mean_s = erlang_c(servers, load) * MEAN * STEP_S / servers / (1 - load)
    assert sum(waits) / len(waits) == pytest.approx(mean_s, rel=0.03)


def test_one_server_of_fixed_work_makes_wait_as_pollaczek_and_khinchine_say():
    load = 0.6
    world = queue(1, STEADY.format(c=2, tok_s=200))
    waits = [w for t in traffic(load, 1, 30_000, exponential=False) for w in waits_s(world, t)]
    mean_s = load / (1 - load) / 2 * MEAN * STEP_S
    assert sum(waits) / len(waits) == pytest.approx(mean_s, rel=0.03)


def test_a_shared_processor_takes_as_long_as_its_load_says_whatever_the_lengths():
    load, world = 0.6, queue(1000, SHARING)
    took, work, seen = 0.0, 0.0, []
    for trace in traffic(load, 1, 20_000):
        out = replay(world, trace, Settings(look_s=7.0))
        took += sum(out.e2e_ms) / 1000
        work += sum(tokens - 1 for tokens in trace.tokens_out) * STEP_S
        # Little: how many are there on average is how many come a second times how long they stay.
        (fleet,) = out.fleets
        there = sum(fleet.in_flight) / len(fleet.in_flight)
        seen.append(there / (sum(out.e2e_ms) / 1000 / out.seconds))
    assert took / work == pytest.approx(1 / (1 - load), rel=0.03)
    assert sum(seen) / 2 == pytest.approx(1.0, rel=0.03)
