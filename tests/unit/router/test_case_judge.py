"""Prompts in cases: judged by the real classifier, and never repeated."""

import pytest

from backends import files
from backends.parse import Source
from policies.cases import read_cases
from policies.check import check
from router.case_judge import case_judge
from router.policy_check import results_of
from router.sources import names_of
from yamlfile import Invalid

CATALOGUE = files.catalogue(None)
POLICY = check(
    files.packaged("policies", "default.yaml").text, "default.yaml", names_of(CATALOGUE)
).policy
JUDGE = case_judge()
TICKET = "把这条工单分类为 billing、technical 或 shipping：我的订单被重复扣款了"


def cases_text(*cases):
    return "version: 1\ncases:\n" + "".join(
        f"  - {{name: c{i}, {c}}}\n" for i, c in enumerate(cases)
    )


def result(case):
    (found,) = results_of(POLICY, Source("c.yaml", cases_text(case)), CATALOGUE)
    return found


@pytest.mark.parametrize(
    ("prompt", "language"),
    [
        ("Classify this ticket as billing, technical or shipping: I was charged twice", "en"),
        (TICKET, "zh-Hans"),
        ("這則評論是正面還是負面？「東西很好，物流太慢」", "zh-Hant"),
    ],
)
def test_a_prompt_is_judged_as_the_router_judges_it(prompt, language):
    (case,) = read_cases(cases_text(f"prompt: '{prompt}', expect: {{rule: x}}"), "c.yaml", JUDGE)
    assert (case.facts.tier, case.facts.language) == ("simple", language)
    assert case.facts.tokens_in > 5
    assert case.facts.tokens_in_bound >= len(prompt.encode())
    assert prompt not in repr(case)


def test_messages_are_judged_whole_and_images_are_seen():
    image = "{type: image_url, image_url: {url: 'data:image/png;base64,AA'}}"
    content = f"[{{type: text, text: 这是什么}}, {image}]"
    case = f"messages: [{{role: user, content: {content}}}], expect: {{rule: x}}"
    (found,) = read_cases(cases_text(case), "c.yaml", JUDGE)
    assert "vision" in found.facts.needs


def test_facts_that_are_written_stand_above_what_is_judged():
    written = "facts: {language: en, tags: {data: private}, p_small: 0.1}"
    found = result(f"prompt: {TICKET}, {written}, expect: {{rule: private, lane: cpu}}")
    assert found.failures == ()
    assert (found.case.facts.language, found.case.facts.p_small) == ("en", 0.1)
    assert found.case.facts.task == "classification"


def test_the_cost_at_most_is_what_the_first_attempt_is_expected_to_be_charged():
    card = next(on for on in CATALOGUE.fleets if on.id == "p5-scout")
    assert card is not None
    facts = (
        "facts: {tier: heavy, tokens_in: 1000, tokens_out: 100}, given: {trn2-scout: {state: cold}}"
    )
    good = result(f"{facts}, expect: {{usd_at_most: 1}}")
    assert good.failures == ()
    (said,) = result(f"{facts}, expect: {{usd_at_most: 0}}").failures
    assert said.startswith("usd_at_most: expected at most 0, got 0.0")
    usd = float(said.split("got ")[1].split()[0])
    assert result(f"{facts}, expect: {{usd_at_most: {usd:.9f}}}").failures == ()
    assert result(f"{facts}, expect: {{usd_at_most: {usd - 1e-9:.9f}}}").failures != ()
    double = facts.replace("tokens_out: 100", "tokens_out: 100, n: 2")
    assert result(f"{double}, expect: {{usd_at_most: {usd:.9f}}}").failures != ()


def test_an_output_limit_bounds_the_expected_cost():
    facts = "facts: {tier: heavy, tokens_out: 4000, max_tokens: MOST}, expect: {usd_at_most: 0}"
    long, short = (
        float(result(facts.replace("MOST", most)).failures[0].split("got ")[1].split()[0])
        for most in ("4000", "10")
    )
    assert short < long


def test_a_cost_that_nobody_knows_is_not_at_most_anything():
    nobody = "facts: {tags: {data: private}}, given: {cpu: {state: cold}}"
    (said,) = result(f"{nobody}, expect: {{usd_at_most: 5}}").failures
    assert said.startswith("usd_at_most: expected at most 5, got none (nobody serves")
    seen = "facts: {tier: heavy, needs: [vision]}, expect: {usd_at_most: 5}"
    assert "got none" in result(seen).failures[0]


SECRET = "the-secret-prompt"


@pytest.mark.parametrize(
    ("case", "told"),
    [
        (f"prompt: {SECRET}, messages: [{{role: user, content: {SECRET}}}]", "give `prompt` or"),
        (f"prompt: [{SECRET}]", "cases[0].prompt: this value is not a text"),
        (f"messages: {SECRET}", "cases[0].messages: this value is not a list"),
        (f"messages: [{SECRET}]", "cases[0].messages[0]: this value is not a mapping"),
        ("messages: []", "cases[0].messages: is empty"),
        ("prompt: ''", "cases[0].prompt: is empty"),
        (f"messages: [{{role: user, content: 5, x: {SECRET}}}]", "cases[0].messages: "),
        (f"messages: [{{content: {SECRET}}}]", "cases[0].messages: "),
    ],
)
def test_a_prompt_that_is_wrong_is_told_with_its_line_and_not_repeated(case, told):
    with pytest.raises(Invalid) as caught:
        read_cases(cases_text(f"{case}, expect: {{rule: x}}"), "c.yaml", JUDGE)
    (problem,) = caught.value.problems
    assert problem.where == "c.yaml:3"
    assert told in problem.message
    assert SECRET not in str(problem)


def test_a_prompt_where_nothing_judges_is_told_of():
    with pytest.raises(Invalid) as caught:
        read_cases(cases_text(f"prompt: {SECRET}, expect: {{rule: x}}"), "c.yaml")
    assert "nothing judges prompts here" in str(caught.value)
    assert SECRET not in str(caught.value)
