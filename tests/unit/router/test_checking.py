"""Warnings that take the fleets, their prices or the keys to know, each with its near miss."""

from dataclasses import replace
from pathlib import Path

import pytest

from backends import files
from backends.parse import Source
from policies.odd import KINDS
from router.identity import Key
from router.policy_check import checked

CATALOGUE = files.catalogue(None)
HEAD = "version: 1\nname: p\nbaseline: llama-4-scout@p5-scout\n"


def warned(rule, *, rest="", keys=(), catalogue=CATALOGUE):
    text = f"{HEAD}rules:\n  - {{id: one, {rule}}}\n  - {{id: rest, use: accelerator}}\n{rest}"
    report = checked(Source("p.yaml", text), catalogue, keys=keys)
    assert report.problems == ()
    assert {each.kind for each in report.warnings} <= set(KINDS)
    return [(each.kind, str(each)) for each in report.warnings]


def the_one(found):
    ((kind, said),) = found
    return kind, said


@pytest.mark.parametrize(
    ("rule", "kind", "words"),
    [
        (
            "when: {task: math}, use: accelerator, slo: {ttft_p95_ms: 100}",
            "slo",
            (
                "slo.ttft_p95_ms: no fleet of `use` meets 100 ms even when it is idle: the "
                "fastest, `p5-scout`, takes 180 ms (p95) for the shortest request, and nothing "
                "gives way"
            ),
        ),
        (
            "when: {task: math}, use: accelerator, slo: {ttft_p95_ms: 100}, relax: [slo.ttft]",
            "slo",
            "for the shortest request, so it always gives way",
        ),
        (
            "when: {task: math}, use: p4d-scout, slo: {e2e_p95_ms: 300}",
            "slo",
            "slo.e2e_p95_ms: no fleet of `use` meets 300 ms",
        ),
        (
            "when: {task: math}, use: cpu, quality_floor: 1.01",
            "quality_floor",
            "no fleet of `use` reaches 1.01: the best, `local-qwen3-tiny`, has at most 1, and",
        ),
        (
            "when: {task: math}, use: accelerator, quality_floor: 1.3, relax: quality_floor",
            "quality_floor",
            "has at most 1.22, so it always gives way",
        ),
        (
            "when: {task: math}, use: cpu, residency: us-east-1",
            "residency",
            "residency: no fleet of `use` stands there (they stand in `local`)",
        ),
        (
            "when: {needs: [vision, thinking]}, use: cpu",
            "needs",
            "needs: no fleet of `use` has `thinking` or `vision`: every request is refused",
        ),
        (
            "when: {tokens_in: {above: 2048}}, use: cpu",
            "context",
            "tokens_in: no fleet of `use` holds 2049 tokens (most: 2048)",
        ),
        (
            "when: {task: math}, use: [cpu, accelerator], residency: local, quality_floor: 1.1",
            "no_fleet",
            (
                "no fleet of `use` meets all of its limits: `local-qwen3-tiny` breaks "
                "quality_floor, `p5-scout` breaks residency,"
            ),
        ),
        (
            (
                "when: {task: math}, slo: {ttft_p95_ms: 250}, "
                "cascade: {try: p4d-scout, accept_if: {no_refusal: true}, then: accelerator}"
            ),
            "untried",
            "cascade: no fleet of `try` has its whole answer within `slo` (250 ms), even idle",
        ),
        (
            (
                "when: {task: math}, "
                "cascade: {try: p5-maverick, accept_if: {mean_logprob_above: -1}, then: p5-scout}"
            ),
            "untried",
            "cascade: no fleet of `try` has `logprobs`, which `mean_logprob_above` reads: none",
        ),
        (
            (
                "when: {task: math}, use: accelerator, "
                "hedge: {after: ttft_p95, spend_up_to_usd: 0.0000001}"
            ),
            "hedge_too_dear",
            "hedge: `spend_up_to_usd` (1e-07) pays for no second attempt: one token in and one out",
        ),
    ],
)
def test_a_limit_that_no_fleet_can_meet_is_told_of_with_the_nearest(rule, kind, words):
    said_kind, said = the_one(warned(rule))
    assert said_kind == kind
    assert said.startswith("p.yaml:5: rule one: ")
    assert words in said
    assert not said.endswith(".")


@pytest.mark.parametrize(
    "rule",
    [
        "when: {task: math}, use: accelerator, slo: {ttft_p95_ms: 180}",  # p5-scout's, idle
        "when: {task: math}, use: accelerator, slo: {ttft_p95_ms: null}",
        "when: {task: math}, use: accelerator, quality_floor: 1.22",  # Maverick's, at mathematics
        "when: {task: [math, other]}, use: accelerator, quality_floor: 1.2",
        "when: {task: math}, use: cpu, quality_floor: 1",  # p_small may be 1
        "when: {task: math}, use: cpu, residency: [local, us-east-1]",
        "when: {needs: [vision, json]}, use: cpu",
        "when: {tokens_in: {above: 2047}}, use: cpu",
        "when: {task: math}, use: [cpu, accelerator], residency: local",
        (
            "when: {task: math}, cascade: {try: cpu, accept_if: {mean_logprob_above: -1}, "
            "then: accelerator}"
        ),
        "when: {task: math}, use: accelerator, hedge: {after: ttft_p95, spend_up_to_usd: 0.01}",
    ],
)
def test_a_limit_that_some_fleet_can_meet_is_not_told_of(rule):
    assert warned(rule) == []


def test_what_is_unknown_of_a_fleet_is_no_contradiction():
    unknown = [replace(fleet, profile=None) for fleet in CATALOGUE.fleets]
    catalogue = replace(CATALOGUE, fleets=tuple(unknown))
    rule = "when: {task: math}, use: accelerator, slo: {ttft_p95_ms: 1}"
    assert warned(rule, catalogue=catalogue) == []
    ((kind, said),) = warned("use: cpu, when: {task: math}", rest=spend("5"), catalogue=catalogue)
    assert kind == "no_price"
    assert said.startswith("p.yaml:8: budget b: no fleet has a price")
    soft = spend("5").replace("reject", "alert")
    assert warned("use: cpu, when: {task: math}", rest=soft, catalogue=catalogue) == []


def spend(usd, match="{}"):
    return f"budgets:\n  - {{id: b, match: {match}, usd: {usd}, per: day, when_spent: reject}}\n"


@pytest.mark.parametrize(
    ("usd", "words"),
    [
        ("0.0000001", "budget b: 0.000000100 USD pay for no request: one token in and one out"),
        (
            "0.0001",
            "budget b: 0.000100000 USD pay for no request without `max_tokens`: 4096",
        ),
    ],
)
def test_a_budget_below_every_price_is_told_of(usd, words):
    kind, said = the_one(warned("use: cpu, when: {task: math}", rest=spend(usd)))
    assert kind == "budget_too_small"
    assert said.startswith(f"p.yaml:8: {words}")


def test_a_budget_that_pays_for_one_request_is_not_told_of():
    assert warned("use: cpu, when: {task: math}", rest=spend("0.001")) == []
    short = "use: cpu, when: {task: math}, max_output_tokens: 100"
    assert warned(short, rest=spend("0.0001")) == []


def by_tag(keys, match="{tags: {cost-center: '*'}}"):
    rest = f"rate_limits:\n  - {{id: r, match: {match}, concurrent: 5}}\n"
    budgets, limits = (
        warned("use: cpu, when: {task: math}", rest=part, keys=keys)
        for part in (spend("5", match), rest)
    )
    assert [kind for kind, _ in budgets] == [kind for kind, _ in limits]
    return budgets


def test_a_tag_that_no_key_has_or_allows_is_told_of():
    kind, said = the_one(by_tag([Key("a", "t", tags={"other": "x"})]))
    assert kind == "tag_of_no_key"
    assert said == (
        "p.yaml:8: budget b: tag `cost-center`: no key has it or allows it, so nothing is counted:"
        " `keys create --tag cost-center=VALUE`"
    )
    (named,) = by_tag([Key("a", "t", tags={"cost-center": "y"})], "{tags: {cost-center: x}}")
    assert named[0] == "tag_of_no_key"


def test_a_tag_that_a_key_merely_allows_is_told_of_with_the_keys():
    bound = Key("b", "t", tags={"cost-center": "x"})
    kind, said = the_one(by_tag([bound, Key("a", "t", allowed_tags=("cost-center",))]))
    assert kind == "tag_by_caller"
    assert said == (
        "p.yaml:8: budget b: tag `cost-center`: whoever calls by `a` may leave it out, and isn't"
        " counted then: bind it with `--tag cost-center=VALUE`"
    )
    any_tag = [Key(name, "t", allowed_tags=("*",)) for name in "abcd"]
    assert "by `a`, `b`, `c` and 1 more may" in the_one(by_tag(any_tag))[1]


@pytest.mark.parametrize(
    "keys",
    [
        [],  # none are known: callers may all come with tokens
        [Key("a", "t", tags={"cost-center": "x"})],
        [Key("a", "t", tags={"cost-center": "x"}, allowed_tags=("cost-center",))],
        [Key("a", "t", tags={"cost-center": "x"}), Key("b", "t")],  # another's, not counted
    ],
)
def test_a_tag_that_keys_are_bound_to_is_not_told_of(keys):
    assert by_tag(keys) == []


def test_keys_that_the_budget_does_not_mean_are_not_looked_at():
    free = Key("a", "t", team="other", allowed_tags=("cost-center",))
    bound = Key("b", "t", team="mine", tags={"cost-center": "x"})
    match = "{team: mine, tags: {cost-center: '*'}}"
    assert by_tag([free, bound], match) == []
    assert by_tag([free], match) == []


def test_a_canary_whose_file_is_not_beside_the_policys_is_told_of_where_files_are_known(tmp_path):
    text = (
        f"{HEAD}rules:\n  - {{id: rest, use: accelerator}}\ncanary: {{policy: next, share: 0.1}}\n"
    )
    source = Source("p.yaml", text)
    (told,) = checked(source, CATALOGUE, beside=tmp_path).warnings
    assert told.kind == "no_canary"
    assert "p.yaml:6: canary: there is no `next.yaml` beside it" in str(told)
    assert checked(source, CATALOGUE).warnings == ()
    (tmp_path / "next.yaml").write_text("", "utf-8")
    assert checked(source, CATALOGUE, beside=tmp_path).warnings == ()


def test_every_kind_of_warning_has_a_test_that_it_is_given():
    tests = Path(__file__).parents[1]
    written = "".join(
        path.read_text("utf-8")
        for path in [*tests.glob("policies/test_policy_*.py"), Path(__file__)]
    )
    assert [kind for kind in KINDS if f'"{kind}"' not in written] == []
