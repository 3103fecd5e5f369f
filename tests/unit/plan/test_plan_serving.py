import pytest
from unit.plan import made

from backends import files
from policies.parse import parse
from router.plan.serving import sorter
from router.sources import names_of
from router.world import world

CATALOGUE = files.catalogue(None)
ALL = frozenset(fleet.id for fleet in CATALOGUE.fleets)


def over(text=None):
    source = files.packaged("policies", "default.yaml")
    policy = parse(text or source.text, source.name, names_of(CATALOGUE))
    return world(policy, CATALOGUE)


def sorts(trace, floor=None, text=None, fleets=ALL):
    sort = sorter(over(text), trace, floor, fleets)
    return [sort(i) for i in range(len(trace))], sort


def test_a_request_may_go_where_its_quality_is_enough_whatever_the_time():
    (one,), _ = sorts(made.trace([0.0], p_small=0.9))
    assert "local-qwen3-tiny" in one.fleets
    assert "p5-scout" in one.fleets
    assert (one.tier, one.service_class) == ("simple", "standard")


def test_a_request_too_hard_for_the_small_model_may_not():
    (one,), _ = sorts(made.trace([0.0], p_small=0.5))
    assert "local-qwen3-tiny" not in one.fleets


@pytest.mark.parametrize(("p_small", "there"), [(0.69, False), (0.7, True), (0.71, True)])
def test_a_floor_holds_to_the_last_digit(p_small, there):
    (one,), _ = sorts(made.trace([0.0], p_small=p_small), floor=0.7)
    assert ("local-qwen3-tiny" in one.fleets) is there


def test_a_prompt_beyond_the_context_goes_elsewhere():
    both, _ = sorts(made.trace([0.0, 1.0], [(100, 50), (2040, 50)]))
    assert ["local-qwen3-tiny" in sort.fleets for sort in both] == [True, False]


def test_who_cannot_be_planned_serves_nobody():
    (one,), _ = sorts(made.trace([0.0]), fleets=frozenset({"p5-scout"}))
    assert one.fleets == {"p5-scout"}


def test_why_nobody_may_serve_is_kept():
    text = (
        "version: 1\nname: x\nbaseline: llama-4-scout@p5-scout\n"
        "rules: [{id: all, use: cpu, relax: []}]\n"
    )
    (one,), sort = sorts(made.trace([0.0], p_small=0.5), text=text)
    assert one.fleets == frozenset()
    assert "quality_floor" in sort.why["all, simple, standard"]["local-qwen3-tiny"]
