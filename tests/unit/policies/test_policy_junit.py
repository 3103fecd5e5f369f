"""The results of cases as JUnit XML: well-formed whatever is written, with what CI systems read."""

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.cases import Case, CaseResult, facts_of
from policies.coverage import coverage_of
from policies.junit import Reported, junit
from policies.model import Policy, Rule, Settings

PASSED = Reported("第一", "cases/p.yaml:3", ())
FAILED = Reported('a <b> & "c"', "cases/p.yaml:7", ("lane: expected cpu, got gpu", "rule: x"))


def test_the_report_has_the_counts_names_places_and_failures():
    root = ET.fromstring(junit("shop", [PASSED, FAILED]))
    (suite,) = root
    first, second = suite
    for counted in (root, suite):
        counts = {name: counted.get(name) for name in ("name", "tests", "failures", "errors")}
        assert counts == {"name": "shop", "tests": "2", "failures": "1", "errors": "0"}
    assert first.attrib == {
        "classname": "shop",
        "name": "第一",
        "file": "cases/p.yaml",
        "line": "3",
        "time": "0",
    }
    assert list(first) == []
    (failure,) = second
    assert second.get("name") == 'a <b> & "c"'
    assert failure.get("message") == "lane: expected cpu, got gpu; rule: x"
    assert failure.text.splitlines() == [
        "cases/p.yaml:7: lane: expected cpu, got gpu",
        "cases/p.yaml:7: rule: x",
    ]


def test_a_failure_that_says_where_it_is_keeps_its_own_place():
    rules = Reported("enough", "shop.yaml:10", ("1 of 3", "shop.yaml:21: rule rest: no case"))
    failure = ET.fromstring(junit("shop", [rules])).find(".//failure")
    assert failure.text.splitlines() == ["shop.yaml:10: 1 of 3", "shop.yaml:21: rule rest: no case"]


def test_a_report_of_nothing_is_a_report():
    assert ET.fromstring(junit("shop", [])).get("tests") == "0"


@settings(max_examples=40, deadline=None)
@given(st.text(), st.text(st.characters()))
def test_any_text_makes_well_formed_xml_and_the_same_bytes(name, said):
    tests = [Reported(name, "c.yaml:1", (said,))]
    text = junit(name, tests)
    text.encode()
    assert ET.fromstring(text).get("failures") == "1"
    assert junit(name, tests) == text


@pytest.mark.parametrize("bad", ["\x00", "\x1b", "\ud800", "\uffff"])
def test_what_xml_cant_hold_is_replaced(bad):
    (suite,) = ET.fromstring(junit(f"a{bad}b", []))
    assert suite.get("name") == "a\ufffdb"


def policy(*names):
    rules = tuple(Rule(name, (), (frozenset({"cpu"}),)) for name in names)
    return Policy("p", "", ("m", "f"), Settings(), rules)


def results(*rules):
    case = Case("c", "c.yaml:1", facts_of({}), {}, {})
    return [CaseResult(case, (), rule) for rule in rules]


@pytest.mark.parametrize(
    ("reached", "unreached", "percent"),
    [
        (["a", "b", "c"], (), 100.0),
        (["a", "a", None], (1, 2), 33.3),
        (["a", "c"], (1,), 66.6),  # never rounded up to what was asked for
        ([], (0, 1, 2), 0.0),
    ],
)
def test_the_rules_that_no_case_reaches_are_counted(reached, unreached, percent):
    found = coverage_of(policy("a", "b", "c"), results(*reached))
    assert (found.unreached, found.percent) == (unreached, percent)
