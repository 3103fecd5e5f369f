"""Text of a policy -> Policy, or every mistake with its file:line."""

import pytest

from policies.model import Breaker, Limits, Policy, Settings, Slo
from policies.names import Names
from policies.parse import parse
from yamlfile import Invalid

NAMES = Names(
    lanes=frozenset({"cpu", "accelerator"}),
    fleets=frozenset({"c8g-qwen3", "p5-scout", "trn2-scout"}),
    models=frozenset({"qwen3-0.6b", "llama-4-scout", "llama-4-maverick"}),
    regions=frozenset({"us-east-1", "cn-north-1"}),
    model_of={
        "c8g-qwen3": "qwen3-0.6b",
        "p5-scout": "llama-4-scout",
        "trn2-scout": "llama-4-scout",
    },
)
HEAD = "version: 1\nname: prod\nbaseline: llama-4-scout@p5-scout\n"  # three lines
REST = "  - {id: rest, use: cpu}\n"
LARGE = f"""defaults:
  limits:
    attempts: {10**20}
    breaker: {{failures: {10**20}, open_ms: 1}}
"""


def read(text: str) -> Policy:
    return parse(text, "policies/prod.yaml", NAMES)


SPENT = "per: day, when_spent: alert"


def told(text: str) -> list[str]:
    with pytest.raises(Invalid) as caught:
        read(text)
    return [str(problem).removeprefix("policies/prod.yaml:") for problem in caught.value.problems]


def rule(*lines: str) -> str:
    """One rule `a` that starts on line 5, with these lines from line 6 on, and a catch-all."""
    body = "".join(f"    {line}\n" for line in lines)
    return f"{HEAD}rules:\n  - id: a\n{body}{REST}"


def test_the_smallest_policy_takes_every_setting_from_the_contract():
    policy = read(f"{HEAD}rules:\n{REST}")
    assert policy.name == "prod"
    assert policy.baseline == ("llama-4-scout", "p5-scout")
    assert policy.defaults == Settings(
        minimize="marginal_cost",
        quality_floor=0.85,
        slo=Slo(2000.0, 60000.0),
        max_output_tokens=4096,
        limits=Limits(120_000, 20_000, 15_000, 3, Breaker(5, 10_000)),
        relax=(),
        strict=False,
        thinking=None,
    )
    (only,) = policy.rules
    assert (only.id, only.when, only.use) == ("rest", (), (frozenset({"cpu"}),))
    assert (only.residency, only.settings) == (None, policy.defaults)


def test_defaults_replace_key_by_key():
    policy = read(
        HEAD + "defaults:\n"
        "  minimize: e2e\n"
        "  quality_floor: {at_least: 0.5}\n"
        "  slo: {e2e_p95_ms: 9000}\n"
        "  max_output_tokens: 100\n"
        "  limits: {deadline_ms: 30000, breaker: {failures: 2}}\n"
        "  relax: [quality_floor, slo.ttft]\n"
        "  strict: true\n"
        "  thinking: off\n"
        f"rules:\n{REST}"
    )
    assert policy.defaults == Settings(
        minimize="e2e",
        quality_floor=0.5,
        slo=Slo(2000.0, 9000.0),
        max_output_tokens=100,
        limits=Limits(30_000, 20_000, 15_000, 3, Breaker(2, 10_000)),
        relax=("quality_floor", "slo.ttft"),
        strict=True,
        thinking="off",
    )
    assert policy.rules[0].settings == policy.defaults


def test_a_rule_replaces_the_defaults_key_by_key():
    policy = read(
        HEAD + "defaults:\n"
        "  slo: {ttft_p95_ms: 700, e2e_p95_ms: 9000}\n"
        "  limits: {attempts: 2, breaker: {open_ms: 1}}\n"
        "  relax: [slo.e2e]\n"
        "  thinking: off\n"
        "rules:\n"
        "  - id: a\n"
        "    use: cpu\n"
        "    slo: {ttft_p95_ms: null}\n"
        "    limits: {deadline_ms: 60000}\n"
        "    relax: []\n"
        "    thinking: on\n"
        "    quality_floor: 0\n"
    )
    settings = policy.rules[0].settings
    assert settings.slo == Slo(None, 9000.0)
    assert settings.limits == Limits(60_000, 20_000, 15_000, 2, Breaker(5, 1))
    assert settings.relax == ()
    assert settings.thinking == "on"
    assert settings.quality_floor == 0.0
    assert policy.defaults.thinking == "off"


@pytest.mark.parametrize(
    ("written", "groups"),
    [
        ("cpu", [{"cpu"}]),
        ("[cpu, accelerator]", [{"cpu", "accelerator"}]),
        ("{in_order: cpu}", [{"cpu"}]),
        ("{in_order: [cpu, accelerator]}", [{"cpu"}, {"accelerator"}]),
        ("{in_order: [[cpu, p5-scout], accelerator]}", [{"cpu", "p5-scout"}, {"accelerator"}]),
        ("[c8g-qwen3]", [{"c8g-qwen3"}]),
    ],
)
def test_use_is_one_set_or_sets_in_order(written, groups):
    assert [
        set(group) for group in read(rule(f"use: {written}", "when: {tier: simple}")).rules[0].use
    ] == groups


def test_one_text_stands_for_a_list_of_one():
    short = rule("use: cpu", "when: {tier: simple}", "residency: cn-north-1", "relax: slo.ttft")
    long = rule(
        "use: [cpu]", "when: {tier: [simple]}", "residency: [cn-north-1]", "relax: [slo.ttft]"
    )
    assert read(short) == read(long)


def test_what_means_the_same_has_the_same_hash():
    one = rule(
        "use: [cpu, accelerator]",
        "when: {task: [math, code], tier: heavy}",
        "slo: {ttft_p95_ms: 2000}",
    )
    same = rule(
        "use: [accelerator, cpu]",
        "when: {tier: [heavy], task: [code, math]}",
        "quality_floor: 0.85",
    )
    other = rule("use: {in_order: [cpu, accelerator]}", "when: {task: [math, code], tier: heavy}")
    assert read(one).hash == read(same).hash
    assert read(one).hash != read(other).hash
    assert len(read(one).hash) == 16


def test_a_floor_replaces_the_one_above_it_with_its_confidence():
    sure = "defaults: {quality_floor: {at_least: 0.9, confidence: 0.95}}\n"
    lines = ("when: {tier: simple}", "use: cpu")
    text = rule(*lines, "quality_floor: 0.5").replace("rules:", f"{sure}rules:")
    found = read(text)
    assert (found.defaults.quality_floor, found.defaults.confidence) == (0.9, 0.95)
    settings = [(r.settings.quality_floor, r.settings.confidence) for r in found.rules]
    assert settings == [(0.5, None), (0.9, 0.95)]
    plain = read(rule(*lines, "quality_floor: {at_least: 0.5}"))
    assert plain.rules[0].settings.confidence is None
    assert plain.hash == read(rule(*lines, "quality_floor: 0.5")).hash
    assert plain.hash != read(rule(*lines, "quality_floor: {at_least: 0.5, confidence: 0.9}")).hash


def test_numbers_of_the_same_value_have_the_same_hash():
    whole = rule(
        "use: cpu",
        "when: {tier: simple}",
        "quality_floor: 1",
        "max_output_tokens: 10",
        "limits: {attempts: 2}",
    )
    written = rule(
        "use: cpu",
        "when: {tier: simple}",
        "quality_floor: 1.0",
        "max_output_tokens: 10.0",
        "limits: {attempts: 2.0}",
    )
    assert read(whole).hash == read(written).hash
    assert type(read(written).rules[0].settings.limits.attempts) is int


MISTAKES = [
    # the document
    ("", ["1: the file is empty"]),
    ("just words\n", ["1: `just words` is not a mapping"]),
    ("a: [\n", ["2: not YAML: while parsing a flow node did not find expected node content"]),
    (f"{HEAD}rules:\n\t- id: a\n", ["5: not YAML: a tab indents this line: use spaces"]),
    (f"{HEAD}name: x\nrules:\n{REST}", ["4: `name` stands here twice"]),
    (f"{HEAD}defaults: &d {{strict: true}}\nrules:\n{REST}", ["4: anchors and aliases are not"]),
    (f"{HEAD}rulez: []\nrules:\n{REST}", ["4: unknown key `rulez` (did you mean `rules`? known: "]),
    (f"{HEAD}", ["1: `rules` is missing"]),
    (f"{HEAD}rules: []\n", ["4: rules: is empty"]),
    (f"{HEAD}rules: {{}}\n", ["4: rules: this mapping is not a list"]),
    (f"{HEAD}rules: [5]\n", ["4: rules[0]: `5` is not a mapping"]),
    (HEAD.replace("1", "2") + f"rules:\n{REST}", ["1: version: `2` is not 1, the only version"]),
    (HEAD.replace("prod", "my policy") + f"rules:\n{REST}", ["2: name: `my policy` is not a name"]),
    (
        HEAD.replace("@p5-scout", "") + f"rules:\n{REST}",
        ["3: baseline: `llama-4-scout` is not a m"],
    ),
    (
        HEAD.replace("p5-scout", "p5-scot") + f"rules:\n{REST}",
        ["3: baseline: unknown fleet `p5-scot` (did you mean `p5-scout`? known: c8g-qwen3, p5-"],
    ),
    (
        HEAD.replace("llama-4-scout@", "llama-5@") + f"rules:\n{REST}",
        ["3: baseline: unknown model `llama-5` ("],
    ),
    (
        HEAD.replace("@p5-scout", "@c8g-qwen3") + f"rules:\n{REST}",
        ["3: baseline: fleet `c8g-qwen3` serves `qwen3-0.6b`, not `llama-4-scout`"],
    ),
    # the defaults
    (f"{HEAD}defaults: []\nrules:\n{REST}", ["4: defaults: this list is not a mapping"]),
    (
        f"{HEAD}defaults: {{minimise: ttft}}\nrules:\n{REST}",
        ["4: defaults: unknown key `minimise` (did you mean `minimize`? known: "],
    ),
    (
        f"{HEAD}defaults: {{minimize: best}}\nrules:\n{REST}",
        ["4: defaults.minimize: unknown value `best` (known: average_cost, e2e, marginal_cost, t"],
    ),
    (
        f"{HEAD}defaults:\n  slo: {{ttft_p95_ms: 0}}\nrules:\n{REST}",
        ["5: defaults.slo.ttft_p95_ms: `0` is not above 0"],
    ),
    (
        f"{HEAD}defaults:\n  limits: {{attempts: 0}}\nrules:\n{REST}",
        ["5: defaults.limits.attempts: `0` is below 1"],
    ),
    (
        f"{HEAD}{LARGE}rules:\n{REST}",
        [
            f"6: defaults.limits.attempts: `{10**20}` is above 100",
            f"7: defaults.limits.breaker.failures: `{10**20}` is above 1000000",
        ],
    ),
    (
        f"{HEAD}defaults:\n  limits: {{deadline_ms: 1.5}}\nrules:\n{REST}",
        ["5: defaults.limits.deadline_ms: `1.5` is not an integer"],
    ),
    (
        f"{HEAD}defaults:\n  quality_floor: 85\nrules:\n{REST}",
        ["5: defaults.quality_floor: `85` is above 10"],
    ),
    (
        f"{HEAD}defaults:\n  quality_floor: 85%\nrules:\n{REST}",
        ["5: defaults.quality_floor: `85%` is not a number or {at_least: 0.85, confidence: 0.95} "],
    ),
    (
        f"{HEAD}defaults:\n  slo: {{ttft_p95_ms: 2s}}\nrules:\n{REST}",
        ["5: defaults.slo.ttft_p95_ms: `2s` is not a number or null (valid: milliseconds"],
    ),
    (
        f"{HEAD}rules:\n{REST}budgets: [{{id: 夜班, match: {{}}, usd: ￥400, {SPENT}}}]\n",
        [
            "6: budgets[0].id: `夜班` is not a name of up to 64 ASCII letters (a-z, A-Z), digits, ",
            "6: budgets[0].usd: `￥400` is not a number (valid: USD above 0, without a sign: 400)",
        ],
    ),
    (
        f"{HEAD}rules:\n{REST}shadow: {{share: 30%, judge: j, budget: b}}\n",
        ["6: shadow.share: `30%` is not a number (valid: a share from 0 to 1: 0.3, not 30%)"],
    ),
    (
        f"{HEAD}rules:\n{REST}canary: {{policy: p, share: 30}}\n",
        ["6: canary.share: `30` is above 1 (valid: a share above 0 and below 1: 0.3, not 30%)"],
    ),
    (
        f"{HEAD}defaults:\n  quality_floor: high\nrules:\n{REST}",
        ["5: defaults.quality_floor: `high` is not a number or {at_least: 0.85, confidence: 0.95}"],
    ),
    (
        f"{HEAD}defaults:\n  quality_floor: {{confidence: 0.9}}\nrules:\n{REST}",
        ["5: defaults.quality_floor: `at_least` is missing"],
    ),
    (
        f"{HEAD}defaults:\n  quality_floor: {{at_least: 0.8, confidence: 95}}\nrules:\n{REST}",
        ["5: defaults.quality_floor.confidence: `95` is not below 1"],
    ),
    (
        f"{HEAD}defaults:\n  quality_floor: {{at_least: 0.8, confidence: 0.4}}\nrules:\n{REST}",
        ["5: defaults.quality_floor.confidence: `0.4` is below 0.5"],
    ),
    (
        f"{HEAD}defaults:\n  quality_floor: {{at_least: 1, confidence: 0.9}}\nrules:\n{REST}",
        ["5: quality_floor: `at_least` (1) must be below 1: no number of labels proves it"],
    ),
    (
        rule("use: cpu", "when: {tier: simple}", "quality_floor: {at_least: 2, confidence: 0.9}"),
        ["8: rule a: quality_floor: `at_least` (2) must be below 1: no number of labels proves it"],
    ),
    (
        f"{HEAD}defaults:\n  relax: [slo.ttfd]\nrules:\n{REST}",
        ["5: defaults.relax[0]: unknown value `slo.ttfd` (did you mean `slo.ttft`? known: quality"],
    ),
    (
        f"{HEAD}defaults:\n  relax: [slo.ttft, slo.ttft]\nrules:\n{REST}",
        ["5: defaults.relax: `slo.ttft` stands here twice"],
    ),
    (
        f"{HEAD}defaults:\n  thinking: false\nrules:\n{REST}",
        ["5: defaults.thinking: unknown value `false` (known: off, on)"],
    ),
    (
        f"{HEAD}defaults:\n  limits:\n    ttft_timeout_ms: 200000\nrules:\n{REST}",
        ["6: `ttft_timeout_ms` (200000) is above `deadline_ms` (120000)"],
    ),
    (
        f"{HEAD}defaults:\n  limits:\n    deadline_ms: 16000\nrules:\n{REST}",
        ["6: `ttft_timeout_ms` (20000, inherited) is above `deadline_ms` (16000)"],
    ),
    # a rule
    (rule("use: cpu", "whn: {}"), ["7: rules[0]: unknown key `whn` (did you mean `when`? known:"]),
    (rule("when: {tier: simple}"), ["5: rules[0]: `use` is missing"]),
    (f"{HEAD}rules:\n  - use: cpu\n", ["5: rules[0]: `id` is missing"]),
    (f"{HEAD}rules:\n  - {{id: 规则, use: cpu}}\n", ["5: rules[0].id: `规则` is not a name of up"]),
    (f'{HEAD}rules:\n  - {{id: "a\\n", use: cpu}}\n', ["5: rules[0].id: `a` is not a name of up"]),
    (
        rule("use: [cpu]", "when: {tier: simple}") + "  - {id: a, use: cpu, when: {tier: heavy}}\n",
        ["9: rule a: this id stands already on line 5", "9: rule a: never reached: rule `rest` on"],
    ),
    (
        f"{HEAD}rules:\n" + 3 * "  - {id: a, use: cpu, when: {tier: heavy}}\n" + REST,
        [
            "6: rule a: this id stands already on line 5",
            "7: rule a: this id stands already on line 5",
        ],
    ),
    (
        HEAD
        + "defaults: {limits: {deadline_ms: 30000}}\n"
        + "rules:\n  - {id: a, use: cpu, limits: {ttft_timeout_ms: 40000}}\n",
        ["6: rule a: `ttft_timeout_ms` (40000) is above `deadline_ms` (30000)"],
    ),
    (
        rule("use: cpu", "when: {}"),
        ["8: rule rest: never reached: rule `a` on line 5 matches every request"],
    ),
    (
        rule("when: {tier: simple}", "use:", "  - cpu", "  - medium"),
        ["9: rule a: unknown lane `medium` (known: accelerator, cpu)"],
    ),
    (
        rule("when: {tier: simple}", "use: {in_order: [cpu, [cpuu, p5-scoot]]}"),
        [
            "7: rule a: unknown lane `cpuu` (did you mean `cpu`? known: accelerator, cpu)",
            "7: rule a: unknown fleet `p5-scoot` (did you mean `p5-scout`? known: c8g-qwen3, p5-",
        ],
    ),
    (
        rule("when: {tier: simple}", "use: {order: [cpu]}"),
        ["7: rules[0].use: unknown key `order` (did you mean `in_order`?", "7: rules[0].use: `in_"],
    ),
    (
        rule("when: {tier: simple}", "use: 5"),
        ["7: rules[0].use: `5` is not a lane, a list of lanes (one set), or {in_order: [cpu, acce"],
    ),
    (rule("when: {tier: simple}", "use: []"), ["7: rules[0].use: is empty"]),
    (
        rule("when: {tier: simple}", "use: [cpu, cpu]"),
        ["7: rules[0].use: `cpu` stands here twice"],
    ),
    (
        rule("when: {tier: simple}", "use: cpu", "residency: cn-nort-1"),
        ["8: rule a: unknown region `cn-nort-1` (did you mean `cn-north-1`? known: cn-north-1, us"],
    ),
    (
        rule("when: {tier: simple}", "use: cpu", "limits: {breaker: {failures: 1}}"),
        ["8: rules[0].limits: unknown key `breaker` (known: attempts, deadline_ms, inter_chunk"],
    ),
    (
        rule("when: {tier: simple}", "use: cpu", "limits:", "  deadline_ms: 15000"),
        ["9: rule a: `ttft_timeout_ms` (20000, inherited) is above `deadline_ms` (15000)"],
    ),
    (
        rule("when: {tier: simple}", "use: cpu", "limits:", "  inter_chunk_timeout_ms: 120001"),
        ["9: rule a: `inter_chunk_timeout_ms` (120001) is above `deadline_ms` (120000)"],
    ),
    (
        rule("when: {tier: simple}", "use: cpu", "max_output_tokens: 0"),
        ["8: rules[0].max_output_tokens: `0` is below 1"],
    ),
    # a condition
    (
        rule("use: cpu", "when:", "  teir: [simple]"),
        ["8: rules[0].when: unknown key `teir` (did you mean `tier`? known: complexity, key, lang"],
    ),
    (
        rule("use: cpu", "when: {tier: [simpel]}"),
        ["7: rules[0].when.tier[0]: unknown value `simpel` (did you mean `simple`? known: heavy,"],
    ),
    (
        rule("use: cpu", "when: {task: maths}"),
        ["7: rules[0].when.task: unknown value `maths` (did you mean `math`? known: agentic, cla"],
    ),
    (
        rule("use: cpu", "when: {language: zh-CN}"),
        ["7: rules[0].when.language: unknown value `zh-CN` ("],
    ),
    (rule("use: cpu", "when: {tenant: []}"), ["7: rules[0].when.tenant: is empty"]),
    (
        rule("use: cpu", 'when: {team: "*"}'),
        ["7: rules[0].when.team: `*` is not a name in full (no wildcards)"],
    ),
    (
        rule("use: cpu", "when: {complexity: 0.5}"),
        ["7: rules[0].when.complexity: `0.5` is not a mapping"],
    ),
    (
        rule("use: cpu", "when: {complexity: {over: 0.5}}"),
        ["7: rules[0].when.complexity: unknown key `over` (did you mean `above`? known: "],
    ),
    (rule("use: cpu", "when: {complexity: {}}"), ["7: rules[0].when.complexity: is empty"]),
    (
        rule("use: cpu", "when: {complexity: {below: 0.3, above: 0.7}}"),
        ["7: rule a: complexity: no number is above `0.7` and below `0.3`"],
    ),
    (
        rule("use: cpu", "when: {tokens_in: {above: 99, below: 100}}"),
        ["7: rule a: tokens_in: no number is above `99` and below `100`"],
    ),
    (
        rule("use: cpu", "when: {tokens_in: {below: -5}}"),
        ["7: rules[0].when.tokens_in.below: `-5` is below 1"],
    ),
    (rule("use: cpu", "when: {tags: {}}"), ["7: rules[0].when.tags: is empty"]),
    (
        rule("use: cpu", "when: {tags: {data: 5}}"),
        ["7: rules[0].when.tags.data: `5` is not a value or a list of values"],
    ),
    (
        rule("use: cpu", "when:", "  local_time:", "    from: 22:00", "    to: 6:00"),
        ['10: rules[0].when.local_time.to: `6:00` is not a time of day, "00:00" to "23:59"'],
    ),
    (
        rule("use: cpu", "when: {local_time: {from: 22:00}}"),
        ["7: rules[0].when.local_time: `to` is missing"],
    ),
    (
        rule("use: cpu", "when:", "  local_time:", "    from: 22:00", "    to: 22:00"),
        ["10: rule a: local_time: `from` and `to` are the same: no time is between them"],
    ),
    (
        rule(
            "use: cpu", "when:", "  local_time: {from: 22:00, to: 06:00,", "    tz: Asia/Shangai}"
        ),
        ["9: rule a: local_time: unknown time zone `Asia/Shangai` (such as `Asia/Shanghai`)"],
    ),
]


@pytest.mark.parametrize(("text", "starts"), MISTAKES, ids=[start[0] for _, start in MISTAKES])
def test_each_mistake_is_told_with_its_line_and_what_would_be_valid(text, starts):
    got = told(text)
    assert len(got) == len(starts), got
    for line, start in zip(got, starts, strict=True):
        assert line.startswith(start), got


def test_mistakes_of_form_and_of_meaning_are_told_together_in_the_order_of_the_lines():
    text = (
        "version: 1\n"
        "name: prod\n"
        "baseline: llama-4-scout@p5\n"  # unknown fleet
        "defaults: {quality_flor: 1}\n"  # unknown key
        "rules:\n"
        "  - {id: a, use: medium, when: {tier: simple}}\n"  # unknown lane
        "  - {id: b, use: cpu, when: {tier: simpel}}\n"  # unknown value
        "  - {id: a, use: cpu, when: {tier: heavy}}\n"  # twice
        "canary: {policy: prod, share: 0.05}\n"  # itself
    )
    assert [line.partition(":")[0] for line in told(text)] == ["3", "4", "6", "7", "8", "9"]


def test_limits_of_rules_are_not_judged_by_defaults_that_are_wrong():
    defaults = "defaults: {limits: {deadline_ms: x}}\n"
    rule_a = "  - {id: a, use: cpu, limits: {ttft_timeout_ms: 999999}}\n"
    text = f"{HEAD}{defaults}rules:\n{rule_a}"
    (got,) = told(text)
    assert got.startswith("4: defaults.limits.deadline_ms: `x` is not an integer")


def test_a_baseline_is_checked_without_knowing_what_fleets_serve():
    names = Names(NAMES.lanes, NAMES.fleets, NAMES.models, NAMES.regions)
    text = HEAD.replace("@p5-scout", "@c8g-qwen3") + f"rules:\n{REST}"
    assert parse(text, "f", names).baseline == ("llama-4-scout", "c8g-qwen3")
