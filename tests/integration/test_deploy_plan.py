"""`sluice deploy --plan` as a person calls it."""

import json
import shutil
from pathlib import Path

from support import sluice

CONFIG = ("--config", "infra/examples/deploy.yaml")


def test_the_plan_says_what_each_stage_costs():
    ended = sluice("deploy", "--plan", *CONFIG)
    assert ended.returncode == 0
    assert "stage dev (small): us-east-1" in flat(ended.stdout)
    assert "stage prod (prod): us-east-1" in flat(ended.stdout)
    assert "such requests an hour on Fargate is cheaper" in flat(ended.stdout)
    assert "list prices without the free tier" in flat(ended.stdout)


def test_every_line_of_the_json_has_its_price_its_date_and_its_source():
    ended = sluice("deploy", "--plan", *CONFIG, "--stage", "dev", "--seconds", "2", "--json")
    [stage] = json.loads(ended.stdout)["stages"]
    assert stage["shape"]["seconds"] == 2
    assert stage["usd_idle_month"] < 5
    for line in stage["lines"]:
        assert line["usd"] == line["quantity"] * line["price"]["usd"]
        assert line["price"]["as_of"]
        assert line["price"]["source"]


LANES = ("--config", "infra/examples/lanes/deploy.yaml")
CHINA = ("--config", "infra/examples/china/deploy.yaml", "--stage", "ningxia")


def test_the_machines_of_a_stages_own_fleets_have_a_table_of_their_own():
    ended = sluice("deploy", "--plan", *LANES)
    assert ended.returncode == 0
    assert "machines of the fleets that it makes, idle: $32,966.45 a month" in flat(ended.stdout)
    rows = rows_of(ended.stdout, "scout-p5")
    assert rows[0][1:9] == ["ecs", "p5.48xlarge", "0", "to", "2", "0.00", "0.0000", "196.6400"]
    assert rows[0][9:] == ["0.1589", "147.60"]
    assert len(rows[1]) == 5
    assert rows_of(ended.stdout, "scout-trn2")[0][6:] == [
        "32,850.00",
        "45.0000",
        *rows_of(ended.stdout, "scout-trn2")[0][8:10],
        "-",
    ]
    assert "+ unknown a month with the stage" in flat(ended.stdout)  # Container Insights
    assert "all of them at max, with their disks: $" in flat(ended.stdout)
    assert "wake-up $147.60 at the least: one machine for 5,400 s" in flat(ended.stdout)
    assert ended.stdout.count("marks of ") == 2
    assert "lines of batches are in no figure" in flat(ended.stdout)
    assert "machines of the fleets that it makes are in their own table alone" in flat(ended.stdout)
    assert "the fleets' own machines are not in it" not in flat(ended.stdout)
    assert "on_demand: $98.32/h, stated, S2: p5.48xlarge on demand" in flat(ended.stdout)
    assert "S2: p5.48xlarge on demand, us-east-1, no date" in flat(ended.stdout)
    assert "profile p5.48xlarge/llama-4-scout, estimated, S2, no date" in flat(ended.stdout)
    assert "S1 = Qwen3-0.6B on Graviton with SageMaker and Ollama" in flat(ended.stdout)
    assert flat(ended.stdout).count("prices without a date, or older than 180 days: qwen3-gr") == 1
    assert "profiles whose own figures contradict each other: p5.48xlarge/llama-4" in flat(
        ended.stdout
    )
    assert "warning: " in ended.stderr


def flat(text):
    """Return it as one line: it is broken at blanks where it is long."""
    return " ".join(text.split())


def rows_of(text, fleet):
    return [line.split() for line in text.splitlines() if line.startswith(f"{fleet}  ")]


def test_the_json_has_each_lane_with_its_prices_and_marks():
    ended = sluice("deploy", "--plan", *LANES, "--json")
    [stage] = json.loads(ended.stdout)["stages"]
    lanes = stage["lanes"]
    both = stage["usd_idle_month"] + lanes["usd_idle_month"]
    assert abs(lanes["usd_idle_month_with_the_stage"] - both) < 1e-5
    [p5] = [each for each in lanes["fleets"] if each["fleet"] == "scout-p5"]
    assert p5["usd_idle_month"] == 0
    hours = p5["usd_per_hour"]
    assert (hours["at_min"], hours["at_max"], hours["disks_at_min"]) == (0, 196.64, 0)
    assert round(hours["disks_at_max"], 4) == 0.1589
    assert p5["wake_up"]["seconds"] == 5400
    assert round(p5["wake_up"]["usd"], 2) == 147.6
    assert [each["wake_up"] for each in lanes["fleets"] if each["fleet"] == "scout-trn2"] == [None]
    full, growing = p5["usd_per_mtok"]["at_capacity"], p5["usd_per_mtok"]["at_scale_out"]
    assert full["streams"] == 256
    assert growing["out"] > full["out"]
    [tranche] = p5["tranches"]
    assert tranche["price"]["source"] == "S2: p5.48xlarge on demand, us-east-1"
    assert p5["profile"]["mark"] == "estimated"
    assert "estimated" in p5["marks"]
    assert [note.split(":")[0] for note in lanes["notes"]] == [
        "prices without a date, or older than 180 days",
        "profiles whose own figures contradict each other",
    ]


def test_what_is_unknown_of_a_lane_is_said_and_in_no_sum(tmp_path):
    for name in ("deploy.yaml", "policy.yaml", "fleets.yaml"):
        text = (tmp_path.cwd() / "infra/examples/lanes" / name).read_text("utf-8")
        (tmp_path / name).write_text(_without_trn2_price(text), "utf-8")
    ended = sluice("deploy", "--plan", "--config", str(tmp_path / "deploy.yaml"))
    assert "makes, idle: $116.45 + unknown a month, $" in flat(ended.stdout)
    assert "+ unknown a month with the stage; 1 unknown and in no sum" in flat(ended.stdout)
    machines, tokens = rows_of(ended.stdout, "scout-trn2")
    assert machines[6:9] == ["unknown"] * 3
    assert tokens[1:] == ["unknown"] * 4
    assert "on_demand: unknown (no row of the price book)" in flat(ended.stdout)
    assert "profile none" in flat(ended.stdout)


def _without_trn2_price(text):
    lost = ("usd_per_hour: 45.00", "S2: trn2.48xlarge on demand", "profile: trn2.48xlarge")
    return "\n".join(line for line in text.split("\n") if not any(each in line for each in lost))


def test_fleets_that_are_only_called_are_named_as_left_out(tmp_path):
    for name in ("deploy.yaml", "policy.yaml", "fleets.yaml"):
        text = (tmp_path.cwd() / "infra/examples/lanes" / name).read_text("utf-8")
        (tmp_path / name).write_text(
            "\n".join(line for line in text.split("\n") if "{on: sagemaker" not in line), "utf-8"
        )
    ended = sluice("deploy", "--plan", "--config", str(tmp_path / "deploy.yaml"))
    assert "those of qwen3-graviton, which is called, in none" in flat(ended.stdout)


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
    assert "no prices of us-east-2 are known: they are us-east-1's" in flat(ended.stdout)
    assert "2026-05-04, us-east-1's" in flat(ended.stdout)


def test_no_table_and_no_line_is_wider_than_a_terminal():
    for where in (LANES, CHINA, ("--config", "infra/examples/deploy.yaml")):
        said = sluice("deploy", "--plan", *where).stdout
        assert [line for line in said.splitlines() if len(line) > 100] == []


def test_the_account_s_quotas_are_told_with_their_codes_before_anything_is_made():
    ended = sluice("deploy", "--plan", *LANES)
    assert "The account was not asked" in flat(ended.stdout)
    rows = {line.split()[0]: line for line in ended.stdout.splitlines() if line.startswith("L-")}
    assert flat(rows["L-417A185B"]).endswith("instances 576 vCPU scout-p5, scout-p4d")
    assert set(rows) == {"L-417A185B", "L-DB2E81BA", "L-2C3B7624", "L-1945791B", "L-B5D1601B"}
    assert "--quota-code CODE --region us-east-2" in flat(ended.stdout)
    [stage] = json.loads(sluice("deploy", "--plan", *LANES, "--json").stdout)["stages"]
    told = {each["code"]: each["needed"] for each in stage["quotas"]}
    assert told == {
        None: 4,
        "L-417A185B": 576,
        "L-DB2E81BA": 384,
        "L-2C3B7624": 768,
        "L-1945791B": 768,
        "L-B5D1601B": 768,
    }
    only_called = sluice("deploy", "--plan", "--config", "infra/examples/deploy.yaml")
    assert "quota" not in only_called.stdout


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


def test_a_stage_of_china_is_told_in_yuan_and_dollars_with_the_day_of_the_rate():
    ended = sluice("deploy", "--plan", *CHINA)
    assert ended.returncode == 0
    assert "idle, CNY a month idle, $ a month" in flat(ended.stdout)
    assert "CNY at 0.14774 USD, the rate of 2026-06-19" in flat(ended.stdout)
    assert "by Static BGP (20% to 70% less" in flat(ended.stdout)
    assert "on Fargate is cheaper is unknown" in flat(ended.stdout)
    ended = sluice("deploy", "--plan", *CHINA, "--json")
    [stage] = json.loads(ended.stdout)["stages"]
    assert (stage["currency"], stage["exchange"]["usd"]) == ("CNY", 0.14774)
    assert stage["break_even"] is None
    for line in stage["lines"]:
        known = line["price"]["per_unit"] is not None
        assert (line["usd"] is not None) == (line["amount"] is not None) == known
    assert stage["unknown"] == sum(group["unknown"] for group in stage["groups"].values()) > 0


def test_machines_in_china_are_told_in_yuan_and_no_unknown_is_a_zero(tmp_path):
    said = flat(sluice("deploy", "--plan", *CHINA).stdout)
    assert (
        "machines of the fleets that it makes, idle: CNY 0.00 + unknown ($0.00 + unknown) a month, "
        in said
    )
    assert "replicas idle, CNY CNY/h at CNY/h at disks, a wake-up," in said
    lanes = json.loads(sluice("deploy", "--plan", *CHINA, "--json").stdout)["stages"][0]["lanes"]
    assert lanes["unknown"] == 1
    assert lanes["unknown_with_the_stage"] > 1
    folder = tmp_path.cwd() / "infra/examples/china"
    for name in ("deploy.yaml", "policy.yaml", "policy-beijing.yaml", "cases"):
        (tmp_path / name).symlink_to(folder / name)
    text = (folder / "fleets.yaml").read_text("utf-8")
    priced = "    region: cn-northwest-1\n    usd_per_hour: 1.4774\n    price_source: ours\n"
    first = text.replace("    region: cn-northwest-1\n", priced, 1)
    (tmp_path / "fleets.yaml").write_text(first, "utf-8")
    china = ("--config", str(tmp_path / "deploy.yaml"), "--stage", "ningxia")
    said = flat(sluice("deploy", "--plan", *china).stdout)
    assert "makes, idle: CNY 7,300.00 ($1,078.50) a month, CNY 7,4" in said
    assert "on_demand: CNY 10/h ($1.4774/h), " in said
    [fleet, _] = json.loads(sluice("deploy", "--plan", *china, "--json").stdout)["stages"][0][
        "lanes"
    ]["fleets"]
    assert round(fleet["amount_idle_month"], 6) == 7300
    assert round(fleet["amount_per_hour"]["at_min"], 6) == 10


def test_a_capacity_block_of_the_past_is_refused_by_the_clock(tmp_path):
    folder = Path(shutil.copytree("infra/examples/lanes", tmp_path / "lanes"))
    fleets = folder / "fleets.yaml"
    block = (
        "    purchase: [{option: capacity_block, reservation: cr-0123456789abcdef0, "
        "from: 2020-12-01T11:30:00Z, until: 2020-12-08T11:30:00Z}]\n"
    )
    priced = '    usd_per_hour: 98.32                 # YOURS\n    price_source: "S2: p5.48xlarge'
    text = fleets.read_text("utf-8")
    assert priced in text
    before, _, after = text.partition(priced)
    fleets.write_text(before + block + after.partition("\n")[2], "utf-8")
    ended = sluice("deploy", "--plan", "--config", str(folder / "deploy.yaml"))
    line = before.count("\n") + 1
    assert f"{fleets}:{line}: fleet scout-p5: the Capacity Block ended on 2020-12" in ended.stderr
