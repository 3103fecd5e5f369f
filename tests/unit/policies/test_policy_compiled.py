"""The compiled policy: what ships, named by its content."""

import copy
import json

import pytest

from policies import content_hash, from_compiled
from policies.names import Names
from policies.parse import parse

NAMES = Names(
    frozenset({"cpu", "accelerator"}),
    frozenset({"p5-scout"}),
    frozenset({"llama-4-scout"}),
    frozenset({"cn-north-1"}),
)
TEXT = """\
version: 1
name: production
baseline: llama-4-scout@p5-scout
rules:
  - id: a
    when:
      tier: simple
      tags: {data: [b, a]}
      tokens_in: {below: 100}
      local_time: {from: "22:00", to: "06:00"}
    use: {in_order: [cpu, [p5-scout, accelerator]]}
    residency: cn-north-1
    slo: {ttft_p95_ms: null}
    thinking: off
  - {id: rest, use: cpu}
"""


@pytest.fixture
def policy():
    return parse(TEXT, "f.yaml", NAMES)


def test_the_compiled_form_is_the_contract_with_every_default(policy):
    settings = {
        "minimize": "marginal_cost",
        "quality_floor": 0.85,
        "slo": {"ttft_p95_ms": 2000.0, "e2e_p95_ms": 60000.0},
        "max_output_tokens": 4096,
        "limits": {
            "deadline_ms": 120000,
            "ttft_timeout_ms": 20000,
            "inter_chunk_timeout_ms": 15000,
            "attempts": 3,
            "breaker": {"failures": 5, "open_ms": 10000},
        },
        "relax": [],
        "strict": False,
        "thinking": None,
    }
    assert policy.compiled == {
        "version": 1,
        "name": "production",
        "baseline": "llama-4-scout@p5-scout",
        "defaults": settings,
        "rules": [
            {
                "id": "a",
                "when": {
                    "tier": ["simple"],
                    "tags": {"data": ["a", "b"]},
                    "tokens_in": {"below": 100},
                    "local_time": {"from": "22:00", "to": "06:00", "tz": "UTC"},
                },
                "use": [["cpu"], ["accelerator", "p5-scout"]],
                "residency": ["cn-north-1"],
                "settings": {
                    **settings,
                    "slo": {"ttft_p95_ms": None, "e2e_p95_ms": 60000.0},
                    "thinking": "off",
                },
            },
            {"id": "rest", "when": {}, "use": [["cpu"]], "residency": None, "settings": settings},
        ],
    }


def test_the_hash_is_that_of_the_canonical_bytes(policy):
    assert content_hash({"b": [1.0, None], "a": "中"}) == "0dd4dbdd94a277dd"
    assert policy.hash == content_hash(policy.compiled)
    assert content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1})


def test_a_policy_survives_the_way_through_json(policy):
    again = from_compiled(json.loads(json.dumps(policy.compiled)))
    assert again == policy
    assert again.hash == policy.hash


def changed(compiled, path, value):
    copied = copy.deepcopy(dict(compiled))
    at = copied
    for step in path[:-1]:
        at = at[step]
    if value is KeyError:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return copied


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), 2),
        (("budgets",), []),
        (("name",), KeyError),
        (("baseline",), "llama-4-scout"),
        (("baseline",), 5),
        (("defaults", "limits", "deadline_ms"), KeyError),
        (("defaults", "limits", "hurry"), True),
        (("defaults", "slo"), None),
        (("defaults", "max_output_tokens"), "many"),
        (("rules", 0, "hedge"), {}),
        (("rules", 0, "settings", "cascade"), {}),
        (("rules", 0, "residency"), KeyError),
        (("rules", 0, "use"), [["cpu", "cpu"]]),
        (("rules", 0, "use"), [["p5-scout", "cpu"]]),
        (("rules", 0, "when", "mood"), ["bad"]),
        (("rules", 0, "when", "tier"), "simple"),
        (("rules", 0, "when", "tokens_in", "above"), "x"),
        (("rules", 0, "when", "local_time", "tz"), "Nowhere/City"),
        (("rules", 0, "when", "local_time", "from"), 22),
        (("rules", 0), 5),
        (("rules",), None),
    ],
)
def test_what_this_version_would_not_have_written_is_refused(policy, path, value):
    with pytest.raises(ValueError, match=r"^not a compiled policy of this version: "):
        from_compiled(changed(policy.compiled, path, value))


def test_conditions_are_tried_in_the_order_of_their_table(policy):
    assert [condition.name for condition in policy.rules[0].when] == [
        "tier",
        "tokens_in",
        "tags",
        "local_time",
    ]


def test_an_unequal_condition_makes_an_unequal_policy(policy):
    other = parse(TEXT.replace("below: 100", "below: 101"), "f.yaml", NAMES)
    assert other != policy
    assert other.hash != policy.hash
