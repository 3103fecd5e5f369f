"""What all tests share: real servers on free ports, and no absolute time.

`upstream` is a server that plays faults which no real engine can be made to have on request;
everything else here is the real thing.
"""

import contextlib
import http.server
import itertools
import json
import os
import sys
import threading
import time
from pathlib import Path

import pytest
from appconfig_server import AppConfig
from hypothesis import HealthCheck, settings
from support import Router, Upstream, free_port, process

from backends.engines import llama_cpp, tiny_model
from router.identity import Key
from router.settings import SQLITE, environment
from router.store import open_keys

settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


# -- real servers ----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def engine():
    """The real llama-server's path."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sluice"
    found = llama_cpp.find(os.environ.get("SLUICE_LLAMA_SERVER"), cache)
    assert found is not None, "no llama-server: `make setup` finds or builds one"
    return found


@pytest.fixture(scope="session")
def start_tiny(engine, tmp_path_factory):
    """Start a real llama-server with the shipped model on a port of one's choice."""

    def start(port):
        return llama_cpp.start(
            engine,
            tiny_model(),
            port=port,
            alias="qwen3-tiny",
            slots=2,
            threads=1,
            ctx=4096,
            log_path=tmp_path_factory.mktemp("engine") / "log",
        )

    return start


@pytest.fixture(scope="session")
def tiny(start_tiny):
    """The url of a real llama-server with the shipped model."""
    server = start_tiny(free_port())
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def emulator():
    """The address of the emulated fleets, 20 times faster than their profiles."""
    command = [sys.executable, "-m", "backends.engines.emulator", "--port", "0"]
    with process(*command, "--time-scale", "0.05") as running:
        yield running.first_line.split()[-1]


@pytest.fixture
def start_router(tmp_path):
    """Start a router over these fleets (YAML text) with this policy and a key of these rights."""
    with starting_routers(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def start_shared_router(tmp_path_factory):
    """As `start_router`, for all tests of a module."""
    with starting_routers(tmp_path_factory.mktemp("router")) as start:
        yield start


def _closed(router):
    router.http.close()  # the one that it has then: a test may have put another there


@contextlib.contextmanager
def starting_routers(folder):
    with contextlib.ExitStack() as running:

        def start(fleets, policy=None, *arguments, **rights):
            state = folder / f"state-{time.monotonic_ns()}"
            state.mkdir()
            options = ["--state", state, "--port", "0", *arguments]
            if fleets is not None:
                (folder / "fleets.yaml").write_text(fleets, "utf-8")
                options += ["--fleets", folder / "fleets.yaml"]
            if policy is not None:
                (folder / "policy.yaml").write_text(policy, "utf-8")
                options += ["--policy", folder / "policy.yaml"]
            setting = dict(itertools.pairwise(arguments)).get("--ledger")
            store = open_keys(
                setting or environment().get("SLUICE_LEDGER", SQLITE),
                state,
                environment(),
                time.monotonic,
            )
            key = store.create(Key(id="", tenant="acme", **rights), "2026-01-01T00:00:00Z")
            store.close()
            log = folder / "router.log"
            command = [sys.executable, "-m", "router.cli", "serve", *options]
            served = running.enter_context(process(*command, log=log))
            assert "listens on" in served.first_line, served.first_line + log.read_text()
            router = Router(served.first_line.split()[3], key, state, log)
            running.callback(_closed, router)
            router.process = served
            return router

        yield start


# -- faults -------------------------------------------------------------------------------------


@pytest.fixture
def upstream():
    server = Upstream()
    yield server
    server.stop()


@pytest.fixture
def second_upstream():
    server = Upstream()
    yield server
    server.stop()


@pytest.fixture
def appconfig():
    server = AppConfig()
    yield server
    server.stop()


@pytest.fixture
def closed_port():
    return free_port()


@pytest.fixture
def price_list():
    """A server that speaks the wire of the price list: the SDK's own client asks it."""

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            fields = {f["Field"]: f["Value"] for f in asked["Filters"]}
            file = (
                Path(__file__).parent
                / "data"
                / "price_list"
                / f"{fields['instanceType']}_{fields['regionCode']}.json"
            )
            found = [json.dumps(json.loads(file.read_text()))] if file.exists() else []
            body = json.dumps({"FormatVersion": "aws_v1", "PriceList": found}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/x-amz-json-1.1")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
