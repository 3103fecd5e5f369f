"""The policies that ship: each is accepted, and decides what its cases say."""

from dataclasses import replace
from importlib.resources import files
from itertools import product

import pytest

import yamlfile
from policies.case_names import Known
from policies.cases import Told, read_cases, run_cases
from policies.check import check
from policies.evaluate import evaluate
from policies.names import Names
from router.case_judge import case_judge

SCOUT, MAVERICK, TINY = "llama-4-scout", "llama-4-maverick", "qwen3-tiny"
# Stand-ins for the embedded fleets: model, TTFT ms, ITL ms, $/token at the margin, on average
FLEETS = {
    "local-qwen3-tiny": (TINY, 600, 27.6, 0.0, 1e-6),
    "p5-scout": (SCOUT, 120, 8, 1e-6, 2e-4),
    "p4d-scout": (SCOUT, 280, 18, 8e-7, 1e-4),
    "g6e-scout": (SCOUT, 350, 22, 3e-6, 3e-4),
    "trn2-scout": (SCOUT, 150, 10, 0.0, 1.2e-4),
    "inf2-scout": (SCOUT, 200, 14, 2e-7, 5e-5),
    "p5-maverick": (MAVERICK, 250, 12, 1e-5, 3e-4),
    "trn2-maverick": (MAVERICK, 300, 15, 9e-6, 2e-4),
}
NAMES = Names(
    lanes=frozenset({"cpu", "accelerator"}),
    fleets=frozenset(FLEETS),
    models=frozenset({SCOUT, MAVERICK, TINY}),
    regions=frozenset({"local", "us-east-1"}),
    model_of={fleet: row[0] for fleet, row in FLEETS.items()},
)
JUDGE = case_judge()
EDGE = {"reasoning": 1.22, "math": 1.22, "code": 1.32}  # of Maverick over Scout


def candidates(facts):
    def told(fleet, model, ttft_ms, itl_ms, usd_marginal, usd_average):
        small = model == TINY
        e2e_ms = ttft_ms + itl_ms * facts.tokens_out
        tokens = facts.tokens_in + facts.tokens_out
        return Told(
            fleet=fleet,
            model=model,
            lane="cpu" if small else "accelerator",
            region="local" if small else "us-east-1",
            abilities=frozenset({"json", "logprobs"} if small else {"json", "tools", "vision"}),
            context_tokens=2048 if small else 430_000,
            worst_usd=lambda limit: usd_average * (facts.tokens_in + limit),
            charge_usd=lambda limit: usd_average * (facts.tokens_in + min(facts.tokens_out, limit)),
            ttft_p50_ms=ttft_ms,
            ttft_p95_ms=1.5 * ttft_ms,
            e2e_p50_ms=e2e_ms,
            e2e_p95_ms=1.5 * e2e_ms,
            usd_marginal=usd_marginal * tokens,
            usd_average=usd_average * tokens,
            quality={TINY: facts.p_small, SCOUT: 1.0}.get(model, EDGE.get(facts.task, 1.08)),
        )

    return [told(fleet, *row) for fleet, row in FLEETS.items()]


FOLDER = files("policies")
EXAMPLES = sorted(
    entry.name for entry in FOLDER.joinpath("examples").iterdir() if entry.name.endswith(".yaml")
)
SHIPPED = ["default.yaml", *EXAMPLES]


def text_of(name):
    place = FOLDER if name == "default.yaml" else FOLDER.joinpath("examples")
    return place.joinpath(name).read_text("utf-8")


def cases_of(name):
    text = FOLDER.joinpath("tests", name).read_text("utf-8")
    known = Known(policy_of(name), NAMES)
    return read_cases(text, f"policies/tests/{name}", JUDGE, known)


def policy_of(name):
    return check(text_of(name), name, NAMES).policy


def test_there_is_a_policy_for_every_need_of_the_guide():
    assert {name.removesuffix(".yaml") for name in EXAMPLES} == {
        "balanced",
        "burst",
        "cascades",
        "chinese-customer-service",
        "deferrable-night-work",
        "hedges",
        "lowest-cost",
        "lowest-latency",
        "maverick-where-it-pays",
        "private-data",
        "shadow-judging",
    }


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_policy_is_accepted_without_a_warning(name):
    report = check(text_of(name), name, NAMES)
    assert [str(problem) for problem in (*report.problems, *report.warnings)] == []
    assert report.policy.name == name.removesuffix(".yaml")
    assert text_of(name).isascii()


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_policy_decides_what_its_cases_say(name):
    results = run_cases(policy_of(name), cases_of(name), candidates)
    failed = [
        f"{r.case.where}: {r.case.name}: {failure}" for r in results for failure in r.failures
    ]
    assert failed == []


@pytest.mark.parametrize("name", SHIPPED)
def test_the_cases_reach_every_rule_in_english_and_in_both_chinese_scripts(name):
    policy, cases = policy_of(name), cases_of(name)
    reached = {evaluate(policy, case.facts, []).rule.id for case in cases}
    assert reached == {rule.id for rule in policy.rules}
    assert {"en", "zh-Hans", "zh-Hant"} <= {case.facts.language for case in cases}


def test_every_rule_of_the_default_has_prompts_in_english_and_in_both_chinese_scripts():
    text = FOLDER.joinpath("tests", "default.yaml").read_text("utf-8")
    asked = {
        case["name"]
        for case in yamlfile.parse(text, "default.yaml").value["cases"]
        if {"prompt", "messages"} & case.keys()
    }
    cases = [case for case in cases_of("default.yaml") if case.name in asked]
    policy = policy_of("default.yaml")
    languages = {"en", "zh-Hans", "zh-Hant"}
    assert {
        (evaluate(policy, case.facts, []).rule.id, case.facts.language) for case in cases
    } >= set(product([rule.id for rule in policy.rules], languages))


@pytest.mark.parametrize("name", SHIPPED)
def test_which_chinese_script_is_written_changes_no_decision(name):
    policy = policy_of(name)
    for case in cases_of(name):
        if case.facts.language in {"zh-Hans", "zh-Hant"}:
            verdicts = [
                evaluate(policy, replace(case.facts, language=script), candidates(case.facts))
                for script in ("zh-Hans", "zh-Hant")
            ]
            first, second = ([c.fleet for c in verdict.ranked] for verdict in verdicts)
            assert first == second
