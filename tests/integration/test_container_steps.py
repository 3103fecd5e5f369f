"""The steps of the container's Dockerfile, run where there is no Docker (tools/run_steps.py).

`make container-steps` runs all that need no root; building llama.cpp is too long for every run of
the tests.
"""

from dataclasses import replace

import pytest

from tools.run_steps import DOCKERFILE, SKIPPED, run, steps

TEXT = DOCKERFILE.read_text("utf-8")
RUN = {  # what `make container-steps` runs, by how it begins
    "pip download": "build",
    "cmake -S": "build",
    "pip install": "adapter",
}


def named(start):
    (found,) = (step for step in steps(TEXT) if step.command.startswith(start))
    return found


def test_every_step_is_run_or_has_a_reason_why_not():
    found = list(steps(TEXT))
    assert len(found) == sum(line.startswith("RUN ") for line in TEXT.splitlines())
    for step in found:
        known = [start for start in (*SKIPPED, *RUN) if step.command.startswith(start)]
        assert len(known) == 1, step.command
        assert (step.skipped is None) == (known[0] in RUN)


def test_steps_are_where_the_image_has_them():
    for start, stage in RUN.items():
        assert named(start).stage == stage
    assert named("cmake -S").workdir == "/build"
    assert named("pip download").env["LLAMA_CPP_PYTHON"]
    (copied,) = named("pip install").copied
    assert copied == (["backends/engines/container/requirements.txt"], "/opt/sluice")


def test_the_wheels_of_the_image_are_installed_by_their_hashes(tmp_path):
    step = named("pip install")
    code, said = run(step, tmp_path)
    assert code == 0, said
    installed = tmp_path / "adapter" / "site-packages"
    assert (installed / "uvicorn").is_dir()
    natives = [path.name for path in installed.rglob("*.so")]
    assert natives
    assert all("cpython-313-aarch64-linux-gnu" in name for name in natives)


@pytest.mark.parametrize(
    ("start", "broken"),
    [
        ("pip install", "pip install --no-index --require-hashes -r requirements.txt"),
        ("cmake -S", "cmake -S vendor/llama.cpp -B out"),  # nothing was downloaded before it
    ],
)
def test_a_step_that_fails_is_told(tmp_path, start, broken):
    code, said = run(replace(named(start), command=broken), tmp_path)
    assert code
    assert said
