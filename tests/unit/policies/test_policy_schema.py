"""The published form of a policy."""

import json
import runpy
from importlib.resources import files

import yaml
from jsonschema import Draft202012Validator
from policy_contract import CONTRACT

import policies.schema
from policies.conditions import CONDITIONS
from policies.schema import published, schema


def test_the_published_file_is_the_schema():
    assert files("policies").joinpath("schema.json").read_text("utf-8") == published()


def test_the_module_writes_that_file(capsys):
    runpy.run_path(policies.schema.__file__, run_name="__main__")
    assert capsys.readouterr().out == published()


def test_it_is_a_schema_of_its_draft():
    Draft202012Validator.check_schema(json.loads(published()))


def test_it_recognises_the_whole_contract():
    document = yaml.safe_load(CONTRACT)
    assert list(Draft202012Validator(schema()).iter_errors(document)) == []


def test_every_condition_is_a_key_of_when():
    when = schema()["properties"]["rules"]["items"]["properties"]["when"]
    assert when["properties"] == {name: kind.schema for name, kind in CONDITIONS.items()}


def test_unknown_keys_are_refused_everywhere():
    def mappings(form, path):
        if isinstance(form, list):
            for item in form:
                yield from mappings(item, path)
        elif isinstance(form, dict):
            if form.get("type") == "object":
                yield path, form
            for key, inner in form.items():
                yield from mappings(inner, f"{path}/{key}")

    found = dict(mappings(schema(), ""))
    assert len(found) > 15
    free = {path for path, form in found.items() if form["additionalProperties"] is not False}
    assert {path.rpartition("/")[2] for path in free} == {"tags"}


def test_each_part_of_a_policy_says_what_it_is_for():
    document = schema()
    rule = document["properties"]["rules"]["items"]
    settings = document["properties"]["defaults"]["properties"]
    for name, form in {**settings, **rule["properties"]}.items():
        assert "title" in form or "description" in form, name
