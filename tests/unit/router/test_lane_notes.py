"""What a plan says of the prices and profiles behind its machines' figures."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from backends import aws_prices, files
from backends.prices import Price
from backends.tariff import Tranche
from router.cli import lane_notes, lane_text
from router.deploy.plan import plan
from router.deploy.read import stages

STAGE = stages(Path("infra/examples/lanes/deploy.yaml"))["lanes"]
SOURCE = files.packaged("backends", "data", "aws.yaml")
PRICES = aws_prices.read(SOURCE.text, SOURCE.name)
GRAVITON, P5 = STAGE.lanes[0], STAGE.lanes[1]


def of(lane, as_of=None, **keys):
    if as_of is not None:
        keys["tranches"] = (Tranche("on_demand", None, Price(10.0, as_of, "ours", "stated")),)
    lane = replace(lane, fleet=replace(lane.fleet, **keys))
    return plan(replace(STAGE, lanes=(lane,)), PRICES)


@pytest.mark.parametrize(
    ("as_of", "said"), [("2026-05-01", False), ("2026-04-30", True), ("", True)]
)
def test_a_price_older_than_180_days_or_undated_is_noted(as_of, said):
    noted = lane_notes.doubts(of(GRAVITON, as_of), date(2026, 10, 28))
    old = "prices without a date, or older than 180 days: qwen3-graviton; "
    assert [note.startswith(old) for note in noted] == [True] * said


def test_a_profile_that_contradicts_itself_is_noted_and_its_source_explained():
    noted, s2, undated = lane_notes.notes(of(P5, "2026-05-01"), date(2026, 5, 2))
    assert "contradict each other: p5.48xlarge/llama-4-scout; " in noted
    folder = "infra/examples/lanes"
    said = f"`sluice fleet audit --fleets {folder}/fleets.yaml --state {folder}` says where"
    assert said in noted
    assert s2.startswith("S2 = ")
    assert undated.startswith("none of S0 to S2 prints a date")


def test_a_stage_that_makes_nothing_has_no_notes():
    assert lane_notes.notes(plan(replace(STAGE, lanes=()), PRICES), date(2026, 5, 2)) == []


def test_a_share_that_nobody_measured_says_why_its_tokens_are_unknown_and_what_helps():
    said = "\n".join(lane_text.text(of(P5, host="big", host_share=0.5, profile=None)))
    assert "nobody measured 0.5 of p5.48xlarge with a neighbour on it" in said
    assert "`sluice fleet measure --fleet scout-p5`" in said
