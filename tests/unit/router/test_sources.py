from pathlib import Path

import pytest
from support import catalogue, fleet

import yamlfile
from router.sources import Sources, names_of


def world(tmp_path, *fleets, policy=None):
    path = tmp_path / "fleets.yaml"
    path.write_text(catalogue(*fleets), "utf-8")
    return Sources(tmp_path, path, policy).load()


def test_without_files_the_packaged_policy_and_fleets_are_loaded():
    found = Sources(Path("nowhere")).load()
    assert found.policy.name == "default"
    assert found.baseline.fleet.id == "p5-scout"


def test_fleets_without_a_policy_get_one_in_their_own_names(tmp_path):
    url = "http://127.0.0.1:1/v1"
    found = world(tmp_path, fleet("a", url), fleet("b", url, lane="accelerator"))
    assert found.policy.name == "fitted"
    assert [rule.id for rule in found.policy.rules] == ["private", "simple", "everything-else"]
    assert found.baseline.fleet.id == "b"


def test_lanes_of_other_names_are_one_set(tmp_path):
    url = "http://127.0.0.1:1/v1"
    found = world(tmp_path, fleet("a", url, lane="east"), fleet("b", url, lane="west"))
    assert [rule.use for rule in found.policy.rules] == [(frozenset({"east", "west"}),)]


def test_a_policy_that_was_given_is_never_replaced(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text("version: 1\nname: p\nbaseline: m@a\nrules: [{id: x, use: gpu}]\n", "utf-8")
    with pytest.raises(yamlfile.Invalid, match="unknown lane `gpu`"):
        world(tmp_path, fleet("a", "http://127.0.0.1:1/v1"), policy=path)


def test_which_models_are_judged_by_shadow_judging_follows_from_the_baseline(tmp_path):
    judged = names_of(Sources(Path("nowhere")).load().catalogue).judged
    assert judged("p5-scout") == {"qwen3-tiny"}
    assert judged("local-qwen3-tiny") == frozenset()
    assert judged("nobody") == frozenset()
    url = "http://127.0.0.1:1/v1"
    unknown = world(tmp_path, fleet("a", url), fleet("b", url, lane="accelerator"))
    assert names_of(unknown.catalogue).judged("b") == {"m"}  # it serves another lane as well
