"""`deferrable:` of deploy.yaml: what is read, what is refused with file:line, what looks odd."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import yamlfile
from router.batches.pace import hands, most_queued
from router.deploy import parts
from router.deploy.read import stages
from router.deploy.stage import Deferrable, Window
from yamlfile import Invalid

EXAMPLES = Path("infra/examples")
NIGHT = {"from": "22:00", "to": "06:00", "tz": "Asia/Shanghai"}


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(EXAMPLES, tmp_path / "examples"))


@pytest.fixture
def given(folder):
    """Write the example's small stage with this `deferrable`; return the file's path."""

    def write(value):
        path = folder / "deploy.yaml"
        row = yamlfile.parse(path.read_text("utf-8"), "").value
        kept = {**row["stages"]["dev"], "deferrable": value}
        path.write_text(json.dumps({**row, "stages": {"dev": kept}}, indent=1), "utf-8")
        return path

    return write


def refused(path):
    with pytest.raises(Invalid) as told:
        stages(path)
    (problem,) = told.value.problems
    assert int(problem.where.rpartition(":")[2]) > 1
    return str(problem)


def test_a_window_is_read_and_without_one_it_is_any_time(given):
    assert stages(given({}))["dev"].deferrable == Deferrable()
    found = stages(given({"window": NIGHT, "at_once": 40}))["dev"]
    assert found.deferrable == Deferrable(Window("22:00", "06:00", "Asia/Shanghai"), 40)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"window": {**NIGHT, "tz": "Asia/Peking"}}, "unknown time zone `Asia/Peking`"),
        ({"window": {**NIGHT, "to": "22:00"}}, "a window from 22:00 to 22:00 is never open"),
        ({"window": {**NIGHT, "to": "24:00"}}, "24:00"),
        ({"at_once": 1}, "at_once is 2 to 1,000 requests, not 1"),
        ({"at_once": 1001}, "at_once is 2 to 1,000 requests, not 1,001"),
        ({"at_once": 0}, "at_once"),
        ({"window": {"from": "22:00", "to": "06:00"}}, "tz"),
    ],
)
def test_what_can_t_be_is_refused_where_it_stands(given, value, said):
    assert said in refused(given(value))


def test_a_request_that_may_outlast_the_function_is_refused(given, folder):
    policy = folder / "policy.yaml"
    text = policy.read_text("utf-8")
    longer = text.replace("deadline_ms: 120000", "deadline_ms: 800000")
    assert longer != text
    policy.write_text(longer, "utf-8")
    with pytest.raises(Invalid) as told:
        stages(given({}))
    assert "deadline_ms at most 780,000" in str(told.value)


def test_a_policy_without_a_rule_for_batches_is_told(given):
    (found,) = (str(w) for w in stages(given({}))["dev"].warnings if "deferrable" in str(w))
    assert "no rule `when: {service_class: deferrable}`" in found


def test_the_example_of_lanes_has_a_rule_and_a_lane_for_them():
    found = stages(EXAMPLES / "lanes" / "deploy.yaml")["lanes"]
    assert found.deferrable is not None
    assert not [w for w in found.warnings if "deferrable" in str(w)]
    (spot,) = (fleet for fleet in found.catalogue.fleets if fleet.lane == "batch")
    assert [tranche.option for tranche in spot.tariff.tranches] == ["spot"]
    assert spot.replicas.min == 0
    assert parts.functions(found) - parts.functions(replace(found, deferrable=None)) == 2


@pytest.mark.parametrize("at_once", [2, 3, 19, 20, 21, 40, 41, 999, 1000])
def test_functions_and_lines_each_are_never_more_than_at_once(at_once):
    functions, each = hands(at_once)
    assert functions >= 2
    assert 1 <= each <= 20
    assert at_once - functions < functions * each <= at_once
    assert most_queued(at_once) >= functions
