"""What holds for every policy text: its compiled form decides the same and has the same name.

The documents are drawn in every way in which they may be written: one text or a list, a set or an
order, defaults written out or left out.
"""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from policies import Facts, evaluate, from_compiled
from policies.cases import Told
from policies.names import Names
from policies.parse import parse

NAMES = Names(
    frozenset({"cpu", "gpu"}),
    frozenset({"f0", "f1", "f2"}),
    frozenset({"m0", "m1"}),
    frozenset({"here", "there"}),
)


def one_or_more(*values):
    value = st.sampled_from(values)
    return value | st.lists(value, min_size=1, unique=True)


def some_of(**keys):
    return st.fixed_dictionaries({}, optional=keys)


above_below = st.sampled_from([{"above": 0.25}, {"below": 0.5}, {"above": 0.25, "below": 0.5}])
when = some_of(
    tier=one_or_more("simple", "heavy"),
    task=one_or_more("math", "code"),
    language=one_or_more("zh", "zh-Hant", "en"),
    service_class=one_or_more("standard", "deferrable"),
    tenant=one_or_more("acme", "商店"),
    team=one_or_more("search"),
    complexity=above_below,
    tokens_in=st.sampled_from([{"above": 10}, {"below": 11.0}, {"above": 9, "below": 11}]),
    tags=st.dictionaries(st.sampled_from(["data", "区域"]), one_or_more("a", "b"), min_size=1),
    needs=one_or_more("json", "tools"),
    local_time=st.sampled_from(
        [
            {"from": "22:00", "to": "06:00", "tz": "Asia/Shanghai"},
            {"from": "09:00", "to": "17:00"},
        ]
    ),
)
group = one_or_more("cpu", "gpu", "f0")
use = group | st.lists(group, min_size=1, max_size=2).map(lambda groups: {"in_order": groups})
objective = st.sampled_from([None, 100, 100.0, 250])
setting = {
    "minimize": st.sampled_from(["marginal_cost", "average_cost", "ttft", "e2e"]),
    "quality_floor": st.sampled_from(
        [0, 1, 0.85, {"at_least": 0.9}, {"at_least": 0.9, "confidence": 0.9}]
    ),
    "slo": some_of(ttft_p95_ms=objective, e2e_p95_ms=objective),
    "max_output_tokens": st.sampled_from([50, 4096]),
    "relax": st.sampled_from([[], "slo.ttft", ["quality_floor", "slo.e2e", "slo.ttft"]]),
    "strict": st.booleans(),
    "thinking": st.sampled_from(["on", "off"]),
}
limits = {
    "deadline_ms": st.just(60_000),
    "ttft_timeout_ms": st.sampled_from([1, 60_000]),
    "attempts": st.integers(1, 3),
}
breaker = some_of(failures=st.just(2), open_ms=st.just(1))
accept_if = st.fixed_dictionaries(
    {},
    optional={
        "mean_logprob_above": st.sampled_from([-1, -0.15]),
        "json_valid": st.just(value=True),
        "matches": st.sampled_from(["^a", "账单|帳單"]),
        "tokens": st.sampled_from([{"above": 1}, {"below": 9.0}, {"above": 1, "below": 9}]),
    },
).filter(bool)
cascade = st.fixed_dictionaries(
    {
        "try": one_or_more("cpu", "f0"),
        "accept_if": accept_if,
        "then": one_or_more("gpu", "f1"),
    }
)
lanes = st.fixed_dictionaries({"use": use}) | st.fixed_dictionaries({"cascade": cascade})
rest_of_rule = st.fixed_dictionaries(
    {},
    optional={
        "when": when,
        "residency": one_or_more("here", "there"),
        "limits": some_of(**limits),
        **setting,
    },
)
rule = st.builds(lambda lanes, rest: _enough_attempts({**lanes, **rest}), lanes, rest_of_rule)
match = some_of(
    tenant=st.sampled_from(["*", "商店"]),
    team=st.just("search"),
    tags=st.dictionaries(
        st.sampled_from(["data", "区域"]), st.sampled_from(["*", "a"]), min_size=1
    ),
)
rates = some_of(
    requests_per_min=st.sampled_from([1, 5.0]),
    tokens_per_min=st.just(10**12),
    concurrent=st.just(2),
).filter(bool)
rate_limits = st.lists(st.tuples(match, rates), max_size=2).map(
    lambda drawn: [{"id": f"l{i}", "match": m, **r} for i, (m, r) in enumerate(drawn)]
)
documents = st.builds(
    lambda defaults, conditional, last, limits: {
        "version": 1,
        "name": "p",
        "baseline": "m0@f0",
        **({"defaults": defaults} if defaults is not None else {}),
        "rules": [
            {**r, "id": f"r{i}"} for i, r in enumerate([*filter(_has_when, conditional), last])
        ],
        **({} if limits is None else {"rate_limits": limits}),
    },
    st.none() | some_of(limits=some_of(breaker=breaker, **limits), **setting),
    st.lists(rule, max_size=2),
    rule,
    st.none() | rate_limits,
)


hedge = st.fixed_dictionaries(
    {
        "after": st.sampled_from(["ttft_p95", 1, 20]),
        "spend_up_to_usd": st.sampled_from([1, 0.002]),
    }
)


def _enough_attempts(one):
    if "cascade" in one:
        return {**one, "limits": {**one.get("limits", {}), "attempts": 2}}
    return one


def _has_when(one):
    return bool(one.get("when"))


facts = st.builds(
    Facts,
    at=st.sampled_from(["2026-01-05T03:00:00.000Z", "2026-01-05T14:00:00.000Z"]),
    tenant=st.sampled_from(["acme", "商店", "other"]),
    team=st.sampled_from([None, "search"]),
    key=st.just("k"),
    tags=st.sampled_from([{}, {"data": "a"}, {"data": "b", "区域": "a"}]),
    task=st.sampled_from(["math", "code", "other"]),
    tier=st.sampled_from(["simple", "heavy"]),
    complexity=st.sampled_from([0.25, 0.3, 0.5]),
    p_small=st.just(0.5),
    language=st.sampled_from(["zh-Hans", "zh-Hant", "en"]),
    tokens_in=st.sampled_from([9, 10, 11]),
    tokens_out=st.just(10),
    needs=st.sampled_from([(), ("json",)]),
    service_class=st.sampled_from(["standard", "deferrable"]),
    max_usd=st.sampled_from([None, 60.0]),
    labels=st.just(30),
    labels_acceptable=st.sampled_from([27, 30]),
)
CANDIDATES = [
    Told(
        fleet=f"f{i}",
        model="m0",
        lane="cpu" if i == 0 else "gpu",
        region="here" if i == 1 else "there",
        abilities=frozenset({"json"}),
        context_tokens=1000,
        worst_usd=float,
        ttft_p50_ms=100.0 - i,
        ttft_p95_ms=100.0 * (i + 1),
        e2e_p50_ms=100.0 * (3 - i),
        e2e_p95_ms=100.0 * (i + 1),
        usd_marginal=float(i),
        usd_average=float(3 - i),
        quality=0.85 + 0.05 * i,
        by_p_small=i == 2,
    )
    for i in range(3)
]


@settings(max_examples=150)
@given(documents, st.lists(facts, min_size=1, max_size=4))
def test_the_compiled_form_decides_the_same_and_has_the_same_hash(document, requests):
    policy = parse(json.dumps(document, ensure_ascii=False), "p.yaml", NAMES)
    again = from_compiled(json.loads(json.dumps(policy.compiled)))
    assert again.hash == policy.hash
    for asked in requests:
        one, other = evaluate(policy, asked, CANDIDATES), evaluate(again, asked, CANDIDATES)
        assert (one.rule.id if one.rule else None) == (other.rule.id if other.rule else None)
        assert (one.ranked, one.refused, one.relaxed) == (
            other.ranked,
            other.refused,
            other.relaxed,
        )


@settings(max_examples=100)
@given(documents)
def test_an_equal_hash_is_an_equal_policy_and_defaults_written_out_change_nothing(document):
    policy = parse(json.dumps(document, ensure_ascii=False), "p.yaml", NAMES)
    spelt_out = {
        **document,
        "defaults": policy.compiled["defaults"],
        "rules": [
            {
                "id": written["id"],
                "when": compiled["when"],
                **_lanes_as_written(compiled),
                **({"residency": compiled["residency"]} if compiled["residency"] else {}),
                **_as_written(compiled["settings"]),
            }
            for written, compiled in zip(document["rules"], policy.compiled["rules"], strict=True)
        ],
    }
    spelt_out["defaults"] = _as_written(spelt_out["defaults"], breaker=True)
    again = parse(json.dumps(spelt_out, ensure_ascii=False), "p.yaml", NAMES)
    assert again == policy
    assert again.hash == policy.hash


def _lanes_as_written(compiled):
    if "accept_if" not in compiled:
        return {"use": {"in_order": compiled["use"]}}
    first, then = compiled["use"]
    return {"cascade": {"try": first, "accept_if": compiled["accept_if"], "then": then}}


def _as_written(found, *, breaker=False):
    limits = {k: v for k, v in found["limits"].items() if breaker or k != "breaker"}
    kept = {**found, "limits": limits}
    return {k: v for k, v in kept.items() if k != "thinking" or v is not None}
