"""Cascades in a policy: how they are written, what they compile to, whom they let through."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from policies import Facts, Names, Policy, Rule, Settings, Slo, evaluate, from_compiled
from policies.acceptance import ACCEPTANCE, pattern
from policies.cases import Told
from policies.model import Acceptance
from policies.parse import parse
from yamlfile import Invalid

NAMES = Names(
    frozenset({"cpu", "accelerator"}),
    frozenset({"c8g", "p5"}),
    frozenset({"small", "large"}),
    frozenset({"here"}),
)
HEAD = "version: 1\nname: p\nbaseline: large@p5\nrules:\n"  # four lines
EVERY = (
    'mean_logprob_above: -0.15, json_valid: true, schema_valid: true, matches: "^[a-z]+$", '
    "tokens: {above: 0, below: 20}, no_refusal: true"
)


def written(cascade, *more):
    lines = "".join(f"    {line}\n" for line in (f"cascade: {cascade}", *more))
    return f"{HEAD}  - id: a\n{lines}"


def cascade(tests="json_valid: true", first="cpu", then="accelerator"):
    return f"{{try: {first}, accept_if: {{{tests}}}, then: {then}}}"


def read(*rule):
    return parse(written(*rule), "p.yaml", NAMES)


def told(text):
    with pytest.raises(Invalid) as caught:
        parse(text, "p.yaml", NAMES)
    return [str(problem).removeprefix("p.yaml:") for problem in caught.value.problems]


# -- the text --------------------------------------------------------------------------------------


def test_a_cascade_is_a_set_to_try_and_a_set_that_follows_with_the_tests_between():
    (rule,) = read(cascade(EVERY, first="c8g", then="[p5, accelerator]")).rules
    assert rule.use == (frozenset({"c8g"}), frozenset({"p5", "accelerator"}))
    assert rule.accept_if == (
        Acceptance("mean_logprob_above", -0.15),
        Acceptance("json_valid", wanted=True),
        Acceptance("schema_valid", wanted=True),
        Acceptance("matches", "^[a-z]+$"),
        Acceptance("tokens", {"above": 0, "below": 20}),
        Acceptance("no_refusal", wanted=True),
    )
    assert [test.name for test in rule.accept_if] == list(ACCEPTANCE)


def test_it_survives_the_way_through_json_and_has_a_hash_of_its_own():
    policy = read(cascade(EVERY))
    assert from_compiled(json.loads(json.dumps(policy.compiled))) == policy
    other = read(cascade(EVERY.replace("-0.15", "-0.16")))
    assert other.hash != policy.hash
    same = read(cascade(EVERY.replace("below: 20", "below: 20.0")))
    assert same.hash == policy.hash


def test_a_policy_without_one_compiles_as_it_did_before_there_were_any():
    (compiled,) = parse(f"{HEAD}  - {{id: a, use: cpu}}\n", "p.yaml", NAMES).compiled["rules"]
    assert set(compiled) == {"id", "when", "use", "residency", "settings"}


@pytest.mark.parametrize(
    "change",
    [
        {"accept_if": {}},
        {"accept_if": {"mood": True}},
        {"accept_if": {"json_valid": False}},
        {"accept_if": {"matches": "("}},
        {"accept_if": {"mean_logprob_above": "high"}},
        {"use": [["cpu"]]},
        {"use": [["accelerator"], ["cpu"], ["p5"]]},
    ],
)
def test_what_this_version_would_not_have_compiled_is_refused(change):
    compiled = json.loads(json.dumps(read(cascade(EVERY)).compiled))
    compiled["rules"][0].update(change)
    with pytest.raises(ValueError, match=r"^not a compiled policy"):
        from_compiled(compiled)


MISTAKES = [
    (cascade(first="cpuu"), "6: rule a: unknown lane `cpuu` (did you mean `cpu`? known: accel"),
    (cascade(then="p6"), "6: rule a: unknown lane `p6` (known: accelerator, cpu)"),
    (cascade(then="cpu"), "6: rule a: `cpu` is in `try` already: it would be asked again"),
    (cascade(tests=""), "6: rules[0].cascade.accept_if: is empty"),
    ("{try: cpu, then: accelerator}", "6: rules[0].cascade: `accept_if` is missing"),
    ("cpu", "6: rules[0].cascade: `cpu` is not a mapping"),
    (cascade("jsonvalid: true"), "6: rules[0].cascade.accept_if: unknown key `jsonvalid` (did you"),
    (cascade("json_valid: false"), "6: rules[0].cascade.accept_if.json_valid: `false` is not true"),
    (cascade("mean_logprob_above: 0"), "6: rules[0].cascade.accept_if.mean_logprob_above: `0` is"),
    (cascade('matches: "("'), "6: rule a: matches: not a pattern of RE2, which knows no look-aro"),
    (cascade('matches: "(?=a)"'), "6: rule a: matches: not a pattern of RE2, which knows no look"),
    (cascade('matches: "(a)\\\\1"'), "6: rule a: matches: not a pattern of RE2, which knows no "),
    (cascade("tokens: {}"), "6: rules[0].cascade.accept_if.tokens: is empty"),
    (cascade("tokens: {above: 5, below: 6}"), "6: rule a: tokens: no number is above `5` and be"),
    (cascade("tokens: 5"), "6: rules[0].cascade.accept_if.tokens: `5` is not a mapping"),
]


@pytest.mark.parametrize(("text", "starts"), MISTAKES, ids=[start[:60] for _, start in MISTAKES])
def test_each_mistake_is_told_with_its_line_and_what_would_be_valid(text, starts):
    (got,) = told(written(text))
    assert got.startswith(starts)


def test_a_rule_has_either_lanes_or_a_cascade():
    (got,) = told(written(cascade(), "use: cpu"))
    assert got == "7: rule a: a cascade has no `use`: its lanes are `try` and `then`"


def test_a_cascade_needs_two_attempts():
    (got,) = told(written(cascade(), "limits: {attempts: 1}"))
    assert got.startswith("7: rule a: `attempts` (1) leaves none for `then`")
    defaults = "defaults: {limits: {attempts: 1}}\nrules:"
    (got,) = told(written(cascade()).replace("rules:", defaults))
    assert got.startswith("7: rule a: `attempts` (1, inherited) leaves none for `then`")


def test_the_pattern_engine_is_imported_only_where_a_policy_has_a_pattern():
    code = (
        "import sys; from policies.parse import parse; from policies.names import Names; "
        "import router.accept; f = frozenset; "
        "names = Names(f(['cpu', 'accelerator']), f(['p5']), f(['large']), f()); "
        "parse(sys.argv[1], 'p', names); print('re2' in sys.modules)"
    )
    for tests, imported in (("json_valid: true", "False"), ("matches: a", "True")):
        command = [sys.executable, "-c", code, written(cascade(tests))]
        out = subprocess.run(command, capture_output=True, text=True, check=True)
        assert out.stdout.strip() == imported


def test_a_pattern_that_is_wrong_writes_nothing_to_standard_error(capfd):
    with pytest.raises(ValueError, match="missing"):
        pattern("(")
    assert capfd.readouterr().err == ""


# -- who is tried ----------------------------------------------------------------------------------

FACTS = Facts(
    at="2026-01-05T12:00:00.000Z",
    tenant="t",
    team=None,
    key="k",
    tags={},
    task="math",
    tier="heavy",
    complexity=0.5,
    p_small=0.5,
    language="zh-Hant",
    tokens_in=100,
    tokens_out=100,
    may=("pin_model", "pin_fleet"),
)


def fleet(name, lane, **more):
    plain = Told(
        fleet=name,
        model="m",
        lane=lane,
        region="here",
        abilities=frozenset({"json", "logprobs"}),
        context_tokens=1000,
        worst_usd=lambda _: 1.0,
        ttft_p50_ms=100.0,
        ttft_p95_ms=150.0,
        e2e_p50_ms=1000.0,
        e2e_p95_ms=1500.0,
        usd_marginal=1.0,
        usd_average=1.0,
        quality=1.0 if lane == "accelerator" else 0.1,
    )
    return replace(plain, **more)


SMALL, LARGE = fleet("c8g", "cpu"), fleet("p5", "accelerator")
TESTS = (Acceptance("mean_logprob_above", -0.15),)


def verdict_of(*fleets, facts=FACTS, tests=TESTS, **settings):
    use = (frozenset({"cpu"}), frozenset({"accelerator"}))
    rule = Rule("r", (), use, Settings(**settings), accept_if=tests)
    return evaluate(Policy("p", "h", ("m", "p5"), Settings(), (rule,)), facts, fleets)


def order(verdict):
    return [candidate.fleet for candidate in verdict.ranked]


def refusals(verdict):
    return {refused.candidate.fleet: refused.code for refused in verdict.refused}


def test_the_tried_lane_is_exempt_from_the_quality_floor_and_the_other_is_not():
    verdict = verdict_of(LARGE, SMALL)
    assert (order(verdict), verdict.tried) == (["c8g", "p5"], 1)
    verdict = verdict_of(replace(LARGE, quality=0.5), SMALL)
    assert (order(verdict), refusals(verdict)) == (["c8g"], {"p5": "quality_floor"})


def test_it_needs_no_labels_that_prove_the_floor_either():
    unproved = replace(SMALL, by_p_small=True)
    verdict = verdict_of(LARGE, unproved, confidence=0.95)
    assert (order(verdict), verdict.tried) == (["c8g", "p5"], 1)
    verdict = verdict_of(replace(LARGE, by_p_small=True), SMALL, confidence=0.95)
    assert refusals(verdict) == {"p5": "quality_unproved"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"state": "open-circuit"}, "open_circuit"),
        ({"context_tokens": 10}, "context"),
        ({"abilities": frozenset({"json"})}, "needs"),
        ({"e2e_p95_ms": 60001.0}, "slo_ttft"),
        ({"e2e_p95_ms": 2001.0}, "slo_ttft"),
    ],
)
def test_hard_limits_and_objectives_hold_for_it_and_then_the_other_lane_answers(change, code):
    verdict = verdict_of(LARGE, replace(SMALL, **change))
    assert (order(verdict), verdict.tried, refusals(verdict)) == (["p5"], 0, {"c8g": code})


def test_its_first_token_counts_as_coming_with_its_last():
    late = replace(SMALL, ttft_p95_ms=10.0, e2e_p95_ms=2500.0)
    (refused,) = verdict_of(LARGE, late).refused
    assert refused.detail == "first token after 2500 ms (p95), 2000 allowed"
    assert verdict_of(LARGE, late, slo=Slo(2500.0, 2500.0)).tried == 1


def test_log_probabilities_are_asked_only_of_those_who_are_tested_by_them():
    silent = replace(SMALL, abilities=frozenset({"json"}))
    assert verdict_of(LARGE, silent, tests=(Acceptance("json_valid", wanted=True),)).tried == 1
    mute = replace(LARGE, abilities=frozenset())
    assert order(verdict_of(mute, SMALL)) == ["c8g", "p5"]


def test_the_other_lane_is_relaxed_as_if_nobody_were_tried():
    slow = replace(LARGE, ttft_p95_ms=9000.0)
    verdict = verdict_of(slow, SMALL, relax=("slo.ttft",))
    assert (order(verdict), verdict.relaxed) == (["c8g", "p5"], ("slo.ttft",))
    verdict = verdict_of(slow, replace(SMALL, e2e_p95_ms=9000.0), relax=("slo.ttft",))
    assert order(verdict) == ["p5"]  # nobody is tried late


def test_with_nobody_else_left_the_tried_lane_is_relaxed():
    late = replace(SMALL, e2e_p95_ms=9000.0)
    verdict = verdict_of(replace(LARGE, state="cold"), late, relax=("slo.ttft",))
    assert (order(verdict), verdict.tried, verdict.relaxed) == (["c8g"], 1, ("slo.ttft",))


@pytest.mark.parametrize("model", ["m", "m@c8g"])
def test_a_pin_is_served_untested(model):
    verdict = verdict_of(LARGE, SMALL, facts=replace(FACTS, requested_model=model), quality_floor=0)
    assert verdict.tried == 0
    assert "c8g" in order(verdict)
