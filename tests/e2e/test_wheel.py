"""The product from its wheel, outside the checkout: code and data files are all there."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with what the wheel installs."""
    built, site = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(built)]
    subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True)
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(site)
    return site


def run(installed, cwd, *command):
    env = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, env=env, capture_output=True, text=True, check=True
    ).stdout


def test_the_code_comes_from_the_wheel_not_from_the_checkout(installed, tmp_path):
    said = run(installed, tmp_path, "-c", "import router, yamlfile; print(router.__file__)")
    assert said.startswith(str(installed))


def test_a_decision_is_made_with_the_packaged_fleets_and_policy(installed, tmp_path):
    command = ["-m", "router.cli", "route", "请判断这条评论是正面还是负面：物流太慢了", "--json"]
    receipt = json.loads(run(installed, tmp_path, *command))
    assert receipt["policy"]["name"] == "default"
    assert receipt["plan"][0] == "local-qwen3-tiny"


def test_the_model_the_schema_and_the_examples_are_packed(installed):
    for path in (
        "backends/engines/tiny/qwen3-tiny.gguf",
        "policies/schema.json",
        "policies/examples/burst.yaml",
        "backends/data/prices.yaml",
    ):
        assert (installed / path).stat().st_size > 0
