"""What shadow judging would call, where, and at what most."""

from dataclasses import replace

import orjson
import pytest

from backends.load import Load
from policies.model import Facts
from router.sampling import ANSWER_BYTES
from router.shadow_plan import LeftOut, Sample, plan_judge, plan_strong
from router.sources import Sources
from router.wire import parse_chat

AT = "2026-01-06T00:00:00.000Z"
FACTS = Facts(
    at="2026-01-05T12:00:00.000Z", tenant="acme", team=None, key="k1", tags={},
    task="math", tier="heavy", complexity=0.5, p_small=0.5, language="zh-Hans", tokens_in=10,
    tokens_out=10, tokens_in_bound=100,
)  # fmt: skip
POLICY = """
version: 1
name: p
baseline: large@base
shadow: {share: 1, judge: critic, budget: b}
budgets: [{id: b, match: {tenant: sluice-shadow}, usd: 1, per: day, when_spent: reject}]
rules: [{id: all, when: {tenant: acme}, use: cpu, max_output_tokens: 50, minimize: ttft}]
"""


def fleet(name, model, lane="accelerator", usd=1.0, kind="openai_http", more=""):
    engine = "emulated" if kind == "emulated" else "vllm"
    price = "" if usd is None else f"usd_per_hour: {usd}, "
    return (
        f"  - {{id: {name}, model: {model}, lane: {lane}, engine: {engine}, kind: {kind}, "
        f'url: "http://127.0.0.1:1/v1", instance: c8g.xlarge, region: nowhere, {price}'
        f"profile: c8g.xlarge/qwen3-0.6b, replicas: {{concurrency_each: 4}}{more}}}\n"
    )


LITTLE, BASE = fleet("one", "little", "cpu"), fleet("base", "large")


@pytest.fixture
def sample(tmp_path):
    def make(*fleets, facts=FACTS, context=40_000, **body):
        models = "".join(
            f"  - {{id: {name}, context_tokens: {context}, abilities: []}}\n"
            for name in ("little", "large", "critic")
        )
        text = f"version: 1\nmodels:\n{models}fleets:\n{''.join(fleets)}"
        (tmp_path / "fleets.yaml").write_text(text)
        (tmp_path / "policy.yaml").write_text(POLICY)
        world = Sources(tmp_path, tmp_path / "fleets.yaml", tmp_path / "policy.yaml").load()
        messages = [{"role": "user", "content": "证明勾股定理"}]
        request = parse_chat(orjson.dumps({"model": "auto", "messages": messages, **body}))
        rule, asked = world.policy.rules[0], world.policy.shadow
        return Sample("req_1", world, asked, request, facts, rule, "little", "one", "SMALL")

    return make


def idle(sample):
    return [Load(committed=on.fleet.replicas.min) for on in sample.world.fleets]


def strong(sample):
    return plan_strong(sample, idle(sample), AT)


def judge(sample, answer=None):
    return plan_judge(sample, answer, idle(sample), AT)


def chosen(planned):
    (attempt,) = planned.decision.plan.attempts
    return attempt.candidate.fleet


def left_out(plan, *given):
    with pytest.raises(LeftOut) as caught:
        plan(*given)
    return caught.value.outcome


def test_the_cheapest_fleet_of_the_model_is_asked_whatever_the_rule_minimizes(sample):
    dear, cheap = fleet("base", "large", usd=9.0), fleet("other", "large", usd=0.1)
    it = sample(LITTLE, dear, cheap, fleet("court", "critic"))
    assert chosen(strong(it)) == "other"
    assert chosen(judge(it)) == "court"


def test_the_most_that_it_costs_is_every_byte_a_token_and_output_at_its_limit(sample):
    it = sample(LITTLE, BASE, fleet("court", "critic"))
    card = it.world.baseline.card
    assert strong(it).worst_nano == card.charge_nano(100, 0, 50)
    assert strong(replace(it, facts=replace(FACTS, max_tokens=7))).worst_nano == card.charge_nano(
        100, 0, 7
    )


def test_no_strong_answer_makes_the_judge_dearer_than_what_was_set_aside(sample):
    it = sample(LITTLE, BASE, fleet("court", "critic"))
    most = judge(it).worst_nano
    for answer in ("x", "文" * (ANSWER_BYTES // 3), "<|" * (ANSWER_BYTES // 2)):
        assert judge(it, answer).worst_nano <= most
    assert judge(it, "x").worst_nano < most


def test_nor_does_a_dearer_fleet_that_takes_the_place_of_the_first_choice(sample):
    it = sample(LITTLE, BASE, fleet("court", "critic"), fleet("dear", "critic", usd=9.0))
    most, answer = judge(it).worst_nano, "<|" * (ANSWER_BYTES // 2)
    assert chosen(judge(it)) == "court"
    loads = idle(it)
    loads[2] = replace(loads[2], state="open-circuit")
    later = plan_judge(it, answer, loads, AT)
    assert chosen(later) == "dear"
    (attempt,) = later.decision.plan.attempts
    facts = later.decision.facts
    card = attempt.candidate.on.card
    assert card.charge_nano(facts.tokens_in_bound, 0, facts.max_tokens) <= most


def test_fleets_without_a_price_are_not_asked(sample):
    free = fleet("court", "critic", usd=None)
    assert left_out(judge, sample(LITTLE, BASE, free)) == "no_price"
    assert chosen(judge(sample(LITTLE, BASE, free, fleet("paid", "critic")))) == "paid"


def test_emulated_fleets_are_not_asked(sample):
    emulated = fleet("court", "critic", kind="emulated")
    assert left_out(judge, sample(LITTLE, BASE, emulated)) == "emulated"
    assert chosen(judge(sample(LITTLE, BASE, emulated, fleet("real", "critic")))) == "real"


def test_what_does_not_fit_or_may_not_be_asked_is_left_out(sample):
    court = fleet("court", "critic")
    assert left_out(strong, sample(LITTLE, BASE, court, facts=replace(FACTS, tokens_in=9**9))) == (
        "infeasible"
    )
    small = sample(LITTLE, BASE, court, context=700)
    assert left_out(judge, small, "x " * 900) == "infeasible"
    for rights in ({"lanes": ("cpu",)}, {"models": ("little", "critic")}):
        it = sample(LITTLE, BASE, court, facts=replace(FACTS, **rights))
        assert left_out(strong, it) == "infeasible"
    it = sample(LITTLE, BASE, court, facts=replace(FACTS, models=("little", "large")))
    assert left_out(judge, it) == "infeasible"
    assert left_out(strong, sample(LITTLE, BASE, court, facts=replace(FACTS, needs=("json",)))) == (
        "infeasible"
    )


def test_the_baselines_model_elsewhere_is_not_asked_where_it_is_a_small_one(sample):
    cheap = fleet("cheap", "large", "cpu", usd=0.01)
    assert chosen(strong(sample(LITTLE, BASE, cheap, fleet("court", "critic")))) == "base"


def test_the_same_sample_is_planned_in_the_same_way(sample):
    it = sample(LITTLE, BASE, fleet("court", "critic"))
    assert judge(it, "x").request == judge(it, "x").request
    assert judge(it, "x").world.policy.hash == judge(it, "y").world.policy.hash
    assert judge(it, "x").world.policy.hash != strong(it).world.policy.hash
    assert "response_format" not in judge(it).request.body


def test_nothing_that_is_shown_of_a_plan_or_a_sample_quotes_it(sample):
    it = sample(LITTLE, BASE, fleet("court", "critic"))
    for value in (it, strong(it), judge(it, "STRONG"), LeftOut("x")):
        for text in ("SMALL", "STRONG", "勾股"):
            assert text not in repr(value)
