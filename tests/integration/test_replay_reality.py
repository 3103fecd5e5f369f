"""A replay against reality: a load through a real router, and what its receipts' replay says of it.

The bounds are wide enough for two noisy cores: `make reality` prints what is found where it is
quiet (docs/replay-reality.md). A real engine's speed is the machine's at that moment; it is
measured before and after, and by how much it drifted is allowed for.
"""

import statistics

import pytest

from router.traces.opening import open_trace
from tools.replay import reality
from tools.replay.real_load import prompts


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("reality")


@pytest.fixture(scope="module")
def emulated(folder):
    """A load of which the cheap fleet can't take all, over two emulated fleets."""
    return reality.emulated_run(folder, prompts(rate=5, seconds=6, seed=1))


def errors(run):
    return {line.what: line.error for line in reality.compared(run)}


def test_who_is_sent_where_is_predicted_request_by_request(emulated):
    assert set(emulated.measured.fleets) == {"small", "large"}
    assert reality.agreed(emulated) >= 0.85
    assert abs(errors(emulated)["share of small"]) <= 0.1


def test_the_load_is_one_that_makes_requests_wait(emulated):
    """Else the prediction were too easy."""
    alone_ms = min(emulated.measured.ttft_ms)
    assert max(emulated.measured.ttft_ms) > 2 * alone_ms


def test_times_on_emulated_fleets_are_predicted(emulated):
    found = errors(emulated)
    assert found["requests answered"] == 0
    assert abs(found["ttft_ms p50"]) < 0.3
    assert abs(found["e2e_ms p50"]) < 0.15
    assert abs(found["e2e_ms p95"]) < 0.25


def test_the_sum_of_all_charges_is_predicted(emulated):
    assert abs(errors(emulated)["usd charged"]) < 0.1


def test_the_receipts_are_a_trace_of_as_many_requests_with_their_own_facts(emulated, folder):
    trace = open_trace(str(folder / "state"))
    assert len(trace) == len(emulated.measured.fleets)
    assert not trace.mixed
    assert {kind.tier for kind in trace.kinds} == {"simple", "heavy"}
    real, guessed = map(statistics.median, (trace.tokens_out, trace.expected))
    assert real != guessed  # decisions see what was expected, times what came


@pytest.mark.engine
def test_a_real_engine_answers_about_as_fast_as_its_measured_profile_predicts(tmp_path, tiny):
    asked = prompts(1, 7, 2, reality.CHARS, reality.TOKENS_OUT)
    run = reality.engine_run(tmp_path, tiny, asked, requests=4)
    found = errors(run)
    assert found["requests answered"] == 0
    assert abs(found["usd charged"]) < 0.05
    drifted = 3 * max(run.drift, 1 / run.drift)
    assert 1 / drifted < 1 + found["e2e_ms p50"] < drifted
