"""What `make destroy` does before the stacks go: no version of the policy may be left."""

import os
import subprocess
import sys

import pytest

FORGET = (sys.executable, "-m", "infra.forget", "--stage")


@pytest.fixture
def forget(appconfig):
    def run(stage, *more, says=""):
        environment = {**os.environ, **appconfig.environment()}
        return subprocess.run(
            [*FORGET, stage, *more], input=says, capture_output=True, text=True, check=False,
            env=environment,
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
