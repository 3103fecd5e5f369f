"""The stages' templates, synthesised once for all tests of a run, whatever processes it has."""

import fcntl
import json
import os
import subprocess
import sys

import pytest
from stack_templates import Stacks
from synthesised import HERE, ROOT, Synthesised


@pytest.fixture(scope="session")
def synthesised(tmp_path_factory):
    return once(tmp_path_factory, "examples")


@pytest.fixture(scope="session")
def china(tmp_path_factory):
    return once(tmp_path_factory, "china")


def once(tmp_path_factory, whose):
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    folder = shared / f"synthesised-{whose}"
    with (shared / f"synthesised-{whose}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "told.json").exists():
            command = [sys.executable, HERE / "synth.py", folder, whose]
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
