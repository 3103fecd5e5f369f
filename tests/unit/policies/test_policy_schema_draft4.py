"""The form that AWS AppConfig checks a policy by: draft 4, and short enough."""

import copy
import json
import subprocess
import sys
from importlib.resources import files

import pytest
from jsonschema import Draft4Validator, Draft202012Validator
from policy_contract import CONTRACT

import yamlfile
from policies.schema import appconfig_schema, schema
from policies.schema_draft4 import draft4

MOST_CHARACTERS = 32_768  # API_Validator: "Maximum length of 32768"
SHIPPED = sorted(
    [*files("policies").joinpath("examples").iterdir(), files("policies").joinpath("default.yaml")],
    key=str,
)
WRONG = (None, True, "", "x*", -1, 0, 1.5, 10**13, [], ["a", "a"], {}, {"unknown": 1})
HERS, OURS = Draft4Validator(json.loads(appconfig_schema())), Draft202012Validator(schema())


def document(text):
    return yamlfile.parse(text, "policy.yaml").value


def places(value, path=()):
    yield path
    inside = {dict: dict.items, list: enumerate}.get(type(value), lambda _: ())
    for key, inner in inside(value):
        yield from places(inner, (*path, key))


def changed(value, path, wrong):
    if not path:
        return wrong
    whole = copy.deepcopy(value)
    inner = whole
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = wrong
    return whole


def test_it_is_a_schema_of_draft_4_and_fits():
    Draft4Validator.check_schema(json.loads(appconfig_schema()))
    assert len(appconfig_schema()) < MOST_CHARACTERS / 2  # room to grow


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda path: path.name)
def test_it_takes_every_policy_that_is_shipped(shipped):
    assert list(HERS.iter_errors(document(shipped.read_text("utf-8")))) == []


@pytest.mark.parametrize(
    "mistake",
    [
        ("rules", []),
        ("baseline", "llama-4-scout"),
        ("version", 2),
        ("budget", []),
        ("rules", [{"id": "all"}]),
        ("rules", [{"id": "all", "use": "cpu", "when": {"tier": "easy"}}]),
        ("rules", [{"id": "all", "use": ["cpu", "cpu"]}]),
        ("defaults", {"slo": {"ttft_p95_ms": 0}}),
        ("rate_limits", [{"id": "one", "match": {"team": "a"}}]),
    ],
    ids=str,
)
def test_it_refuses_the_main_mistakes(mistake):
    key, value = mistake
    assert list(HERS.iter_errors({**document(CONTRACT), key: value})) != []


def test_it_agrees_with_the_published_form_about_every_change_of_the_contract():
    whole = document(CONTRACT)
    changes = [changed(whole, path, wrong) for path in places(whole) for wrong in WRONG]
    verdicts = [OURS.is_valid(change) for change in changes]
    assert [HERS.is_valid(change) for change in changes] == verdicts
    assert True in verdicts
    assert verdicts.count(False) > len(verdicts) / 2


def test_it_agrees_where_a_key_is_left_out():
    whole = document(CONTRACT)
    for path in places(whole):
        if path and isinstance(path[-1], str):
            less = copy.deepcopy(whole)
            inner = less
            for key in path[:-1]:
                inner = inner[key]
            del inner[path[-1]]
            assert HERS.is_valid(less) == OURS.is_valid(less), path


def test_the_module_prints_it():
    command = [sys.executable, "-m", "policies.schema", "--appconfig"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert printed.stdout == appconfig_schema() + "\n"


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"propertyNames": {}}, "`propertyNames`"),
        ({"minimum": 1, "exclusiveMinimum": 0}, "one `minimum`"),
        ({"not": {"type": "string"}}, "this `not`"),
    ],
    ids=str,
)
def test_a_word_that_draft_4_lacks_is_told_rather_than_dropped(form, said):
    with pytest.raises(ValueError, match=said):
        draft4(form)
