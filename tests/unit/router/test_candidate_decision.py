"""What a candidate would have decided, beside what was decided."""

from pathlib import Path

import pytest

from backends.load import Load
from policies.model import Facts
from policies.parse import parse
from router.candidate_decision import compared
from router.decide import decide
from router.sources import Sources, names_of
from router.world import world

CATALOGUE = Sources(Path("nowhere")).load().catalogue
FACTS = Facts(
    at="2026-01-05T12:00:00.000Z", tenant="acme", team=None, key="k", tags={}, task="math",
    tier="heavy", complexity=0.9, p_small=0.2, language="en", tokens_in=100, tokens_out=400,
)  # fmt: skip
NOBODY = "when: {team: nobody}, use: cpu"


def of(rule, name="next"):
    text = (
        f"version: 1\nname: {name}\nbaseline: llama-4-scout@p5-scout\n"
        f"defaults: {{quality_floor: 0, slo: {{ttft_p95_ms: null, e2e_p95_ms: null}}}}\n"
        f"rules: [{{id: one, {rule}}}]\n"
    )
    return world(parse(text, f"{name}.yaml", names_of(CATALOGUE)), CATALOGUE)


def beside(in_force, candidate):
    now = of(in_force, "now")
    loads = [Load(committed=on.fleet.replicas.min) for on in now.fleets]
    return compared(of(candidate), decide(now, FACTS, loads))


@pytest.mark.parametrize(
    ("in_force", "candidate", "outcome"),
    [
        ("use: p5-scout", "use: p5-scout", "same"),
        ("use: p5-scout", "use: trn2-scout", "other_fleet"),
        (NOBODY, "use: p5-scout", "only_candidate_serves"),
        ("use: p5-scout", NOBODY, "only_in_force_serves"),
        (NOBODY, NOBODY, "both_refuse"),
    ],
)
def test_what_differs_has_a_name(in_force, candidate, outcome):
    assert beside(in_force, candidate)["outcome"] == outcome


def test_the_difference_is_of_expected_charges_at_the_rate_cards():
    found = beside("use: p5-scout", "use: trn2-scout")
    cards = {on.fleet.id: on.card for on in of("use: cpu").fleets}
    usd = {name: cards[name].charge_nano(100, 0, 400) / 1e9 for name in ("p5-scout", "trn2-scout")}
    assert (found["usd_in_force"], found["usd"]) == (usd["p5-scout"], usd["trn2-scout"])
    assert found["usd_more"] == found["usd"] - found["usd_in_force"] != 0
    assert found["rule"] == "one"


def test_a_difference_that_nobody_knows_is_none_and_not_zero():
    found = beside("use: p5-scout", NOBODY)
    assert (found["fleet"], found["rule"], found["usd"], found["usd_more"]) == (None,) * 4
    assert found["usd_in_force"] > 0
