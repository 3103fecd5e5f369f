"""What a cold start takes: CPU time of `sluice serve --router-on lambda` from its first instruction
to the end of its first answer, a stream, over real HTTP: DynamoDB's API (moto) keeps the ledger,
Firehose and fleet are small servers, and credentials are in the environment as on Lambda.

The best of TRIES counts: a busy machine adds to the others. `--imports` prints what is imported,
dearest first, by its own time.
"""

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from ledger_support import dynamo_client, dynamo_process  # noqa: E402  (the tests' servers)
from support import DONE, EVENTS, USAGE_EVENT, Upstream, catalogue, fleet, plain, policy  # noqa: E402

from router.dynamo_keys import DynamoKeys  # noqa: E402
from router.identity import Key  # noqa: E402
from router.ledger.dynamo_table import definition  # noqa: E402
from router.settings import environment  # noqa: E402

TRIES = 5
TARGET_MS = 900
TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
LISTENS = re.compile(r"sluice listens on (\S+)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=TRIES)
    parser.add_argument("--python", default=sys.executable, help="the router's interpreter")
    parser.add_argument("--imports", action="store_true", help="print what is imported, and stop")
    asked = parser.parse_args()
    with _servers(asked.python) as started:
        if asked.imports:
            _imports(started)
            return
        runs = [_run(started) for _ in range(asked.tries)]
    listening, answered = min(runs, key=lambda run: run[1])
    print("cold start on Lambda, CPU ms (user + system) of the router's process")
    print(f"  until it listens                     {listening:7.0f}")
    print(f"  until its first stream has ended     {answered:7.0f}   (at most {TARGET_MS})")
    print(f"  all tries: {', '.join(f'{run[1]:.0f}' for run in runs)}")
    print(f"  a bare python                        {_bare_ms(asked.python):7.0f}")


@contextlib.contextmanager
def _servers(python: str) -> Iterator[tuple[list[str], dict[str, str], str]]:
    """Yield command, environment and key of a router whose stores and fleet are there."""
    upstream, firehose = Upstream(), Upstream()
    upstream.streams(*EVENTS, USAGE_EVENT, DONE)
    firehose.answers(plain({"RecordId": "1"}))
    with dynamo_process() as (_, address), tempfile.TemporaryDirectory() as folder:
        dynamo_client(address).call("CreateTable", definition("cold"))
        state = Path(folder) / "state"
        state.mkdir()
        store = DynamoKeys(dynamo_client(address), "cold", time.monotonic)
        key = store.create(Key(id="", tenant="acme"), "2026-01-01T00:00:00Z")
        store.close()
        fleets, rules = Path(folder) / "fleets.yaml", Path(folder) / "policy.yaml"
        fleets.write_text(catalogue(*(fleet(f"f{n}", upstream.url) for n in range(3))))
        rules.write_text(policy(baseline="m@f0"))
        command = [python, "-m", "router.cli", "serve", "--host", "127.0.0.1"]
        command += ["--port", "0", "--state", str(state), "--fleets", str(fleets)]
        command += ["--policy", str(rules), "--ledger", "dynamodb:cold", "--router-on", "lambda"]
        command += ["--receipts", "firehose:decisions", "--metrics", "emf:Sluice"]
        of_lambda = {
            "PATH": environment()["PATH"],
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_ENDPOINT_URL_DYNAMODB": address,
            "AWS_ENDPOINT_URL_FIREHOSE": f"http://127.0.0.1:{firehose.port}",
            "SLUICE_STAGE": "bench",
        }
        yield command, of_lambda, key
    upstream.stop()
    firehose.stop()


def _run(started: tuple[list[str], dict[str, str], str]) -> tuple[float, float]:
    """Return the CPU ms until it listens, and until its first answer has ended."""
    command, variables, key = started
    with subprocess.Popen(  # noqa: S603  (the router)
        command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        found = LISTENS.match(running.stdout.readline())
        assert found is not None
        listening = _cpu_ms(running.pid)
        _ask(found[1], key)
        answered = _cpu_ms(running.pid)
        running.terminate()
    return listening, answered


def _ask(url: str, key: str) -> None:
    body = {"model": "auto", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    request = urllib.request.Request(  # noqa: S310  (the router that was just started)
        f"{url}/v1/chat/completions",
        json.dumps(body).encode(),
        {"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  (as above)
        assert answer.read().endswith(DONE)


def _cpu_ms(pid: int) -> float:
    """Return user and system time of a process, to a hundredth of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_MS


def _bare_ms(python: str) -> float:
    code = "import time; print(time.process_time() * 1000)"
    said = subprocess.run(  # noqa: S603  (a python)
        [python, "-c", code], capture_output=True, check=True
    )
    return float(said.stdout)


def _imports(started: tuple[list[str], dict[str, str], str]) -> None:
    command, variables, key = started
    timed = [command[0], "-X", "importtime", *command[1:]]
    with subprocess.Popen(  # noqa: S603  (the router)
        timed, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        found = LISTENS.match(running.stdout.readline())
        assert found is not None
        _ask(found[1], key)
        running.terminate()
        said = running.communicate()[1]
    rows = [line.split("|") for line in said.splitlines() if line.startswith("import time:")][1:]
    of: dict[str, int] = {}
    for own, _, name in rows:
        package = name.strip().partition(".")[0]
        of[package] = of.get(package, 0) + int(own.partition(":")[2])
    total = sum(of.values())
    print(f"imports, by package: {total / 1000:.0f} ms in all")
    for package, us in sorted(of.items(), key=lambda each: -each[1])[:40]:
        print(f"  {us / 1000:7.1f}  {package}")


if __name__ == "__main__":
    main()
