"""``sluice deploy --manifests``: the command, its files, its errors."""

import json

import on_eks
import pytest
from click.testing import CliRunner

from router.cli.deploy import command

ARN = "arn:aws:elasticloadbalancing:us-east-2:111122223333:targetgroup/x/1"
REPOSITORY = "111122223333.dkr.ecr.us-east-2.amazonaws.com/sluice-lanes/x:1"
OUTPUTS = {
    "TargetScoutP5": ARN,
    "ImageQwen3Graviton": REPOSITORY,
    "ImageScoutTrn2": REPOSITORY,
    "ImageScoutInf2": REPOSITORY,
    "ImageScoutInf2Spot": REPOSITORY,
}


@pytest.fixture
def config(tmp_path):
    folder = tmp_path / "stage"
    folder.mkdir()
    return on_eks.files(folder)


@pytest.fixture
def outputs(tmp_path):
    rows = [{"OutputKey": key, "OutputValue": value} for key, value in OUTPUTS.items()]
    path = tmp_path / "outputs.json"
    stack = {"StackName": "sluice-lanes-Eks", "Outputs": rows}
    path.write_text(json.dumps({"Stacks": [stack]}), "utf-8")
    return path


def run(config, *arguments):
    return CliRunner().invoke(command, ["--config", str(config), *map(str, arguments)])


def test_it_writes_a_file_for_each_group_and_says_what_is_bound_to_nothing(
    config, outputs, tmp_path
):
    to = tmp_path / "out"
    ended = run(config, "--manifests", to, "--outputs", outputs)
    assert ended.exit_code == 0, ended.output
    assert ended.stdout == f"22 files in {to}\n"
    assert "scout-p4d" in ended.stderr
    assert "scout-p5" not in ended.stderr
    assert ARN in (to / "fleet-scout-p5.yaml").read_text("utf-8")
    assert len(list(to.rglob("*.yaml"))) == 22
    told = json.loads(run(config, "--manifests", to, "--outputs", outputs, "--json").stdout)
    assert told["stage"] == "lanes"
    assert len(told["written"]) == 22
    assert "scout-p5" not in told["unbound"]


def test_files_of_others_stay_and_are_told_of(config, outputs, tmp_path):
    to = tmp_path / "out"
    to.mkdir()
    (to / "ours.yaml").write_text("kind: ConfigMap\n", "utf-8")
    (to / "notes.txt").write_text("notes", "utf-8")
    ended = run(config, "--manifests", to, "--outputs", outputs)
    assert ended.exit_code == 0
    assert "ours.yaml" in ended.stderr
    assert (to / "ours.yaml").read_text("utf-8") == "kind: ConfigMap\n"


def test_a_file_of_this_name_that_somebody_else_wrote_is_not_overwritten(config, outputs, tmp_path):
    to = tmp_path / "out"
    to.mkdir()
    (to / "cluster.yaml").write_text("kind: ConfigMap\n", "utf-8")
    ended = run(config, "--manifests", to, "--outputs", outputs)
    assert ended.exit_code == 2
    assert "not overwritten" in ended.output
    assert [path.name for path in to.iterdir()] == ["cluster.yaml"]


def test_a_file_in_place_of_the_folder_is_refused(config, outputs):
    ended = run(config, "--manifests", outputs, "--outputs", outputs)
    assert ended.exit_code == 3
    assert "name a folder" in ended.output


def test_a_stage_without_fleets_on_eks_is_refused(tmp_path):
    ended = run(on_eks.LANES / "deploy.yaml", "--manifests", tmp_path / "out")
    assert ended.exit_code == 3
    assert "no fleet of the stage runs on EKS" in ended.output
    assert not (tmp_path / "out").exists()


def test_an_image_that_only_the_stack_knows_is_asked_for(config, tmp_path):
    ended = run(config, "--manifests", tmp_path / "out")
    assert ended.exit_code == 3
    assert "scout-trn2, scout-inf2" in ended.output
    assert "--outputs" in ended.output


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Stacks": []}', '{"Stacks": [{"Outputs": 1}]}'])
def test_what_is_no_description_of_the_stack_is_refused(config, tmp_path, text):
    path = tmp_path / "outputs.json"
    path.write_text(text, "utf-8")
    ended = run(config, "--manifests", tmp_path / "out", "--outputs", path)
    assert ended.exit_code == 3
    assert "aws cloudformation describe-stacks --stack-name sluice-lanes-Eks" in ended.output


@pytest.mark.parametrize(
    "arguments", [(), ("--plan", "--manifests", "out"), ("--plan", "--outputs", "x")]
)
def test_it_does_one_thing_at_a_time(config, arguments):
    assert run(config, *arguments).exit_code == 3
