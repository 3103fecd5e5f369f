"""`shadow` and the budget that pays for it: what is read, what is refused, what its calls obey."""

import copy

import pytest

from policies import evaluate, from_compiled
from policies.cases import Told
from policies.model import SHADOW as TENANT
from policies.model import Budget, Facts, Match, Shadow
from policies.names import Names
from policies.parse import parse
from policies.shadow import shadow_policy
from yamlfile import Invalid

NAMES = Names(
    lanes=frozenset({"cpu", "accelerator"}),
    fleets=frozenset({"c8g", "p5"}),
    models=frozenset({"small", "large", "other", "idle"}),
    regions=frozenset({"here", "there"}),
    model_of={"c8g": "small", "p5": "large", "p5-other": "other"},
    judged=lambda baseline: frozenset({"small"} if baseline == "p5" else ()),
)
PAYING = "{id: sluice-shadow, match: {tenant: sluice-shadow}, usd: 5, per: day, when_spent: reject}"
SHADOW = "{share: 0.01, judge: large, budget: sluice-shadow}"


def text(shadow=SHADOW, *budgets, rule=""):
    """Return a policy: `shadow` on line 4, the first budget on line 7."""
    lines = [
        "version: 1",
        "name: prod",
        "baseline: large@p5",
        *([f"shadow: {shadow}"] if shadow else []),
        "rules:",
        f"  - {{id: rest, use: cpu{rule}}}",
    ]
    lines += [f"budgets: [{budgets[0]}" + "".join(f",\n  {b}" for b in budgets[1:]) + "]"]
    return "\n".join(lines) + "\n"


def read(*written, **more):
    return parse(text(*written, **more), "p.yaml", NAMES)


def told(*written):
    with pytest.raises(Invalid) as caught:
        read(*written)
    return [str(problem).removeprefix("p.yaml:") for problem in caught.value.problems]


def test_shadow_judging_is_read_with_the_budget_that_pays_for_it():
    paying = PAYING.replace("per: day", "per: day, tz: Asia/Shanghai")
    budget = Budget("sluice-shadow", 5.0, "day", "Asia/Shanghai", Match(tenant=TENANT))
    assert read(SHADOW, paying).shadow == Shadow(0.01, "large", budget)
    assert read(SHADOW, PAYING).shadow.budget.tz == "UTC"
    assert budget.nano == 5_000_000_000


def test_its_compiled_form_says_the_same_and_a_policy_without_it_keeps_its_hash():
    policy, other = (
        read(SHADOW, PAYING),
        parse(text(None, "").replace("budgets: []\n", ""), "", NAMES),
    )
    again = from_compiled(policy.compiled)
    assert (again.shadow, again.hash) == (policy.shadow, policy.hash)
    assert other.shadow is None
    assert "shadow" not in other.compiled
    assert policy.hash not in {
        other.hash,
        read(SHADOW.replace("0.01", "0.02"), PAYING).hash,
        read(SHADOW, PAYING.replace("5", "6")).hash,
    }
    assert read(SHADOW, PAYING.replace("5", "5.0")).hash == policy.hash


@pytest.mark.parametrize(
    "spoil",
    [
        lambda c: c.pop("budgets"),
        lambda c: c.update(budgets=[]),
        lambda c: c["budgets"][0].update(id="x"),
        lambda c: c["budgets"][0].update(hard_usd=5.0),
        lambda c: c["budgets"][0].update(match={}),
        lambda c: c["shadow"].pop("share"),
    ],
)
def test_a_compiled_form_that_this_version_would_not_write_is_refused(spoil):
    compiled = copy.deepcopy(read(SHADOW, PAYING).compiled)
    spoil(compiled)
    with pytest.raises(ValueError, match="not a compiled policy"):
        from_compiled(compiled)


MISTAKES = [
    (("{share: 0.01, judge: large}", PAYING), ["4: shadow: `budget` is missing"]),
    (("{share: 2, judge: large, budget: sluice-shadow}", PAYING), ["4: shadow.share: `2` is"]),
    (
        (SHADOW.replace("large", "larg"), PAYING),
        ["4: shadow: unknown model `larg` (did you mean `large`? known: "],
    ),
    (
        (SHADOW.replace("large", "idle"), PAYING),
        ["4: shadow: no fleet serves the judge `idle` (known: large, other, small)"],
    ),
    (
        (SHADOW.replace("large", "small"), PAYING),
        ["4: shadow: `small` can't be the judge: it is one of the small models that are judged"],
    ),
    (
        (SHADOW.replace("-shadow", "-shado"), PAYING),
        ["4: shadow: no budget has the id `sluice-shado` (did you mean `sluice-shadow`?"],
    ),
    ((SHADOW, ""), ["4: shadow: no budget has the id `sluice-shadow` ("]),
    ((SHADOW, PAYING, PAYING), ["8: budget sluice-shadow: this id stands twice"]),
    (
        (SHADOW, PAYING.replace("tenant: sluice-shadow", 'tenant: "*"')),
        ["7: budget sluice-shadow: `match` must be {tenant: sluice-shadow}: it pays for"],
    ),
    (
        (SHADOW, PAYING.replace("match: {", "match: {team: x, ")),
        ["7: budget sluice-shadow: `match` must be {tenant: sluice-shadow}"],
    ),
    (
        (SHADOW, PAYING.replace("reject", "downgrade")),
        ["7: budget sluice-shadow: `when_spent` must be reject: shadow judging stops"],
    ),
    (
        (SHADOW, PAYING.replace("per:", "tz: Asia/Shangai, per:")),
        ["7: budget sluice-shadow: unknown time zone `Asia/Shangai` (such as `Asia/Shanghai`)"],
    ),
    ((SHADOW, PAYING.replace("usd: 5", "usd: 0")), ["7: budgets[0].usd: `0` is"]),
    ((SHADOW, PAYING.replace("usd: 5", "usd: 1.0e+12")), ["7: budgets[0].usd: `1000000000000"]),
    ((SHADOW, PAYING.replace("day", "year")), ["7: budgets[0].per: unknown value `year`"]),
]


@pytest.mark.parametrize(("written", "starts"), MISTAKES, ids=[s[0][:60] for _, s in MISTAKES])
def test_each_mistake_is_told_with_its_line(written, starts):
    got = told(*written)
    assert len(got) == len(starts), got
    for line, start in zip(got, starts, strict=True):
        assert line.startswith(start), got


def test_who_is_a_judged_model_depends_on_the_baseline():
    small = text(SHADOW.replace("large", "small"), PAYING).replace("large@p5", "small@c8g")
    assert parse(small, "p.yaml", NAMES).shadow.judge == "small"


# -- what its calls obey ---------------------------------------------------------------------------

FACTS = Facts(
    at="2026-01-05T12:00:00.000Z", tenant="sluice-shadow", team=None, key="sluice-shadow", tags={},
    task="math", tier="heavy", complexity=1.0, p_small=0.0, language="zh-Hans",
    tokens_in=10, tokens_out=10,
)  # fmt: skip


def candidate(fleet, region="here", **more):
    told = {"fleet": fleet, "model": "large", "lane": "accelerator", "region": region}
    told |= {"abilities": frozenset(), "context_tokens": 100, "worst_usd": lambda _: 1.0}
    told |= {"ttft_p50_ms": 9e6, "ttft_p95_ms": 9e6, "e2e_p50_ms": 9e6, "e2e_p95_ms": 9e6}
    told |= {"usd_marginal": 1.0, "usd_average": 1.0, "quality": 0.1}
    return Told(**told | more)


def decided(rule, *candidates, judging=False):
    policy = read(SHADOW, PAYING, rule=rule)
    fleets = [c.fleet for c in candidates if c.fleet != "elsewhere"]
    own = shadow_policy(policy, policy.rules[0], fleets, judging=judging)
    return own, evaluate(own, FACTS, candidates)


def test_what_is_hard_in_the_rule_holds_whatever_the_request_matched_by():
    rule = ", when: {tenant: crm, tier: simple}, residency: here"
    own, verdict = decided(rule, candidate("p5"), candidate("far", "there"), candidate("elsewhere"))
    assert [c.fleet for c in verdict.ranked] == ["p5"]
    assert [r.code for r in verdict.refused] == ["residency", "not_in_use"]
    assert [budget.id for budget in own.budgets] == ["sluice-shadow"]  # which pays


def test_what_is_soft_in_the_rule_does_not():
    floor = "quality_floor: {at_least: 0.9, confidence: 0.9}"
    _, verdict = decided(f", {floor}, minimize: ttft, slo: {{ttft_p95_ms: 1}}", candidate("p5"))
    assert [c.fleet for c in verdict.ranked] == ["p5"]
    _, strict = decided(", strict: true", candidate("p5", usd_marginal=None))
    assert [r.code for r in strict.refused] == ["unknown_cost"]


def test_its_policy_is_one_attempt_and_a_judge_does_not_think():
    own, _ = decided(", thinking: on, limits: {attempts: 3, deadline_ms: 30000}", candidate("p5"))
    limits = own.rules[0].settings.limits
    assert (limits.attempts, limits.deadline_ms) == (1, 30000)
    assert own.rules[0].settings.thinking == "on"
    judge, _ = decided(", thinking: on", candidate("p5"), judging=True)
    assert judge.rules[0].settings.thinking == "off"
    assert from_compiled(judge.compiled).hash == judge.hash != own.hash
