"""Verdicts in single situations, with the reasons as they are told."""

from types import SimpleNamespace

import pytest

from policies import Facts, Policy, Rule, Settings, Slo, evaluate
from policies.evaluate import CLOSED, OBJECTIVES, WISHES
from policies.schema import MINIMIZE


def fleet(name="f", lane="cpu", **told):
    worst = told.pop("worst", 0.0)
    plain = {
        "fleet": name,
        "model": "m",
        "lane": lane,
        "region": "here",
        "abilities": frozenset({"json"}),
        "context_tokens": 1000,
        "state": "ready",
        "ttft_p50_ms": 100.0,
        "ttft_p95_ms": 150.0,
        "e2e_p50_ms": 1000.0,
        "e2e_p95_ms": 1500.0,
        "usd_marginal": 0.001,
        "usd_average": 0.002,
        "usd_router": 0.0,
        "quality": 1.0,
        "by_p_small": False,
        "usd_at_most": lambda _: worst,
    }
    return SimpleNamespace(**{**plain, **told})


def asked(**known):
    plain = {
        "at": "2026-01-05T12:00:00.000Z",
        "tenant": "t",
        "team": None,
        "key": "k",
        "tags": {},
        "task": "math",
        "tier": "heavy",
        "complexity": 0.5,
        "p_small": 0.5,
        "language": "zh-Hant",
        "tokens_in": 100,
        "tokens_out": 100,
    }
    return Facts(**{**plain, **known})


def policy(*use, residency=None, rules=None, **settings):
    groups = tuple(frozenset(group) for group in use) or (frozenset({"cpu"}),)
    rule = Rule("r", (), groups, Settings(**settings), residency)
    return Policy("p", "h", ("m", "f"), Settings(), (rule,) if rules is None else rules)


def reason(verdict):
    (refused,) = verdict.refused
    return refused.code, refused.detail


def order(verdict):
    return [candidate.fleet for candidate in verdict.ranked]


def test_without_a_matching_rule_everything_is_refused():
    one = fleet()
    verdict = evaluate(policy(rules=()), asked(), [one])
    assert verdict.rule is None
    assert verdict.minimize == "marginal_cost"
    assert verdict.ranked == ()
    assert verdict.refused == ((one, "no_rule", "no rule matches this request"),)


def test_without_fleets_there_is_a_verdict_without_candidates():
    verdict = evaluate(policy(relax=("slo.ttft",)), asked(), [])
    assert (verdict.ranked, verdict.refused, verdict.relaxed) == ((), (), ())


@pytest.mark.parametrize(
    ("told", "known", "code", "detail"),
    [
        ({"lane": "gpu"}, {}, "not_in_use", "rule `r` doesn't use it"),
        ({}, {"lanes": ("gpu",)}, "not_allowed", "the key may not use lane `cpu`"),
        ({}, {"models": ("x",)}, "not_allowed", "the key may not use model `m`"),
        ({}, {"models": ()}, "not_allowed", "the key may not use model `m`"),
        ({}, {"lanes": ()}, "not_allowed", "the key may not use lane `cpu`"),
        ({}, {"needs": ("json", "tools", "vision")}, "needs", "its model lacks tools, vision"),
        ({"context_tokens": 199}, {}, "context", "200 tokens don't fit its 199"),
        ({}, {"max_tokens": 901}, "context", "1001 tokens don't fit its 1000"),
        ({"region": "there"}, {}, "residency", "region `there` is outside the rule's residency"),
        ({"state": "open-circuit"}, {}, "open_circuit", "the fleet is open-circuit"),
        ({"state": "at-limit"}, {}, "at_limit", "the fleet is at-limit"),
        ({"state": "cold"}, {}, "cold", "the fleet is cold"),
        ({"state": "waking"}, {}, "cold", "the fleet is waking"),
        ({"state": "draining"}, {}, "draining", "the fleet is draining"),
        (
            {"worst": None},
            {"max_usd": 1.0},
            "unknown_cost",
            "its price is unknown, and the request has a cost limit",
        ),
        (
            {"worst": 0.5},
            {"max_usd": 0.25},
            "max_usd",
            "may cost 0.500000000 USD, the limit is 0.250000000",
        ),
        ({"ttft_p95_ms": 2001.0}, {}, "slo_ttft", "first token after 2001 ms (p95), 2000 allowed"),
        (
            {"ttft_p95_ms": 2001.0},
            {"slo_ttft_ms": 9000.0},
            "slo_ttft",
            "first token after 2001 ms (p95), 2000 allowed",
        ),
        (
            {"ttft_p95_ms": 900.4},
            {"slo_ttft_ms": 900.0},
            "slo_ttft",
            "first token after 900 ms (p95), 900 allowed",
        ),
        ({"e2e_p95_ms": 60001.0}, {}, "slo_e2e", "last token after 60001 ms (p95), 60000 allowed"),
        ({"quality": 0.8}, {}, "quality_floor", "quality 0.800, 0.85 asked for"),
    ],
)
def test_each_limit_is_told_with_what_was_asked_and_what_there_is(told, known, code, detail):
    bound = policy(residency=frozenset({"here"}))
    assert reason(evaluate(bound, asked(**known), [fleet(**told)])) == (code, detail)


def test_the_first_limit_that_is_broken_is_the_reason():
    bad = fleet(state="cold", region="there", quality=0.0)
    assert reason(evaluate(policy(residency=frozenset({"here"})), asked(), [bad]))[0] == "residency"


@pytest.mark.parametrize(
    ("told", "known"),
    [
        ({"context_tokens": 200}, {}),
        ({"ttft_p95_ms": 2000.0}, {}),
        ({"ttft_p95_ms": 500.0}, {"slo_ttft_ms": 500.0}),
        ({"ttft_p95_ms": 2000.0}, {"slo_ttft_ms": 9000.0}),
        ({"e2e_p95_ms": 60000.0}, {}),
        ({"quality": 0.85}, {}),
        ({"worst": 0.25}, {"max_usd": 0.25}),
        ({"worst": None}, {}),
        ({"ttft_p95_ms": None, "e2e_p95_ms": None}, {"slo_ttft_ms": 1.0}),
        ({"usd_marginal": None, "usd_average": None}, {}),
        ({"state": "unknown"}, {}),
    ],
)
def test_what_just_meets_a_limit_or_is_unknown_may_serve(told, known):
    assert order(evaluate(policy(), asked(**known), [fleet(**told)])) == ["f"]


@pytest.mark.parametrize(
    ("told", "code", "detail"),
    [
        ({"ttft_p95_ms": None}, "unknown_latency", "its time to the first token is unknown"),
        ({"e2e_p95_ms": None}, "unknown_latency", "its end-to-end time is unknown"),
        ({"usd_marginal": None}, "unknown_cost", "its cost is unknown"),
        ({"usd_average": None}, "unknown_cost", "its cost is unknown"),
    ],
)
def test_a_strict_rule_refuses_what_is_unknown(told, code, detail):
    assert reason(evaluate(policy(strict=True), asked(), [fleet(**told)])) == (code, detail)


def test_a_strict_rule_without_objectives_asks_for_no_latency():
    free = policy(strict=True, slo=Slo(None, None))
    assert order(evaluate(free, asked(), [fleet(ttft_p95_ms=None, e2e_p95_ms=None)])) == ["f"]


def test_the_cost_limit_counts_the_callers_output_limit_else_the_rules():
    seen = []
    one = fleet(usd_at_most=lambda limit: seen.append(limit) or 0.0)
    rule = policy(max_output_tokens=77)
    evaluate(rule, asked(max_usd=1.0), [one])
    evaluate(rule, asked(max_usd=1.0, max_tokens=5), [one])
    assert seen == [77, 5]


# ---- a floor with confidence -----------------------------------------------------------------

SURE = {"quality_floor": 0.85, "confidence": 0.95}


@pytest.mark.parametrize(
    ("labels", "good", "detail"),
    [
        (
            0,
            0,
            (
                "task `math`: no labels, 0.85 asked for with 0.95 confidence; "
                "16 would do if all are acceptable"
            ),
        ),
        (
            15,
            15,
            (
                "task `math`: 15 of 15 labels acceptable: at least 0.847, 0.85 asked for with "
                "0.95 confidence; about 16 labels would do at this share"
            ),
        ),
        (
            100,
            90,
            (
                "task `math`: 90 of 100 labels acceptable: at least 0.840, 0.85 asked for with "
                "0.95 confidence; about 138 labels would do at this share"
            ),
        ),
        (
            40,
            20,
            (
                "task `math`: 20 of 40 labels acceptable: at least 0.374, 0.85 asked for with "
                "0.95 confidence; more would not do at this share"
            ),
        ),
    ],
)
def test_a_model_by_p_small_is_refused_until_the_labels_prove_the_floor(labels, good, detail):
    facts = asked(labels=labels, labels_acceptable=good)
    verdict = evaluate(policy(**SURE), facts, [fleet(by_p_small=True), fleet("sure")])
    assert order(verdict) == ["sure"]
    assert reason(verdict) == ("quality_unproved", detail)


@pytest.mark.parametrize(("labels", "good"), [(16, 16), (139, 126)])
def test_enough_labels_prove_it(labels, good):
    facts = asked(labels=labels, labels_acceptable=good)
    assert order(evaluate(policy(**SURE), facts, [fleet(by_p_small=True)])) == ["f"]


def test_a_p_small_below_the_floor_is_refused_however_many_labels_there_are():
    facts = asked(labels=900, labels_acceptable=900)
    weak = fleet(by_p_small=True, quality=0.5)
    assert reason(evaluate(policy(**SURE), facts, [weak]))[0] == "quality_floor"


def test_without_confidence_no_label_is_asked_for():
    assert order(evaluate(policy(quality_floor=0.85), asked(), [fleet(by_p_small=True)])) == ["f"]


def test_relaxing_the_floor_relaxes_its_proof():
    verdict = evaluate(policy(**SURE, relax=("quality_floor",)), asked(), [fleet(by_p_small=True)])
    assert (order(verdict), verdict.relaxed) == (["f"], ("quality_floor",))


def test_counts_that_cannot_be_have_a_verdict():
    for good in (-5, 50):
        facts = asked(labels=20, labels_acceptable=good)
        assert evaluate(policy(**SURE), facts, [fleet(by_p_small=True)]).rule is not None


# ---- sets and order --------------------------------------------------------------------------


def test_the_first_set_comes_first_however_dear_it_is():
    cheap, dear = fleet("cheap", "gpu", usd_marginal=0.0), fleet("dear", "cpu", usd_marginal=9.0)
    assert order(evaluate(policy(["cpu"], ["gpu"]), asked(), [cheap, dear])) == ["dear", "cheap"]
    assert order(evaluate(policy(["cpu", "gpu"]), asked(), [cheap, dear])) == ["cheap", "dear"]


def test_a_fleet_in_two_sets_counts_in_the_first():
    a, b = fleet("a", "gpu", usd_marginal=9.0), fleet("b", "gpu", usd_marginal=0.0)
    assert order(evaluate(policy(["a"], ["gpu"]), asked(), [b, a])) == ["a", "b"]


def test_the_routers_own_cost_counts_in_the_objective():
    a = fleet("a", usd_marginal=1.0, usd_average=1.0, usd_router=0.5)
    b = fleet("b", usd_marginal=1.2, usd_average=1.2)
    for minimize in ("marginal_cost", "average_cost"):
        assert order(evaluate(policy(minimize=minimize), asked(), [a, b])) == ["b", "a"]


def test_ties_go_to_the_lower_average_and_then_to_the_catalogue():
    a, b = fleet("a", usd_marginal=0.0, usd_average=2.0), fleet("b", usd_marginal=0.0)
    c = fleet("c", usd_marginal=0.0, usd_average=None)
    d = fleet("d", usd_marginal=0.0, usd_average=2.0)
    verdict = evaluate(policy(), asked(), [c, a, b, d])
    assert order(verdict) == ["b", "a", "d", "c"]


# ---- wishes and pins -------------------------------------------------------------------------

FAST = {"usd_marginal": 3.0, "e2e_p50_ms": 1.0}
GOOD = {"usd_marginal": 2.0, "quality": 1.2}
ALSO_GOOD = {"usd_marginal": 2.5, "quality": 1.2, "usd_router": 0.1}
CHEAP = {"usd_marginal": 1.0, "ttft_p50_ms": 999.0}


@pytest.mark.parametrize(
    ("wish", "minimize", "expected"),
    [
        ("auto", "ttft", ["fast", "good", "also", "cheap"]),
        ("auto:cheapest", "marginal_cost", ["cheap", "good", "also", "fast"]),
        ("auto:fastest", "e2e", ["fast", "good", "also", "cheap"]),
        ("auto:best", "best", ["good", "also", "cheap", "fast"]),
    ],
)
def test_a_wish_replaces_what_is_minimized(wish, minimize, expected):
    found = [fleet("fast", **FAST), fleet("good", **GOOD), fleet("also", **ALSO_GOOD)]
    found.append(fleet("cheap", **CHEAP))
    may = ("fastest", "best")
    verdict = evaluate(policy(minimize="ttft"), asked(requested_model=wish, may=may), found)
    assert verdict.minimize == minimize
    assert order(verdict) == expected


@pytest.mark.parametrize(
    ("wish", "right"),
    [
        ("auto:fastest", "fastest"),
        ("auto:best", "best"),
        ("m", "pin_model"),
        ("m@f", "pin_fleet"),
        ("auto:unheard-of", "pin_model"),
    ],
)
def test_a_wish_without_its_right_is_refused_everywhere(wish, right):
    others = tuple({"fastest", "best", "pin_model", "pin_fleet"} - {right})
    found = [fleet("f"), fleet("g", "gpu")]
    verdict = evaluate(policy(), asked(requested_model=wish, may=others), found)
    assert verdict.ranked == ()
    told = {(r.code, r.detail) for r in verdict.refused}
    assert told == {("not_allowed", f"the key lacks the right `{right}`")}
    assert [r.candidate for r in verdict.refused] == found


def test_auto_and_the_cheapest_take_no_right():
    for wish in ("auto", "auto:cheapest"):
        verdict = evaluate(policy(), asked(requested_model=wish, may=()), [fleet()])
        assert order(verdict) == ["f"]


def test_a_pinned_model_replaces_use_and_keeps_every_limit():
    found = [
        fleet("here", "gpu", model="big", usd_marginal=2.0),
        fleet("cheaper", "other", model="big", usd_marginal=1.0),
        fleet("there", "gpu", model="big", region="there"),
        fleet("slow", "gpu", model="big", ttft_p95_ms=9999.0),
        fleet("small", "cpu", model="m"),
    ]
    bound = policy(residency=frozenset({"here"}))
    verdict = evaluate(bound, asked(requested_model="big"), found)
    assert order(verdict) == ["cheaper", "here"]
    assert [(r.candidate.fleet, r.code) for r in verdict.refused] == [
        ("there", "residency"),
        ("slow", "slo_ttft"),
        ("small", "not_in_use"),
    ]
    assert verdict.refused[2].detail == "another model was asked for"


def test_a_pinned_fleet_is_the_only_one_and_answers_to_hard_limits_only():
    weak = {"quality": 0.0, "ttft_p95_ms": 9e9, "e2e_p95_ms": 9e9, "usd_average": None}
    found = [fleet("f", "gpu", **weak), fleet("g", "gpu"), fleet("h", model="f")]
    asks = asked(requested_model="m@f", may=("pin_fleet",), slo_ttft_ms=1.0)
    verdict = evaluate(policy(strict=True), asks, found)
    assert order(verdict) == ["f"]
    assert {r.detail for r in verdict.refused} == {"another fleet was asked for"}
    down = evaluate(policy(), asks, [fleet("f", "gpu", state="cold")])
    assert reason(down) == ("cold", "the fleet is cold")


def test_a_fleet_that_serves_another_model_is_not_the_pinned_one():
    asks = asked(requested_model="other@f", may=("pin_fleet",))
    assert reason(evaluate(policy(), asks, [fleet("f")]))[0] == "not_in_use"


# ---- relaxing --------------------------------------------------------------------------------


def test_what_nobody_meets_gives_way_in_the_rules_order():
    weak, late = fleet("weak", quality=0.5), fleet("late", ttft_p95_ms=9000.0)
    rather_weak = policy(relax=("quality_floor", "slo.ttft"))
    verdict = evaluate(rather_weak, asked(), [weak, late])
    assert (order(verdict), verdict.relaxed) == (["weak"], ("quality_floor",))
    assert reason(verdict)[0] == "slo_ttft"
    rather_late = policy(relax=("slo.ttft", "quality_floor"))
    verdict = evaluate(rather_late, asked(), [weak, late])
    assert (order(verdict), verdict.relaxed) == (["late"], ("slo.ttft",))
    assert reason(verdict)[0] == "quality_floor"


def test_nothing_gives_way_while_somebody_meets_everything():
    verdict = evaluate(policy(relax=("quality_floor",)), asked(), [fleet(), fleet("g", quality=0)])
    assert (order(verdict), verdict.relaxed) == (["f"], ())


def test_what_must_not_give_way_refuses_and_every_reason_stays():
    bad = fleet(quality=0.5, ttft_p95_ms=9000.0)
    verdict = evaluate(policy(relax=("slo.ttft",)), asked(), [bad])
    assert (verdict.ranked, verdict.relaxed) == ((), ())
    assert reason(verdict)[0] == "slo_ttft"


def test_a_candidate_that_stays_out_is_told_a_limit_that_still_holds():
    late, both = fleet("late", ttft_p95_ms=9000.0), fleet("both", ttft_p95_ms=9000.0, quality=0.5)
    verdict = evaluate(policy(relax=("slo.ttft",)), asked(), [late, both])
    assert order(verdict) == ["late"]
    assert reason(verdict)[0] == "quality_floor"


def test_a_hint_that_nobody_meets_gives_way_before_the_rules_own_limits():
    near, far = fleet("near", ttft_p95_ms=1900.0), fleet("far", ttft_p95_ms=2100.0)
    weak = fleet("weak", ttft_p95_ms=10.0, quality=0.5)
    rule = policy(relax=("quality_floor", "slo.ttft"))
    verdict = evaluate(rule, asked(slo_ttft_ms=100.0), [near, far, weak])
    assert (order(verdict), verdict.relaxed) == (["near"], ("slo.ttft",))
    assert {r.candidate.fleet: r.code for r in verdict.refused} == {
        "far": "slo_ttft",
        "weak": "quality_floor",
    }


def test_a_hint_is_law_where_the_rule_may_not_relax_latency():
    weak = fleet("weak", ttft_p95_ms=10.0, quality=0.5)
    for relax in ((), ("quality_floor",)):
        verdict = evaluate(policy(relax=relax), asked(slo_ttft_ms=100.0), [fleet(), weak])
        assert (verdict.ranked, verdict.relaxed) == ((), ())
        assert [r.code for r in verdict.refused] == ["slo_ttft", "quality_floor"]


def test_a_hint_still_chooses_among_what_relaxing_opened():
    slow, quick = fleet("slow", quality=0.5), fleet("quick", quality=0.5, ttft_p95_ms=90.0)
    verdict = evaluate(policy(relax=("quality_floor",)), asked(slo_ttft_ms=100.0), [slow, quick])
    assert (order(verdict), verdict.relaxed) == (["quick"], ("quality_floor",))
    assert reason(verdict)[0] == "slo_ttft"


def test_a_hint_goes_together_with_the_objective():
    late = fleet(ttft_p95_ms=9000.0)
    verdict = evaluate(policy(relax=("slo.ttft",)), asked(slo_ttft_ms=100.0), [late])
    assert (order(verdict), verdict.relaxed) == (["f"], ("slo.ttft",))


# ---- the tables ------------------------------------------------------------------------------


def test_every_objective_of_the_form_and_of_the_wishes_can_be_minimized():
    assert set(OBJECTIVES) == {*MINIMIZE, *(minimize for minimize, _ in WISHES.values())}


def test_the_tables_are_read_only():
    for table in (OBJECTIVES, WISHES, CLOSED):
        with pytest.raises(TypeError):
            table["x"] = None


# -- a budget that downgrades ----------------------------------------------------------------------

SMALL = fleet("small", worst=0.001, quality=0.9, usd_marginal=0.002)
LARGE = fleet("large", lane="gpu", worst=0.1, usd_marginal=0.0)


def test_a_spent_budget_leaves_the_lane_of_the_cheapest_and_says_so():
    both = [LARGE, fleet("other", lane="gpu", worst=0.0005, state="cold"), SMALL]
    rich, poor = (
        evaluate(policy({"gpu"}, {"cpu"}), asked(downgraded=spent), both)
        for spent in ((), ("search-team",))
    )
    assert order(rich) == ["large", "small"]
    assert order(poor) == ["small"]
    refused = {r.candidate.fleet: (r.code, r.detail) for r in poor.refused}
    assert refused["large"] == (
        "downgraded",
        "budget `search-team` is spent: only lane `cpu`, the cheapest, may answer",
    )
    assert refused["other"][0] == "cold"


def test_a_lane_without_a_price_is_the_dearest():
    unknown = fleet("unknown", lane="gpu", worst=None)
    verdict = evaluate(policy({"gpu", "cpu"}), asked(downgraded=("b",)), [unknown, LARGE, SMALL])
    assert order(verdict) == ["small"]
    assert order(evaluate(policy({"gpu"}), asked(downgraded=("b",)), [unknown])) == ["unknown"]


def test_soft_limits_hold_in_the_lane_that_is_left_and_relax_as_the_rule_says():
    poor = asked(downgraded=("b",))
    strict = policy({"gpu"}, {"cpu"}, quality_floor=0.95)
    assert order(evaluate(strict, poor, [LARGE, SMALL])) == []
    loose = policy({"gpu"}, {"cpu"}, quality_floor=0.95, relax=("quality_floor",))
    verdict = evaluate(loose, poor, [LARGE, SMALL])
    assert (order(verdict), verdict.relaxed) == (["small"], ("quality_floor",))


def test_a_pin_of_a_model_is_served_by_its_cheapest_lane():
    poor = asked(downgraded=("b",), requested_model="m")
    assert order(evaluate(policy({"gpu"}), poor, [LARGE, SMALL])) == ["small"]
