"""Run the RUN steps of the container's Dockerfile that need neither root nor Docker.

    python -m tools.run_steps [--only TEXT] [--keep FOLDER]

Each stage is a clean folder: its ARGs are set, its WORKDIR is entered, what it copies from the
checkout is copied, and its steps run in their order as they are written, with the absolute paths
of the image below that folder. The wheels are those of the image's platform, whatever this machine
is. What isn't run is told with its reason. llama.cpp is built with every variant of this
processor's kind (x86 here is not ARM there): some minutes of all cores.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from router.settings import environment

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = ROOT / "backends" / "engines" / "container" / "Dockerfile"
SKIPPED = {"apt-get update": "it needs root, and Debian's archive"}  # by how a step begins
PATHS = re.compile(r"(?<![\w.$/])/(build|engine|opt)\b")  # of the image, that steps name
PLATFORM = {  # what makes pip choose as it would in the image: Debian 13 on ARM64, Python 3.13
    "PIP_PLATFORM": " ".join(f"manylinux_2_{minor}_aarch64" for minor in range(41, 16, -1)),
    "PIP_PYTHON_VERSION": "3.13",
    "PIP_IMPLEMENTATION": "cp",
}
SHOWN = 15  # lines of what a failed step said


@dataclass(frozen=True)
class Step:
    """A RUN. `copied`: the COPYs before it in its stage, from the checkout, as (sources, place)."""

    stage: str
    command: str
    workdir: str
    env: Mapping[str, str]
    copied: Sequence[tuple[Sequence[str], str]]

    @property
    def skipped(self) -> str | None:
        """Return why it isn't run."""
        return next((why for start, why in SKIPPED.items() if self.command.startswith(start)), None)


def steps(text: str) -> Iterator[Step]:
    """Yield the RUN steps of a Dockerfile."""
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    stage, workdir = "", "/"
    env: dict[str, str] = {}
    copied: list[tuple[Sequence[str], str]] = []
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stage, workdir, env, copied = rest.rpartition(" AS ")[2], "/", {}, []
        elif word == "ARG" and "=" in rest:
            name, _, env[name] = rest.partition("=")
        elif word == "WORKDIR":
            workdir = rest
        elif word == "COPY" and "--from" not in rest:
            *sources, place = rest.split()
            copied.append((sources, os.path.normpath(f"{workdir}/{place}")))
        elif word == "RUN":
            yield Step(stage, rest, workdir, dict(env), tuple(copied))


def run(step: Step, base: Path) -> tuple[int, str]:
    """Run it below this folder. Return its exit code and what it said."""
    root = base / step.stage
    inside = root / step.workdir.lstrip("/")
    inside.mkdir(parents=True, exist_ok=True)
    for sources, place in step.copied:
        folder = root / place.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        for path in (path for source in sources for path in ROOT.glob(source)):
            shutil.copy(path, folder)
    python = base / "python"
    if not python.exists():
        venv.create(python, with_pip=True)
    own = environment()
    env = {**own, **step.env, "PATH": f"{python}/bin:{own['PATH']}"}
    if step.command.startswith("pip install"):
        env |= {**PLATFORM, "PIP_TARGET": str(root / "site-packages")}
    command = PATHS.sub(lambda found: f"{root}{found.group()}", step.command)
    shell = ["/bin/sh", "-c", command]
    ended = subprocess.run(  # noqa: S603 (the steps of our own Dockerfile)
        shell, cwd=inside, env=env, capture_output=True, text=True, check=False
    )
    return ended.returncode, ended.stdout + ended.stderr


def main() -> int:
    """Run them, and print what was run and what was not."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--only", default="", help="steps with this text alone")
    parser.add_argument("--keep", type=Path, help="a folder to work in, which stays")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sluice-steps-") as folder:
        for step in steps(DOCKERFILE.read_text("utf-8")):
            if given.only not in step.command:
                continue
            shown = f"{step.stage}: {step.command[:70]}"
            if step.skipped:
                print(f"skipped  {shown}: {step.skipped}")
                continue
            began = time.monotonic()
            code, said = run(step, given.keep or Path(folder))
            seconds = time.monotonic() - began
            print(f"{'FAILED' if code else 'ran':8} {shown} ({seconds:.0f} s)", flush=True)
            if code:
                print("\n".join(said.splitlines()[-SHOWN:]))
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
