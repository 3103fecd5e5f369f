"""`sluice fleet prices`, as typed. The list itself is asked in tests/unit/backends."""

import json
import os

import yaml
from support import sluice

OWN = """\
version: 1
currency: USD
exchange: [{currency: CNY, usd: 0.14, as_of: 2026-11-01, source: our treasury}]
prices:
  - {instance: c8g.xlarge, region: us-east-1, purchase: on_demand, usd_per_hour: 0.12,
     as_of: 2026-11-01, source: our contract, mark: stated}
  - {instance: c8g.xlarge, region: us-east-1, purchase: savings_plan, usd_per_hour: 0.1,
     as_of: 2026-11-01, source: our plan, mark: stated}
pools: [{id: compute, usd_per_hour: 2.5, families: [c8g]}]
"""


def bare(tmp_path, **more):
    """Return an environment without any credentials of AWS."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    nothing = str(tmp_path / "none")
    return {
        **kept, "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": nothing, "AWS_CONFIG_FILE": nothing, **more,
    }  # fmt: skip


def test_show_tells_age_and_source_of_every_price(tmp_path):
    shown = sluice("fleet", "prices", "show", "--state", tmp_path)
    assert shown.returncode == 0
    assert "98.32" in shown.stdout
    assert "are older than 180 days" in shown.stdout


def test_the_users_prices_go_first_and_are_told_apart(tmp_path):
    (tmp_path / "prices.yaml").write_text(OWN)
    found = json.loads(sluice("fleet", "prices", "show", "--json", "--state", tmp_path).stdout)
    ours = {(row["instance"], row["purchase"]): row for row in found["prices"] if row["own"]}
    assert ours["c8g.xlarge", "on_demand"]["usd_per_hour"] == 0.12
    assert found["pools"] == [{"id": "compute", "usd_per_hour": 2.5}]
    text = sluice("fleet", "prices", "show", "--instance", "c8g.xlarge", "--state", tmp_path)
    assert "our contract (yours)" in text.stdout
    assert "savings plan compute: $2.5/h over c8g in all regions" in text.stdout
    assert "p5" not in text.stdout


def test_a_broken_price_file_is_told_with_its_line(tmp_path):
    (tmp_path / "prices.yaml").write_text(OWN.replace("0.12", "-1"))
    for command in (["prices", "show"], ["prices", "refresh"], ["show"], ["audit"]):
        found = sluice("fleet", *command, "--state", tmp_path, env=bare(tmp_path))
        assert found.returncode == 3
        assert "prices.yaml:5" in found.stderr


def test_without_credentials_the_prices_stay_and_their_age_is_told(tmp_path):
    found = sluice("fleet", "prices", "refresh", "--state", tmp_path, env=bare(tmp_path))
    assert found.returncode == 1
    assert "no AWS credentials are found" in found.stderr
    assert "the prices stay as they are" in found.stderr
    assert "days old" in found.stderr
    assert not (tmp_path / "prices.yaml").exists()


def refreshed(tmp_path, price_list, *more):
    env = bare(
        tmp_path,
        AWS_ENDPOINT_URL_PRICING=price_list,
        AWS_ACCESS_KEY_ID="x",
        AWS_SECRET_ACCESS_KEY="x",
    )
    return sluice("fleet", "prices", "refresh", *more, "--state", tmp_path, env=env)


def test_refresh_writes_what_the_list_says_and_tells_each_change(tmp_path, price_list):
    asked = ("--instance", "c8g.xlarge", "--region", "us-east-1")
    found = refreshed(tmp_path, price_list, *asked)
    assert found.returncode == 0, found.stderr
    assert "on_demand: unchanged, 0.15952 USD/h" in found.stdout
    assert "reserved: new, 0.1055 USD/h" in found.stdout
    row = yaml.safe_load((tmp_path / "prices.yaml").read_text())["prices"][1]
    assert row["source"] == "AWS Price List Query API"
    assert row["usd_per_hour"] == 0.1055
    shown = sluice("fleet", "prices", "show", "--json", "--state", tmp_path)
    ages = {row["purchase"]: row["age_days"] for row in json.loads(shown.stdout)["prices"]
            if row["instance"] == "c8g.xlarge"}  # fmt: skip
    assert max(ages.values()) <= 1


def test_refresh_keeps_the_users_other_rows_rates_and_plans(tmp_path, price_list):
    (tmp_path / "prices.yaml").write_text(OWN)
    asked = ("--instance", "c8g.xlarge", "--instance", "c7g.xlarge", "--instance", "x.none",
             "--region", "us-east-1", "--region", "cn-north-1", "--json")  # fmt: skip
    run = refreshed(tmp_path, price_list, *asked)
    found = json.loads(run.stdout)
    before = {(p["instance"], p["region"], p["purchase"]): p["before"] for p in found["prices"]}
    assert before == {
        ("c8g.xlarge", "us-east-1", "on_demand"): 0.12,
        ("c8g.xlarge", "us-east-1", "reserved"): None,
        ("c7g.xlarge", "cn-north-1", "on_demand"): None,
    }
    assert len(found["problems"]) == 4
    assert "x.none in us-east-1: not in the list" in found["problems"]
    value = yaml.safe_load((tmp_path / "prices.yaml").read_text())
    assert value["pools"][0]["id"] == "compute"
    rows = {(row["region"], row["purchase"]): row for row in value["prices"]}
    assert rows["us-east-1", "savings_plan"]["source"] == "our plan"
    assert rows["cn-north-1", "on_demand"]["per_hour"] == 0.99


def test_a_price_in_a_currency_without_a_rate_is_not_written(tmp_path, price_list):
    found = refreshed(tmp_path, price_list, "--instance", "c7g.xlarge", "--region", "cn-north-1")
    assert found.returncode == 1
    assert "no `exchange` rate of `CNY`" in found.stderr
    assert "the prices stay as they are" in found.stderr
    assert not (tmp_path / "prices.yaml").exists()


def test_nothing_found_is_a_failure(tmp_path, price_list):
    found = refreshed(tmp_path, price_list, "--instance", "x.none", "--region", "us-east-1")
    assert found.returncode == 1
    assert "not in the list" in found.stderr
    assert not (tmp_path / "prices.yaml").exists()


def test_the_sources_behind_the_figures_are_spelled_out(tmp_path):
    for command in (["prices"], ["audit", "p5.48xlarge/llama-4-scout"], ["show", "p5-scout"]):
        shown = sluice("fleet", *command, "--state", tmp_path).stdout
        assert "S2 = Llama 4 on vLLM, GPU against AWS silicon" in shown
        assert "prints a date: a price bears the earliest month" in shown
    assert "S3 = llama.cpp" in sluice("fleet", "fit", "qwen3-0.6b", "c8g.xlarge").stdout
