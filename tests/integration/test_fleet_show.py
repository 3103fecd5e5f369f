"""`sluice fleet show` and `audit`, as typed."""

import json
import xml.etree.ElementTree as ET

from support import sluice


def test_show_names_price_capacity_and_where_fleets_break_even(tmp_path):
    shown = sluice("fleet", "show", "--state", tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "0.15952" in shown.stdout
    said = "local-qwen3-tiny kept 100 % busy against one p5-scout always on: 297,292 requests/h"
    assert said in shown.stdout
    assert "inf2-scout always on: 38,976 requests/h" in shown.stdout


def test_show_one_fleet_with_its_curve(tmp_path):
    shown = sluice("fleet", "show", "p5-scout", "--tokens", "512+128", "--state", tmp_path)
    assert "S2" in shown.stdout
    assert "assumed:p95" in shown.stdout
    assert "1,075" in shown.stdout


def test_show_as_json_has_the_same_figures(tmp_path):
    found = json.loads(sluice("fleet", "show", "--json", "--state", tmp_path).stdout)
    (p5,) = [fleet for fleet in found["fleets"] if fleet["fleet"] == "p5-scout"]
    assert p5["price"]["usd_per_hour"] == 98.32
    assert p5["curve"][-1]["tok_s"] > 41_000
    crossing = {
        (c["busy"], c["always_on"]): c["requests_per_hour"]
        for c in found["break_even"]
        if c["replicas"] == 1
    }
    assert round(crossing["local-qwen3-tiny", "p5-scout"]) == 297_292


def test_the_pictures_are_drawn_with_their_labels(tmp_path):
    curves, even = tmp_path / "out" / "curves.svg", tmp_path / "even.svg"
    drawn = sluice(
        "fleet", "show", "p5-scout", "local-qwen3-tiny",
        "--plot", curves, "--break-even", even, "--state", tmp_path,
    )  # fmt: skip
    assert drawn.returncode == 0, drawn.stderr
    texts = {path: " ".join(ET.parse(path).getroot().itertext()) for path in (curves, even)}
    for text in ("p5-scout", "local-qwen3-tiny", "TTFT p50, ms", "output tokens/s", "$ per 1M"):
        assert text in texts[curves]
    for text in ("297,292", "requests per hour", "$ per 1,000 requests of 200 + 200 tokens"):
        assert text in texts[even]


def test_what_is_mistyped_is_told_with_what_is_valid(tmp_path):
    for typed, said in (
        (["show", "p5-scuot"], "did you mean `p5-scout`"),
        (["show", "--tokens", "200"], "is not IN+OUT"),
        (["show", "--plot", "x.gif"], "a picture is .svg or .png"),
        (["show", "--router-on", "lamda"], "unknown place `lamda`"),
        (["audit", "p5"], "unknown profile `p5`"),
        (["audti"], "No such command"),
    ):
        found = (
            sluice("fleet", *typed, "--state", tmp_path)
            if typed != ["audti"]
            else sluice("fleet", *typed)
        )
        assert found.returncode == 3, typed
        assert said in found.stderr, found.stderr


def test_the_audit_of_what_ships_fails_s2_and_passes_s1(tmp_path):
    told = sluice("fleet", "audit", "--json", "--state", tmp_path)
    assert told.returncode == 1
    found = json.loads(told.stdout)
    assert found["failed"] == sum(not point["ok"] for point in found["points"]) == 12
    assert {point["source"] for point in found["points"] if not point["ok"]} == {"S2"}
    assert set(found["points"][0]) >= {"profile", "source", "check", "ok", "stated", "derived"}
    text = sluice("fleet", "audit", "p5.48xlarge/llama-4-scout", "--state", tmp_path)
    assert "FAILED   cost: stated $0.85, derived $6.5" in text.stdout
    passed = sluice("fleet", "audit", "c8g.xlarge/qwen3-0.6b", "--state", tmp_path)
    assert passed.returncode == 0
    assert "0 failed" in passed.stdout


def test_the_age_from_which_a_price_is_old_can_be_chosen(tmp_path):
    young = sluice("fleet", "audit", "c7g.xlarge/qwen3-0.6b", "--state", tmp_path,
                   "--max-price-age-days", "100000")  # fmt: skip
    assert "0 warnings" in young.stdout
