"""What `policy check` says of a text."""

from dataclasses import replace

from policies.check import check
from policies.names import Names

NAMES = Names(frozenset({"cpu"}), frozenset({"f"}), frozenset({"m"}), frozenset({"r"}))
HEAD = "version: 1\nname: p\nbaseline: m@f\nrules:\n"


def test_a_good_policy_has_neither_problems_nor_warnings():
    report = check(HEAD + "  - {id: a, use: cpu}\n", "p.yaml", NAMES)
    assert report.policy is not None
    assert report.policy.name == "p"
    assert (report.problems, report.warnings) == ((), ())


def test_a_policy_without_a_catch_all_gets_a_warning_with_its_line():
    first = "  - {id: a, use: cpu, when: {tier: heavy}}\n"
    text = f"{HEAD}{first}  - id: b\n    use: cpu\n    when: {{task: code}}\n"
    report = check(text, "p.yaml", NAMES)
    assert report.policy is not None
    (warning,) = report.warnings
    assert str(warning) == (
        "p.yaml:6: rule b: nothing follows that matches the rest, which is refused"
        " (for example: tier simple, task other)"
    )


def test_a_floor_with_confidence_is_warned_of_where_no_labels_are():
    sure = "quality_floor: {at_least: 0.8, confidence: 0.95}"
    text = f"{HEAD}  - {{id: a, use: cpu, {sure}}}\n"
    assert check(text, "p.yaml", NAMES).warnings == ()
    (warning,) = check(text, "p.yaml", NAMES, labelled=False).warnings
    assert warning.kind == "unproved"
    assert str(warning).startswith("p.yaml:5: rules[0].quality_floor.confidence: without labels")
    assert check(text.replace(sure, "relax: []"), "p.yaml", NAMES, labelled=False).warnings == ()


def test_a_hedge_with_nobody_beside_the_first_fleet_is_warned_of():
    hedge = "slo: {ttft_p95_ms: 300}, hedge: {after: 100, spend_up_to_usd: 1}"
    text = f"{HEAD}  - {{id: a, use: cpu, {hedge}}}\n"
    alone, two = replace(NAMES, lane_of={"f": "cpu", "g": "gpu"}), {"f": "cpu", "g": "cpu"}
    (warning,) = check(text, "p.yaml", alone).warnings
    said = "p.yaml:5: rule a: hedge: it uses the fleet `f` alone, so none is sent"
    assert (warning.kind, str(warning)) == ("lonely_hedge", said)
    assert check(text, "p.yaml", replace(NAMES, lane_of=two)).warnings == ()


def test_a_bad_policy_has_its_problems_and_nothing_else():
    report = check(HEAD + "  - {id: a, use: gpu}\n", "p.yaml", NAMES)
    assert report.policy is None
    (problem,) = report.problems
    assert str(problem).startswith("p.yaml:5: rule a: unknown lane `gpu` (")
    assert report.warnings == ()


def test_a_text_that_is_no_yaml_is_reported_and_not_raised():
    report = check("a: [", "p.yaml", NAMES)
    assert report.policy is None
    assert len(report.problems) == 1


def test_a_name_with_a_full_width_quote_or_comma_is_told_of_and_round_brackets_are_not():
    rule = "  - {id: a, use: cpu, when: {tenant: [“acme”, 公司（北京）], tags: {data: 甲，乙}}}\n"
    report = check(f"{HEAD}{rule}  - {{id: b, use: cpu}}\n", "p.yaml", NAMES)
    assert {each.kind for each in report.warnings} == {"mistyped"}
    unless = "unless it belongs to the name"
    assert [each.message for each in report.warnings] == [
        f'rules[0].when.tenant[0]: `“` is not an ASCII character: write `"`, {unless}',
        f"rules[0].when.tags.data: `，` is a full-width sign: write `,`, {unless}",
    ]


def test_a_usual_tag_of_a_language_is_refused_with_the_name_that_the_policy_knows():
    for tag, meant in (("zh-CN", "zh-Hans"), ("zh-TW", "zh-Hant")):
        rule = f"  - {{id: a, use: cpu, when: {{language: {tag}}}}}\n"
        (problem,) = check(HEAD + rule, "p.yaml", NAMES).problems
        assert f"unknown value `{tag}` (did you mean `{meant}`? known:" in problem.message
