"""What `gen:...` makes is what theory says, and what it can't make is told."""

import math
import statistics
from collections import Counter

import pytest

from router.traces.opening import open_trace
from yamlfile import Invalid

SURE = 4.0  # standard errors


def gaps_of(trace):
    return [after - before for before, after in zip(trace.at_s, trace.at_s[1:], strict=False)]


def test_poisson_arrivals_have_their_rate_and_gaps_as_spread_as_their_mean():
    trace = open_trace("gen:poisson?rate=50&seconds=400")
    assert abs(len(trace) - 20_000) < SURE * math.sqrt(20_000)
    gaps = gaps_of(trace)
    assert statistics.stdev(gaps) == pytest.approx(statistics.mean(gaps), rel=0.05)
    assert trace.seconds < 400


@pytest.mark.parametrize("cv", [0.5, 3])
def test_gamma_arrivals_come_in_bursts_as_asked(cv):
    gaps = gaps_of(open_trace(f"gen:gamma?rate=50&seconds=400&cv={cv}"))
    assert statistics.mean(gaps) == pytest.approx(1 / 50, rel=0.1)
    assert statistics.stdev(gaps) / statistics.mean(gaps) == pytest.approx(cv, rel=0.1)


def test_a_day_has_its_wave_with_its_peak_and_its_mean_rate():
    trace = open_trace("gen:day?rate=0.4&days=2&peak=9&amplitude=0.8")
    by_hour = Counter(int(at // 3600) % 24 for at in trace.at_s)
    assert len(trace) == pytest.approx(0.4 * 2 * 86_400, rel=0.03)
    assert by_hour[9] / by_hour[21] == pytest.approx(1.8 / 0.2, rel=0.35)
    assert min(by_hour, key=by_hour.__getitem__) in (20, 21)


def test_the_peak_is_by_the_clock_wherever_the_trace_begins():
    trace = open_trace("gen:day?rate=0.5&days=1&peak=12&amplitude=1&start=2026-03-01T06:00:00Z")
    assert trace.facts(0).at.startswith("2026-03-01T06:")
    by_hour = Counter(int(at // 3600) for at in trace.at_s)
    assert max(by_hour, key=by_hour.__getitem__) in (5, 6)


def test_lengths_are_fixed_exponential_lognormal_or_uniform():
    trace = open_trace("gen:poisson?rate=50&seconds=400&in=fixed:10&out=exponential:200")
    assert set(trace.tokens_in) == {10}
    assert statistics.mean(trace.tokens_out) == pytest.approx(200, rel=0.03)
    trace = open_trace("gen:poisson?rate=50&seconds=400&in=lognormal:300:0.5&out=uniform:5:9")
    assert statistics.median(trace.tokens_in) == pytest.approx(300, rel=0.03)
    logs = [math.log(tokens) for tokens in trace.tokens_in]
    assert statistics.stdev(logs) == pytest.approx(0.5, rel=0.03)
    assert set(trace.tokens_out) == {5, 6, 7, 8, 9}


def test_the_same_seed_gives_the_same_trace_and_another_one_another():
    text = "gen:gamma?rate=5&seconds=100"
    assert open_trace(text, seed=1) == open_trace(text, seed=1)
    assert open_trace(text, seed=1).at_s != open_trace(text, seed=2).at_s


def test_arrivals_stay_where_they_are_when_lengths_change():
    before, after = (
        open_trace(f"gen:poisson?rate=5&seconds=100&out={out}") for out in ("fixed:1", "fixed:2")
    )
    assert (before.at_s, before.tokens_in) == (after.at_s, after.tokens_in)


def test_a_report_says_that_it_was_generated_with_every_parameter_those_not_given_too():
    said = open_trace("gen:gamma?rate=5", seed=3).assumptions[0]
    assert said == (
        "the arrivals and the lengths are generated (seed 3): gamma, rate 5, seconds 3600, cv 3, "
        "in lognormal:1020:1, out lognormal:129:1, start 2026-01-05"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gen:", "unknown generator `` (known: poisson, gamma, day)"),
        ("gen:pareto?rate=1", "unknown generator `pareto` (known: poisson, gamma, day)"),
        ("gen:poisson?rte=5", "`poisson` has no parameter `rte` (known: rate, seconds, in, out,"),
        ("gen:poisson?cv=5", "`poisson` has no parameter `cv`"),
        ("gen:poisson?rate=5&rate=6", "`rate` is given twice"),
        ("gen:poisson?rate=", "`rate` must be a number from 1e-06 to 1,000,000, not ``"),
        ("gen:poisson?rate=nan", "`rate` must be a number from"),
        ("gen:poisson?rate=0", "`rate` must be a number from"),
        ("gen:poisson?seconds=-1", "`seconds` must be a number from"),
        ("gen:day?amplitude=1.1", "`amplitude` must be a number from 0 to 1"),
        ("gen:gamma?cv=0", "`cv` must be a number from 0.01 to 100"),
        ("gen:poisson?rate=1000000&seconds=3600", "3,600,000,000 requests are too many: at most"),
        ("gen:poisson?rate=0.000001&seconds=1", "not one request comes in that time"),
        ("gen:poisson？rate=5", "`？` is a full-width sign: write `?`"),
        ("gen:poisson?start=now", "`start` must be a time from 1970 to 2199"),
        ("gen:poisson?start=1960-01-01", "`start` must be a time from 1970 to 2199"),
        ("gen:poisson?in=200", "`in`: `200` is no length (known: fixed:TOKENS, exponential:MEAN,"),
        ("gen:poisson?out=lognormal:5", "`out`: `lognormal:5` is no length"),
        ("gen:poisson?out=fixed:x", "`out`: `fixed:x`: its figures must be numbers (fixed:TOKENS)"),
        ("gen:poisson?out=fixed:0", "0 must be above 0, at most 100,000,000"),
        ("gen:poisson?out=fixed:nan", "nan must be above 0, at most 100,000,000"),
        ("gen:poisson?out=lognormal:5:9", "9 must be above 0, at most 5"),
        ("gen:poisson?out=uniform:9:5", "the least is above the most"),
    ],
)
def test_what_cant_be_made_is_told_with_what_could_be(text, message):
    with pytest.raises(Invalid) as caught:
        open_trace(text)
    (problem,) = caught.value.problems
    assert problem.where == text
    assert message in problem.message
