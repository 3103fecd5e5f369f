"""Case files: read, run, and every way in which one fails."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from policies.case_names import Known
from policies.cases import Told, facts_of, read_cases, run_cases
from policies.evaluate import CLOSED, CODES
from policies.names import Names
from policies.parse import parse
from yamlfile import Invalid

NAMES = Names(
    frozenset({"cpu", "gpu"}), frozenset({"c", "g1", "g2"}), frozenset({"s", "b"}), frozenset()
)
POLICY = parse(
    """\
version: 1
name: p
baseline: b@g1
defaults: {relax: [slo.ttft]}
rules:
  - {id: simple, when: {tier: simple}, use: {in_order: [cpu, gpu]}}
  - {id: none-for-math, when: {task: math}, use: cpu}
  - {id: code, when: {task: code}, use: gpu}
""",
    "p.yaml",
    NAMES,
)


def candidates(facts):
    def told(fleet, model, lane, quality, usd):
        return Told(
            fleet,
            model,
            lane,
            "here",
            frozenset(),
            1000,
            lambda limit: usd * limit,
            ttft_p95_ms=100.0,
            usd_marginal=usd,
            usd_average=usd,
            quality=quality,
        )

    return [
        told("c", "s", "cpu", facts.p_small, 1.0),
        told("g1", "b", "gpu", 1.0, 3.0),
        told("g2", "b", "gpu", 1.0, 2.0),
    ]


def failures(case):
    text = f"version: 1\ncases:\n  - {{name: it, {case}}}\n"
    read = read_cases(text, "c.yaml", known=Known(POLICY, NAMES))
    (result,) = run_cases(POLICY, read, candidates)
    return list(result.failures)


@pytest.mark.parametrize(
    "case",
    [
        "expect: {rule: simple, lane: cpu, fleet: c, model: s, relaxed: []}",
        "facts: {p_small: 0.5}, expect: {fleet: g2, refused: {cpu: quality_floor}}",
        "facts: {tier: heavy, task: math}, expect: {refused: quality_floor}",
        "facts: {tier: heavy, task: other}, expect: {rule: null, refused: no_rule}",
        "given: {c: {state: cold}}, expect: {fleet: g2, refused: {c: cold}}",
        (
            "given: {c: {state: cold}, gpu: {usd_marginal: 9}, g1: {usd_marginal: 1}},"
            " expect: {fleet: g1}"
        ),
        (
            "given: {c: {state: cold}, g1: {usd_marginal: 1}, gpu: {usd_marginal: 9}},"
            " expect: {fleet: g1}"
        ),
        "given: {cpu: {ttft_p95_ms: null}}, expect: {fleet: c, relaxed: []}",
        (
            "given: {cpu: {ttft_p95_ms: 9000}, gpu: {ttft_p95_ms: 9000}},"
            " expect: {fleet: c, relaxed: [slo.ttft]}"
        ),
        "facts: {max_usd: 100, max_tokens: 60}, expect: {fleet: c, refused: {gpu: max_usd}}",
        (
            "facts: {requested_model: b@g1, may: [pin_fleet]},"
            " expect: {fleet: g1, refused: {g2: not_in_use, cpu: not_in_use}}"
        ),
        (
            "given: {gpu: {state: cold}, g1: {state: draining}},"
            " expect: {refused: {gpu: cold, g1: draining}}"
        ),
        (
            "given: {gpu: {state: cold}, g1: {state: draining}},"
            " expect: {refused: {g1: draining, gpu: cold}}"
        ),
    ],
)
def test_a_case_that_is_right_has_no_failures(case):
    assert failures(case) == []


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("expect: {rule: code}", ["rule: expected code, got simple (c serves)"]),
        ("expect: {rule: null}", ["rule: expected none, got simple (c serves)"]),
        ("expect: {lane: gpu}", ["lane: expected gpu, got cpu (c serves)"]),
        ("expect: {fleet: g1}", ["fleet: expected g1, got c (c serves)"]),
        ("expect: {model: b}", ["model: expected b, got s (c serves)"]),
        (
            "expect: {relaxed: [slo.ttft]}",
            ["relaxed: expected [slo.ttft], got none (c serves)"],
        ),
        ("expect: {refused: cold}", ["refused: expected cold, got none (c serves)"]),
        (
            "facts: {p_small: 0}, expect: {refused: quality_floor}",
            ["refused: expected quality_floor, got [quality_floor] (g2 serves)"],
        ),
        (
            "facts: {tier: heavy, task: math}, expect: {refused: cold}",
            [
                (
                    "refused: expected cold, got [not_in_use, quality_floor]"
                    " (nobody serves: c: quality_floor, g1: not_in_use, g2: not_in_use)"
                )
            ],
        ),
        (
            "facts: {tier: heavy, task: math}, expect: {lane: cpu}",
            [
                (
                    "lane: expected cpu, got none"
                    " (nobody serves: c: quality_floor, g1: not_in_use, g2: not_in_use)"
                )
            ],
        ),
        (
            "expect: {refused: {gpu: cold}}",
            ["refused: expected {gpu: cold}, got {g2: serves, g1: serves} (c serves)"],
        ),
        ("expect: {rule: code, lane: gpu}", ["rule: ", "lane: "]),
    ],
)
def test_a_case_that_is_wrong_says_what_was_expected_and_what_came(case, told):
    got = failures(case)
    assert len(got) == len(told), got
    assert all(line.startswith(start) for line, start in zip(got, told, strict=True)), got


def test_a_cost_is_told_as_a_bound_without_an_exponent():
    told = [replace(each, charge_usd=lambda _: 0.000014936) for each in candidates(facts_of({}))]
    text = "version: 1\ncases:\n  - {name: it, expect: {usd_at_most: 1.0e-8}}\n"
    (result,) = run_cases(POLICY, read_cases(text, "c.yaml"), lambda _: told)
    assert result.failures == (
        "usd_at_most: expected at most 0.00000001, got 0.000014936 (c serves)",
    )


@pytest.mark.parametrize(
    ("case", "told"),
    [
        (
            "expect: {rule: simpel, lane: cpu}",
            ".expect.rule: unknown rule `simpel` (did you mean `simple`? known: code, none-for-",
        ),
        ("expect: {lane: gpo}", ".expect.lane: unknown lane `gpo` (did you mean `gpu`? known: cpu"),
        ("expect: {lane: g1}", ".expect.lane: unknown lane `g1` ("),
        ("expect: {then: gpo}", ".expect.then: unknown lane `gpo` (did you mean `gpu`?"),
        ("expect: {fleet: trn2}", ".expect.fleet: unknown fleet `trn2` (known: c, g1, g2)"),
        ("expect: {model: x}", ".expect.model: unknown model `x` (known: b, s)"),
        ("expect: {refused: busy}", ".expect.refused: unknown code `busy` (known: at_limit, cold"),
        (
            "expect: {refused: {cpu: open_circut}}",
            ".expect.refused.cpu: unknown code `open_circut` (did you mean `open_circuit`?",
        ),
        (
            "expect: {refused: {npu: cold}}",
            ".expect.refused.npu: unknown lane or fleet `npu` (did you mean `gpu`? known: c, cpu",
        ),
        (
            "given: {tpu: {state: cold}}, expect: {lane: cpu}",
            ".given.tpu: unknown lane or fleet `tpu` (did you mean `gpu`? known: c, cpu, g1, g2,",
        ),
    ],
)
def test_a_name_that_nothing_has_is_a_mistake_in_the_file(case, told):
    text = f"version: 1\ncases:\n  - {{name: it, {case}}}\n"
    with pytest.raises(Invalid) as caught:
        read_cases(text, "c.yaml", known=Known(POLICY, NAMES))
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"c.yaml:3: cases[0]{told}")


def test_every_code_that_is_given_is_known_and_explained():
    written = Path("policies/evaluate.py").read_text("utf-8").partition("def evaluate(")[2]
    given = set(re.findall(r'(?:return |\()"([a-z_0-9]+)", ', written))
    assert given | set(CLOSED.values()) == CODES
    page = Path("docs/policies.md").read_text("utf-8").partition("## Why a fleet was refused")[2]
    rows = [line.split("|")[1] for line in page.partition("\n## ")[0].splitlines() if "|" in line]
    assert {code for row in rows for code in re.findall("`(.*?)`", row)} == CODES


def test_results_keep_the_order_the_names_and_the_lines_of_the_file():
    text = (
        "version: 1\ncases:\n  - name: 第一\n    expect: {lane: cpu}\n"
        "\n  - name: second\n    expect: {lane: gpu}\n"
    )
    results = run_cases(POLICY, read_cases(text, "c.yaml"), candidates)
    assert [(r.case.name, r.case.where, bool(r.failures)) for r in results] == [
        ("第一", "c.yaml:3", False),
        ("second", "c.yaml:6", True),
    ]


def test_facts_left_out_are_those_of_a_short_plain_request():
    plain = facts_of({})
    assert (plain.tier, plain.language, plain.task) == ("simple", "en", "other")
    assert plain.p_small > facts_of({"tier": "heavy"}).p_small
    assert plain.complexity < facts_of({"tier": "heavy"}).complexity
    assert facts_of({"tier": "heavy", "p_small": 0.9}).p_small == 0.9
    assert facts_of({"needs": ["json"], "lanes": []}).needs == ("json",)
    assert facts_of({"lanes": []}).lanes == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "c.yaml:1: the file is empty"),
        ("version: 1\n", "c.yaml:1: `cases` is missing"),
        ("version: 1\ncases: []\n", "c.yaml:2: cases: is empty"),
        ("version: 1\ncases:\n- {name: a}\n", "c.yaml:3: cases[0]: `expect` is missing"),
        (
            "version: 1\ncases:\n- {name: a, expect: {}}\n",
            "c.yaml:3: cases[0].expect: is empty",
        ),
        (
            "version: 1\ncases:\n- name: a\n  expect: {lain: cpu}\n",
            "c.yaml:4: cases[0].expect: unknown key `lain` (did you mean `lane`?",
        ),
        (
            "version: 1\ncases:\n- name: a\n  facts: {tokens: 5}\n  expect: {lane: cpu}\n",
            "c.yaml:4: cases[0].facts: unknown key `tokens` (did you mean `tokens_in`?",
        ),
        (
            "version: 1\ncases:\n- name: a\n  facts: {at: noon}\n  expect: {lane: cpu}\n",
            "c.yaml:4: cases[0].facts.at: `noon` is not a UTC time such as 2026-01-05T12:00:00Z",
        ),
        (
            (
                "version: 1\ncases:\n- name: a\n  facts: {at: 2026-02-30T00:00:00Z}\n"
                "  expect: {lane: cpu}\n"
            ),
            "c.yaml:4: `2026-02-30T00:00:00Z` is not a date and time",
        ),
        (
            (
                "version: 1\ncases:\n- {name: a, expect: {lane: cpu}}\n"
                "- {name: a, expect: {lane: cpu}}\n"
            ),
            "c.yaml:4: case `a` stands here twice",
        ),
        (
            "version: 1\ncases:\n- name: a\n  given: {cpu: {price: 5}}\n  expect: {lane: cpu}\n",
            "c.yaml:4: cases[0].given.cpu: unknown key `price` (known: by_p_small, e2e_p50_ms,",
        ),
    ],
)
def test_a_case_file_with_a_mistake_is_refused_with_its_line(text, told):
    with pytest.raises(Invalid) as caught:
        read_cases(text, "c.yaml")
    (problem,) = caught.value.problems
    assert str(problem).startswith(told)
