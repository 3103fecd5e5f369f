"""The image's recipe agrees with what the tests run: same engine, same adapter, same wheels."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from backends.engines.container.engine_kinds import KINDS
from backends.engines.container.settings import NAMES
from backends.engines.llama_build import LLAMA_CPP, OPTIONS

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "backends" / "engines" / "container"
DOCKERFILE = (FOLDER / "Dockerfile").read_text("utf-8")
COMMANDS = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE))


def lines(word):
    return [line.split(maxsplit=1)[1] for line in COMMANDS.splitlines() if line.startswith(word)]


def copied():
    """From the checkout: source -> place."""
    found = [line.split() for line in lines("COPY ") if "--from" not in line]
    for *sources, place in found:
        for source in sources:
            yield from ((path, place) for path in ROOT.glob(source))


def test_the_engine_is_built_from_the_source_that_the_tests_run():
    arguments = dict(line.split("=", 1) for line in lines("ARG ") if "=" in line)
    assert arguments["LLAMA_CPP_PYTHON"] == LLAMA_CPP.version
    assert arguments["LLAMA_CPP_SHA256"] == LLAMA_CPP.sha256


def test_the_build_differs_from_the_tests_only_where_another_processor_asks_for_it():
    (cmake,) = [line for line in lines("RUN ") if line.startswith("cmake")]
    differs = {"-DGGML_NATIVE=ON", "-DBUILD_SHARED_LIBS=OFF"}
    for option in OPTIONS:
        assert (option in cmake.split()) == (option not in differs), option
    assert {"-DGGML_NATIVE=OFF", "-DGGML_BACKEND_DL=ON", "-DGGML_CPU_ALL_VARIANTS=ON"} <= {
        *cmake.split()
    }
    assert "-march" not in cmake


def test_every_image_from_elsewhere_is_pinned_by_its_digest():
    images = [line.split("=", 1)[1] for line in lines("ARG ") if "_IMAGE=" in line]
    assert images
    assert all(re.search(r":[^@:/]+@sha256:[0-9a-f]{64}$", image) for image in images)
    stages = {line.split(" AS ")[1] for line in lines("FROM ")}
    own = {"${PYTHON_IMAGE}", "${OLLAMA_IMAGE}", *stages}
    assert {line.split(" AS ")[0] for line in lines("FROM ")} <= own


def test_nobody_is_root_unless_asked_for_and_the_adapter_gets_the_signals():
    assert lines("USER ") == ["${RUN_AS}"]
    assert "RUN_AS=10001" in lines("ARG ")
    assert lines("ENTRYPOINT ") == ['["python", "-m", "backends.engines.container"]']
    assert lines("EXPOSE ") == ["8080"]


def test_both_images_choose_an_engine_and_settings_that_there_are():
    given = dict(pair.split("=", 1) for line in lines("ENV ") for pair in line.split())
    ours = {name for name in given if name.startswith("SLUICE_")}
    assert ours <= set(NAMES)
    chosen = re.findall(r"SLUICE_ENGINE=(\S+)", COMMANDS)
    assert sorted(chosen) == sorted(KINDS)


def test_wheels_are_pinned_with_hashes_to_what_the_lock_file_has():
    required = (FOLDER / "requirements.txt").read_text("utf-8")
    pinned = dict(re.findall(r"^([a-z0-9-]+)==([\w.]+)", required, flags=re.MULTILINE))
    locked = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))["package"]
    versions = {package["name"]: package["version"] for package in locked}
    assert {name: versions[name] for name in pinned} == pinned
    for requirement in re.split(r"\n(?=[a-z])", required.strip()):
        assert "--hash=sha256:" in requirement, requirement


def test_what_the_image_copies_is_not_ignored():
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    let_in = {path for line in ignored if line.startswith("!") for path in ROOT.glob(line[1:])}
    assert "*" in ignored
    assert {path for path, _ in copied()} == let_in


@pytest.fixture
def image(tmp_path):
    """The adapter's folder as the image has it."""
    for path, place in copied():
        folder = tmp_path / place
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    return tmp_path


def test_the_adapter_runs_from_what_is_copied_with_what_is_pinned(image):
    pinned = re.findall(
        r"^([a-z0-9-]+)==", (FOLDER / "requirements.txt").read_text(), flags=re.MULTILINE
    )
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import backends.engines.container.__main__ as main, backends\n"
        "assert backends.__file__.startswith(sys.argv[1])\n"
        "from importlib.metadata import packages_distributions as names\n"
        "places = names()\n"
        "tops = {name.partition('.')[0] for name in sys.modules}\n"
        "print(' '.join(sorted({d for t in tops for d in places.get(t, ())})))\n"
    )
    command = [sys.executable, "-I", "-c", code, str(image)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    used = set(ran.stdout.lower().split()) - {"sluice"}
    assert {"uvicorn", "httptools", "orjson"} <= used
    assert used <= {*pinned}


def test_the_page_lists_every_setting_and_no_other():
    page = (ROOT / "docs" / "container.md").read_text("utf-8")
    table = page.split("| setting | default |")[1].split("\n\n")[0]
    listed = re.findall(r"^\| `([A-Z0-9_]+)`", table, flags=re.MULTILINE)
    assert sorted(listed) == sorted(NAMES)
