"""How a canary is written, what is refused of it, and what of another policy holds as one."""

import pytest

import yamlfile
from backends import files
from policies.canary import as_canary, objection
from policies.compiled import from_compiled
from policies.model import Canary, StopIf
from policies.parse import parse
from router.sources import names_of

NAMES = names_of(files.catalogue(None))
HEAD = "version: 1\nname: {}\nbaseline: llama-4-scout@p5-scout\nrules: [{{id: {}, use: cpu}}]\n"


def policy(more="", name="production", rule="all"):
    return parse(HEAD.format(name, rule) + more, "prod.yaml", NAMES)


def told(more):
    with pytest.raises(yamlfile.Invalid) as refused:
        policy(more)
    return str(refused.value).splitlines()


def test_a_canary_is_read_and_compiled():
    found = policy("canary: {policy: next, share: 0.05, stop_if: {error_rate_above: 0.02}}\n")
    assert found.canary == Canary("next", 0.05, StopIf(error_rate_above=0.02))
    assert from_compiled(found.compiled) == found
    assert found.hash != policy().hash
    bare = policy("canary: {policy: next, share: 0.05}\n")
    assert bare.canary == Canary("next", 0.05)
    assert from_compiled(bare.compiled) == bare


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{policy: production, share: 0.1}", "canary: `production` is this policy"),
        ("{policy: next, share: 0}", "canary: `share` must be above 0 and below 1, not 0: no"),
        ("{policy: next, share: 1}", "canary: `share` must be above 0 and below 1, not 1: publish"),
        ("{policy: next, share: 1.5}", "canary.share: `1.5`"),
        ("{policy: next, share: 0.1, stop_if: {}}", "canary: stop_if: it stops nothing"),
        (
            "{policy: next, share: 0.1, stop_if: {error_rate_above: 1}}",
            "canary: stop_if: `error_rate_above` must be below 1",
        ),
        (
            "{policy: next, share: 0.1, stop_if: {cost_ratio_above: 0}}",
            "canary.stop_if.cost_ratio_above: `0` is not above 0",
        ),
        (
            "{policy: next, share: 0.1, stop_if: {latency_above: 1}}",
            "canary.stop_if: unknown key `latency_above`",
        ),
        ("{share: 0.1}", "canary: `policy` is missing"),
    ],
)
def test_what_can_not_be_run_is_refused_with_its_line(written, said):
    (line,) = told(f"canary: {written}\n")
    assert line.startswith(f"prod.yaml:5: {said}"), line


def test_a_canary_has_the_budgets_limits_and_breaker_of_the_policy_in_force():
    stable = policy(
        "budgets: [{id: all, match: {}, usd: 5, per: day, when_spent: reject}]\n"
        "rate_limits: [{id: each, match: {tenant: '*'}, requests_per_min: 5}]\n"
        "defaults: {limits: {breaker: {failures: 9}}}\n"
    )
    other = policy(
        "budgets: [{id: own, match: {}, usd: 9, per: day, when_spent: reject}]\n", "next", "new"
    )
    found = as_canary(other, stable)
    assert (found.name, found.hash, found.rules) == (other.name, other.hash, other.rules)
    assert (found.budgets, found.rate_limits) == (stable.budgets, stable.rate_limits)
    assert found.defaults.limits.breaker.failures == 9


def test_a_canary_of_another_baseline_or_with_one_of_its_own_is_refused():
    assert objection(policy(name="next"), policy()) is None
    text = HEAD.format("next", "all").replace(
        "llama-4-scout@p5-scout", "llama-4-maverick@p5-maverick"
    )
    said = objection(parse(text, "next.yaml", NAMES), policy())
    assert said is not None
    assert "`llama-4-scout@p5-scout`: `llama-4-maverick@p5-maverick`" in said
    own = policy("canary: {policy: third, share: 0.5}\n", "next")
    assert objection(own, policy()) == "a canary has no canary of its own: remove `canary`"
