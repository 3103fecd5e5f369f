"""What `make destroy` does before the stacks go: no version of the policy may be left."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FORGET = (sys.executable, "-m", "infra.forget", "--stage")


@pytest.fixture
def ours(tmp_path):
    """The examples, with both stages in the account that the server's credentials are of."""
    shutil.copytree("infra/examples", tmp_path / "ours")
    file = tmp_path / "ours" / "deploy.yaml"
    text = file.read_text("utf-8")
    for example in ("111122223333", "444455556666"):
        text = text.replace(example, "123456789012")
    file.write_text(text, "utf-8")
    return file


@pytest.fixture
def forget(appconfig, ours):
    def run(stage, *more, says="", config=ours):
        environment = {**os.environ, **appconfig.environment()}
        return subprocess.run(
            [*FORGET, stage, "--config", str(config), *more], input=says,
            capture_output=True, text=True, check=False, env=environment,
        )  # fmt: skip

    return run


def test_the_versions_are_shown_and_deleted_once_that_is_said(appconfig, forget):
    appconfig.publish(b"{}")
    appconfig.publish(b"{}")
    ended = forget("dev", says="n\n")
    assert (ended.returncode, len(appconfig.versions)) == (1, 2)
    assert "delete these 2 versions, for good? [y/N] nothing was deleted" in ended.stderr
    ended = forget("dev", says="y\n")
    assert (ended.returncode, appconfig.versions) == (0, {}), ended.stderr
    assert forget("dev").returncode == 0  # and again: nothing is there to be asked about


def test_a_stage_that_is_not_there_has_nothing_to_forget(forget):
    ended = forget("prod", "--force")
    assert ended.returncode == 0
    assert "nothing to forget: " in ended.stderr


def test_a_stage_that_nobody_wrote_is_told_with_the_known_ones(forget):
    ended = forget("porod")
    assert ended.returncode == 1
    assert "prod" in ended.stderr


def test_another_account_s_stage_of_the_same_name_loses_nothing(appconfig, forget):
    appconfig.publish(b"{}")
    ended = forget("dev", "--force", config=Path("infra/examples/deploy.yaml"))
    assert (ended.returncode, len(appconfig.versions)) == (1, 1)
    said = "stage dev is of account 111122223333, the credentials are of 123456789012"
    assert f"infra/examples/deploy.yaml: {said}" in ended.stderr


def test_a_file_that_is_not_there_is_told_in_words(forget):
    ended = forget("dev", config=Path("nope.yaml"))
    assert (ended.returncode, ended.stderr) == (1, "nope.yaml: No such file or directory\n")
