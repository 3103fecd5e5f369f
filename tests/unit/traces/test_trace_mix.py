"""Who asks what, for traces without texts: drawn, stated, and coupled over the simple share."""

import json
import math
import statistics
from array import array
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import LANGUAGES, SERVICE_CLASSES, TIERS
from router import wire
from router.classify import judge_by
from router.classify.assumed import level
from router.features import read
from router.traces import mix as mixes
from router.traces.dress import expected
from router.traces.mix import COMPLEXITY, LENGTH_ERROR, TASKS, Mix
from router.traces.opening import open_trace

REQUESTS = Path(__file__).parents[2] / "data" / "requests.jsonl"
TEXT = "gen:poisson?rate=100&seconds=100"
TRACE = open_trace(TEXT, Mix(), 1)


def tiers_of(trace):
    return [trace.kinds[kind].tier for kind in trace.kind]


def test_tasks_and_complexity_are_what_the_shipped_classifier_says_of_the_test_requests():
    judge = judge_by()
    tasks, complexity = {tier: Counter() for tier in TIERS}, {tier: [] for tier in TIERS}
    for line in REQUESTS.read_text("utf-8").splitlines():
        body = json.dumps({"model": "auto", "messages": json.loads(line)["messages"]}).encode()
        request = wire.parse_chat(body, to_send=False)
        judged = judge(read(request.body, request.sent_bytes))
        tasks[judged.tier][judged.task] += 1
        complexity[judged.tier].append(judged.complexity)
    for tier in TIERS:
        found = sorted(complexity[tier])
        deciles = [found[min(len(found) - 1, len(found) * tenth // 10)] for tenth in range(11)]
        assert tasks[tier] == TASKS[tier]
        assert COMPLEXITY[tier] == pytest.approx(deciles, abs=0.011)


def test_the_length_error_is_what_the_classifier_says_of_itself():
    artefact = Path(mixes.__file__).parents[1] / "classify" / "data" / "judge.json"
    spread = json.loads(artefact.read_text())["lengths"]["spread"]
    assert spread / statistics.NormalDist().inv_cdf(0.9) == pytest.approx(LENGTH_ERROR, abs=0.001)


def test_the_simple_share_and_the_made_up_shares_are_met():
    kinds = [TRACE.kinds[kind] for kind in TRACE.kind]
    assert tiers_of(TRACE).count("simple") / len(TRACE) == pytest.approx(0.6, abs=0.02)
    teams = Counter(f"{kind.tenant}/{kind.team}" for kind in kinds)
    assert teams["shop/search"] / len(TRACE) == pytest.approx(0.4, abs=0.02)
    assert {kind.language for kind in kinds} <= set(LANGUAGES)
    assert {kind.service_class for kind in kinds} == set(SERVICE_CLASSES)
    chinese = sum(kind.language.startswith("zh") for kind in kinds)
    assert chinese / len(TRACE) == pytest.approx(0.5, abs=0.02)


def test_p_small_is_the_assumed_level_of_task_and_complexity_and_what_is_acceptable_follows_it():
    for i in range(200):
        facts = TRACE.facts(i)
        assert facts.p_small == pytest.approx(level(facts.task, facts.complexity), abs=0.001)
    assert statistics.mean(TRACE.acceptable) == pytest.approx(
        statistics.mean(TRACE.p_small), abs=0.02
    )


@given(st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]), min_size=2, max_size=2))
def test_a_request_that_is_simple_stays_so_when_the_simple_share_grows(shares):
    low, high = sorted(shares)
    text = "gen:poisson?rate=5&seconds=20"
    before, after = (tiers_of(open_trace(text, Mix(simple=share), 3)) for share in (low, high))
    assert all(now == "simple" for was, now in zip(before, after, strict=True) if was == "simple")


def test_whoever_keeps_its_tier_keeps_all_else_too_when_the_share_changes():
    other = open_trace(TEXT, Mix(simple=0.5), 1)
    same = [i for i, tier in enumerate(tiers_of(other)) if tier == tiers_of(TRACE)[i]]
    assert len(same) > 0.85 * len(TRACE)
    assert all(TRACE.facts(i) == other.facts(i) for i in same[:500])
    assert all(TRACE.acceptable[i] == other.acceptable[i] for i in same)


def errors(real, guessed):
    return [math.log(one / other) for one, other in zip(real, guessed, strict=True)]


def test_what_is_expected_errs_as_stated_without_leaning_to_a_side():
    wrong = errors(TRACE.tokens_out, TRACE.expected)
    assert statistics.pstdev(wrong) == pytest.approx(LENGTH_ERROR, rel=0.05)
    assert statistics.mean(wrong) == pytest.approx(0, abs=0.03)


def test_where_all_answers_are_alike_a_router_knows_how_long_they_are():
    assert set(expected(array("l", [70] * 50), LENGTH_ERROR, 0)) == {70}


def test_where_answers_spread_less_than_the_error_the_usual_length_is_expected():
    guessed = expected(array("l", [90, 100, 110] * 20), LENGTH_ERROR, 0)
    assert set(guessed) == {100}


def test_without_an_error_the_real_length_is_expected_and_the_report_says_so():
    trace = open_trace(TEXT, Mix(length_error=0.0), 1)
    assert trace.expected == trace.tokens_out
    assert any("the router expects the real output tokens" in said for said in trace.assumptions)


def test_the_assumptions_name_the_share_the_seed_and_what_is_made_up():
    said = "; ".join(open_trace(TEXT, Mix(simple=0.25), 7).assumptions)
    for part in ("25% of the requests are taken for simple", "seed 7", "p_small", "0.585", "made"):
        assert part in said


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"simple": 1.1}, "the simple share must be from 0 to 1, not 1.1"),
        ({"simple": math.nan}, "the simple share must be from 0 to 1, not nan"),
        ({"length_error": -1}, "`length_error` must be from 0 to 5, not -1"),
        ({"languages": {}}, "one of them must be above 0"),
        ({"teams": {"a": -1, "b": 2}}, "shares must not be negative"),
    ],
)
def test_a_mix_that_is_none_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Mix(**wrong)
