"""Hedges in a policy: how they are written, what they compile to, which mistakes are told."""

import pytest

from policies import Names, from_compiled
from policies.model import Hedge
from policies.parse import parse
from yamlfile import Invalid

NAMES = Names(
    frozenset({"cpu", "accelerator"}),
    frozenset({"c8g", "p5"}),
    frozenset({"small", "large"}),
    frozenset({"here"}),
)
HEAD = "version: 1\nname: p\nbaseline: large@p5\nrules:\n  - id: a\n    use: cpu\n"  # six lines
HEDGE = "hedge: {after: ttft_p95, spend_up_to_usd: 0.002}"


def written(*lines, after=""):
    return HEAD + "".join(f"    {line}\n" for line in lines) + after


def read(*lines):
    return parse(written(*lines), "p.yaml", NAMES)


def told(text):
    with pytest.raises(Invalid) as caught:
        parse(text, "p.yaml", NAMES)
    return [problem.partition(":")[2] for problem in str(caught.value).splitlines()]


@pytest.mark.parametrize(("after", "after_ms"), [("ttft_p95", None), ("300", 300)])
def test_a_hedge_survives_its_compiled_form(after, after_ms):
    policy = read(f"hedge: {{after: {after}, spend_up_to_usd: 1}}")
    assert policy.rules[0].hedge == Hedge(after_ms, 1.0)
    again = from_compiled(policy.compiled)
    assert again == policy
    assert again.hash != read().hash


def test_a_rule_without_one_compiles_as_it_always_did():
    policy = read()
    assert policy.rules[0].hedge is None
    assert "hedge" not in policy.compiled["rules"][0]


@pytest.mark.parametrize(
    ("lines", "starts"),
    [
        (["hedge: {after: ttft_p95}"], "7: rules[0].hedge: `spend_up_to_usd` is missing"),
        (["hedge: {spend_up_to_usd: 1}"], "7: rules[0].hedge: `after` is missing"),
        (["hedge: {after: ttft_p95, spend_up_to_usd: 0}"], "7: rules[0].hedge.spend_up_to_usd: `0"),
        (["hedge: {after: 0, spend_up_to_usd: 1}"], "7: rules[0].hedge.after: `0` is below 1"),
        (["hedge: {after: p95, spend_up_to_usd: 1}"], "7: rules[0].hedge.after: `p95` is not `ttf"),
        (
            [HEDGE, "slo: {ttft_p95_ms: null}"],
            "7: rule a: hedge: the rule has no `slo.ttft_p95_ms`, which a hedge is to keep",
        ),
        (
            ["hedge: {after: 2000, spend_up_to_usd: 1}"],
            "7: rule a: hedge: `after` (2000) must be below `slo.ttft_p95_ms` (2000)",
        ),
        (
            [
                "hedge: {after: 1000, spend_up_to_usd: 1}",
                "limits: {ttft_timeout_ms: 1000}",
            ],
            "7: rule a: hedge: `after` (1000) must be below `ttft_timeout_ms` (1000)",
        ),
        (
            [HEDGE, "limits: {attempts: 1}"],
            "8: rule a: hedge: `attempts` (1) leaves none for it: write 2",
        ),
    ],
)
def test_each_mistake_is_told_with_its_line(lines, starts):
    (got,) = told(written(*lines))
    assert got.startswith(starts)


def test_attempts_that_are_inherited_are_told_at_the_hedge():
    text = written(HEDGE).replace("rules:", "defaults: {limits: {attempts: 1}}\nrules:")
    (got,) = told(text)
    assert got.startswith("8: rule a: hedge: `attempts` (1, inherited) leaves none for it")


def test_a_cascade_has_no_hedge():
    cascade = "cascade: {try: cpu, accept_if: {json_valid: true}, then: accelerator}"
    (got,) = told(written(cascade, HEDGE).replace("    use: cpu\n", ""))
    assert got.startswith("7: rule a: hedge: a cascade holds its first answer")


@pytest.mark.parametrize(
    ("budget", "above"),
    [
        ("match: {}, usd: 0.001, per: day, when_spent: reject", True),
        ("match: {}, usd: 0.002, per: day, when_spent: reject", False),
        ('match: {key: "*"}, usd: 0.001, per: day, when_spent: reject', True),
        ("match: {}, usd: 0.001, hard_usd: 0.002, per: day, when_spent: downgrade", False),
        ("match: {}, usd: 0.001, per: day, when_spent: alert", False),
        ("match: {tenant: shop}, usd: 0.001, per: day, when_spent: reject", False),
        ('match: {team: "*"}, usd: 0.001, per: day, when_spent: reject', False),
    ],
)
def test_a_hedge_that_may_spend_more_than_a_budget_of_everybody_has_is_refused(budget, above):
    text = written(HEDGE, after=f"budgets: [{{id: all, {budget}}}]\n")
    if not above:
        assert parse(text, "p.yaml", NAMES).rules[0].hedge
        return
    (got,) = told(text)
    said = "`spend_up_to_usd` (0.002) is above all of budget `all` (0.001)"
    assert got == f"7: rule a: hedge: {said}"


@pytest.mark.parametrize(
    ("limits", "starts"),
    [
        ("attempts: 0", "7: rules[0].limits.attempts: `0`"),
        ("deadline_ms: 0", "7: rules[0].limits.deadline_ms: `0`"),
        ("ttft_timeout_ms: 0", "7: rules[0].limits.ttft_timeout_ms: `0`"),
        ("inter_chunk_timeout_ms: 0", "7: rules[0].limits.inter_chunk_timeout_ms: `0`"),
        ("ttft_timeout_ms: 120001", "7: rule a: `ttft_timeout_ms` (120001) is above `deadline_ms`"),
        ("inter_chunk_timeout_ms: 120001", "7: rule a: `inter_chunk_timeout_ms` (120001) is above"),
    ],
)
def test_limits_that_leave_no_time_or_no_try_are_told(limits, starts):
    (got,) = told(written(f"limits: {{{limits}}}"))
    assert got.startswith(starts)
