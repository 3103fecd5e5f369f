"""The stages' templates, synthesised once for all tests of a run, whatever processes it has."""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from stack_templates import Stacks
from template import Template

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
STACKS = ("State", "Router", "Workers", "Observability")


class Synthesised:
    """`code`: what the synthesis ended with; `said`: what it printed; `folder`: its templates."""

    def __init__(self, folder):
        self.folder = folder
        told = json.loads((folder / "told.json").read_text("utf-8"))
        self.code, self.said = told["code"], told["said"]
        assert (folder / "seconds.json").exists(), self.said[-3000:]

    @property
    def seconds(self):
        return json.loads((self.folder / "seconds.json").read_text("utf-8"))

    def report(self):
        return json.loads((self.folder / "validation-report.json").read_text("utf-8"))

    def paths(self):
        return sorted(self.folder.glob("*.template.json"))

    def stack(self, stage, name):
        path = self.folder / f"sluice-{stage}-{name}.template.json"
        return Template(json.loads(path.read_text("utf-8")))

    def stage(self, stage):
        """Return all resources of a stage's stacks as one template."""
        whole = {}
        for name in STACKS:
            found = self.stack(stage, name).resources
            whole |= {f"{name}/{logical}": resource for logical, resource in found.items()}
        return Template({"Resources": whole})


@pytest.fixture(scope="session")
def synthesised(tmp_path_factory):
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    folder = shared / "synthesised"
    with (shared / "synthesised.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "told.json").exists():
            command = [sys.executable, HERE / "synth.py", folder]
            # One path before all others, as pytest has it: the repository's own packages.
            environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{HERE}"}
            ended = subprocess.run(
                command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment
            )
            folder.mkdir(exist_ok=True)
            told = {"code": ended.returncode, "said": ended.stdout + ended.stderr}
            (folder / "told.json").write_text(json.dumps(told), "utf-8")
    return Synthesised(folder)


def stacks_of(synthesised, stage, account):
    paths = [path for path in synthesised.paths() if path.name.startswith(f"sluice-{stage}-")]
    templates = {p.name.partition(".")[0]: json.loads(p.read_text("utf-8")) for p in paths}
    return Stacks(templates, account=account, region="us-east-1")


@pytest.fixture(scope="session")
def small(synthesised):
    return stacks_of(synthesised, "dev", "111122223333")


@pytest.fixture(scope="session")
def prod(synthesised):
    return stacks_of(synthesised, "prod", "444455556666")


@pytest.fixture(params=["small", "prod"])
def stacks(request):
    return request.getfixturevalue(request.param)
