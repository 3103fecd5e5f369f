"""The Lambda Runtime Interface Emulator, and functions of ours under it.

It is the one of AWS SAM's wheel: fetched once from the package index into the cache outside of the
checkout.
"""

import contextlib
import functools
import hashlib
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import httpx
from support import free_port, wait_until

from router.settings import cache_dir

ROOT = Path(__file__).parents[1]
VERSION = "1.170.0"
NAME = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
SHA256 = {"x86_64": "6b1e686e62ab2baf5759c412c4864276ef2a88b094fca53ec070637ccba9b9a5"}
PATH = "/2015-03-31/functions/function/invocations"


@functools.cache
def emulator():
    """Return the emulator's path."""
    machine = NAME[platform.machine().lower()]
    place = cache_dir(os.environ) / "rie" / VERSION / f"aws-lambda-rie-{machine}"
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as folder:
            binary = _fetched(Path(folder), f"samcli/local/rapid/{place.name}")
            if machine in SHA256:
                found = hashlib.sha256(binary.read_bytes()).hexdigest()
                assert found == SHA256[machine], f"{place.name} of the index is another file"
            binary.chmod(0o755)
            binary.replace(place)
    return place


def _fetched(folder, member):
    uv = shutil.which("uv")
    python = folder / "pip" / "bin" / "python"
    command = [uv, "venv", "-q", "--seed"] if uv else [sys.executable, "-m", "venv"]
    subprocess.run([*command, folder / "pip"], check=True)
    wheel = [python, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*wheel, f"aws-sam-cli=={VERSION}", "--dest", folder], check=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        return Path(archive.extract(member, folder))


class Function:
    """A handler under the emulator."""

    def __init__(self, running, port, log):
        self._running, self._port, self._log = running, port, log

    def invoke(self, event):
        """Return what the handler returned, or the error as Lambda tells it."""
        url = f"http://127.0.0.1:{self._port}{PATH}"
        return json.loads(httpx.post(url, json=event, timeout=90).content or "null")

    def log(self):
        return self._log.read_text("utf-8", "replace")

    def metrics(self):
        """Return every metric that was written, in order, with its namespace, stage and, where it
        is counted by fleet, the fleet.
        """
        found = []
        for line in self.log().splitlines():
            if line.startswith('{"_aws"'):
                value = json.loads(line)
                (told,) = value["_aws"]["CloudWatchMetrics"]
                names = [metric["Name"] for metric in told["Metrics"]]
                (dimensions,) = told["Dimensions"]
                assert dimensions in (["stage"], ["stage", "fleet"])
                by = [value[dimension] for dimension in dimensions]
                found += [(told["Namespace"], *by, name, *value[name]) for name in names]
        return found

    def durations_ms(self):
        """Return how long each invocation took, the first with its imports."""
        return [float(ms) for ms in re.findall(r"\tDuration: ([0-9.]+) ms", self.log())]

    def cpu_ms(self):
        """Return the processor time of the handler's process since it began."""
        fields = (self._process() / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")

    def peak_mb(self):
        """Return the most memory that the handler's process had."""
        status = (self._process() / "status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024

    def _process(self):
        tasks = Path(f"/proc/{self._running.pid}/task").glob("*/children")
        pid = "".join(task.read_text() for task in tasks).split()[0]
        return Path(f"/proc/{pid}")


@contextlib.contextmanager
def function(handler, environment, folder, timeout_s=60):
    """Run a handler (`router.workers.sweeper.handler`) as Lambda would."""
    ports, log = (free_port(), free_port()), folder / f"{handler}.log"
    told = {
        "PATH": os.environ["PATH"],
        "LAMBDA_TASK_ROOT": str(ROOT),
        "AWS_LAMBDA_FUNCTION_NAME": handler.split(".")[-2],
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout_s),
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    }
    addresses = [
        *("--runtime-interface-emulator-address", f"127.0.0.1:{ports[0]}"),
        *("--runtime-api-address", f"127.0.0.1:{ports[1]}"),
    ]
    command = [emulator(), *addresses, sys.executable, "-m", "awslambdaric", handler]
    with (
        log.open("wb") as out,
        subprocess.Popen(
            command, cwd=ROOT, env=told | environment, stdout=out, stderr=out, process_group=0
        ) as running,
    ):
        try:
            wait_until(lambda: _answers(ports[0]))
            yield Function(running, ports[0], log)
        finally:
            os.killpg(running.pid, 15)
            deadline = time.monotonic() + 5
            while running.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            if running.poll() is None:
                os.killpg(running.pid, 9)


def _answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
        return True
    return False
