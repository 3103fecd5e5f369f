"""`sluice deploy --plan` as a person calls it."""

import json

from support import sluice

CONFIG = ("--config", "infra/examples/deploy.yaml")


def test_the_plan_says_what_each_stage_costs():
    ended = sluice("deploy", "--plan", *CONFIG)
    assert ended.returncode == 0
    assert "stage dev (small): us-east-1" in ended.stdout
    assert "stage prod (prod): us-east-1" in ended.stdout
    assert "such requests an hour on Fargate is cheaper" in ended.stdout
    assert "list prices without the free tier" in ended.stdout


def test_every_line_of_the_json_has_its_price_its_date_and_its_source():
    ended = sluice("deploy", "--plan", *CONFIG, "--stage", "dev", "--seconds", "2", "--json")
    [stage] = json.loads(ended.stdout)["stages"]
    assert stage["shape"]["seconds"] == 2
    assert stage["usd_idle_month"] < 5
    for line in stage["lines"]:
        assert line["usd"] == line["quantity"] * line["price"]["usd"]
        assert line["price"]["as_of"]
        assert line["price"]["source"]


def test_prices_of_another_region_are_told_apart(tmp_path):
    text = (
        (tmp_path.cwd() / "infra/examples/deploy.yaml")
        .read_text("utf-8")
        .replace("region: us-east-1 ", "region: us-east-2 ")
    )
    (tmp_path / "deploy.yaml").write_text(text, "utf-8")
    for name in ("fleets.yaml", "policy.yaml"):
        (tmp_path / name).symlink_to(tmp_path.cwd() / "infra/examples" / name)
    (tmp_path / "cases").symlink_to(tmp_path.cwd() / "infra/examples/cases")
    config = ("--config", str(tmp_path / "deploy.yaml"))
    ended = sluice("deploy", "--plan", "--stage", "dev", *config)
    assert "no prices of us-east-2 are known: they are us-east-1's" in ended.stdout
    assert "2026-05-04, us-east-1's" in ended.stdout


def test_without_plan_it_says_how_to_deploy():
    ended = sluice("deploy", *CONFIG)
    assert ended.returncode == 3
    assert "`make deploy STAGE=NAME`" in ended.stderr


def test_a_wrong_deploy_yaml_is_told_with_file_and_line(tmp_path):
    path = tmp_path / "deploy.yaml"
    path.write_text("version: 1\nstages:\n  dev: {account: '1'}\n", "utf-8")
    ended = sluice("deploy", "--plan", "--config", str(path))
    assert ended.returncode == 3
    assert f"{path}:3: stages.dev: `region` is missing" in ended.stderr


def test_a_share_that_is_none_is_refused():
    ended = sluice("deploy", "--plan", *CONFIG, "--cold", "2")
    assert ended.returncode == 3
    assert "--cold" in ended.stderr


def test_a_file_that_is_not_there_is_told_with_how_to_begin_one(tmp_path):
    ended = sluice("deploy", "--plan", cwd=tmp_path)
    assert ended.returncode == 3
    assert "deploy.yaml: no such file (`cp -r infra/examples ours` begins one" in ended.stderr
