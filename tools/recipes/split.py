"""One model over two workers by llama.cpp's RPC backend, beside the same model unsplit."""

import contextlib
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

HOST = "127.0.0.1"
THREADS = 1  # of each process: a worker computes while the others wait
PROMPT = (
    "Sort this ticket: I was charged twice for my laptop. 请把这张工单分类：我的包裹在哪里？ " * 4
)
ANSWER_TOKENS = 48
READY_WITHIN_S = 120.0


def measured(programs: Path, model: Path, folder: Path) -> Iterator[tuple[str, ...]]:
    """A row for each way to serve; the tokens are compared with those of the unsplit model."""
    alone = _asked(programs, model, folder, ())
    ways = {
        "one llama-server": alone,
        "llama-server + 1 worker": _asked(programs, model, folder, (1,)),
        "llama-server + 2 workers": _asked(programs, model, folder, (1, 2)),
    }
    for name, (answer, memory) in ways.items():
        timings = answer["timings"]
        same = _same(alone[0]["tokens"], answer["tokens"])
        yield (
            name,
            f"{timings['prompt_per_second']:.1f}",
            f"{timings['predicted_per_second']:.1f}",
            " + ".join(f"{each:.0f}" for each in memory),
            f"{same} of {len(answer['tokens'])}",
        )


def _same(one: list[int], other: list[int]) -> int:
    """How many tokens are the same before the first that isn't."""
    pairs = list(zip(one, other, strict=False))
    return next((i for i, (a, b) in enumerate(pairs) if a != b), len(pairs))


def _asked(
    programs: Path, model: Path, folder: Path, workers: tuple[int, ...]
) -> tuple[dict[str, Any], list[float]]:
    """Answer, and resident MiB of each process, the server's first."""
    with contextlib.ExitStack() as running:
        ports = [_free_port() for _ in workers]
        started = []
        for worker, port in zip(workers, ports, strict=True):
            command = [programs / "ggml-rpc-server", "-H", HOST, "-p", port, "-t", THREADS]
            log = folder / f"worker-{worker}.log"
            started.append(running.enter_context(_process(command, log)))
            _wait(lambda port=port: _listens(port))
        port = _free_port()
        command = [programs / "llama-server", "-m", model, "--host", HOST, "--port", port]
        command += ["-t", THREADS, "-np", 1, "-c", 1024, "--no-repack"]
        if workers:
            # -ngl: layers that leave this process; --fit off: as asked, whatever is free there
            places = ",".join(f"{HOST}:{each}" for each in ports)
            command += ["--rpc", places, "-ngl", 99, "--fit", "off"]
        server = running.enter_context(_process(command, folder / "server.log"))
        _wait(lambda: _answers(port))
        body = {"prompt": PROMPT, "n_predict": ANSWER_TOKENS, "temperature": 0, "seed": 1}
        body |= {"ignore_eos": True, "return_tokens": True, "cache_prompt": False}
        answer = _post(port, body)
        return answer, [_resident_mib(each.pid) for each in (server, *started)]


@contextlib.contextmanager
def _process(command: list[object], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603 (our own arguments, no shell)
            [str(part) for part in command], stdout=out, stderr=out
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def _resident_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024


def _post(port: int, body: dict[str, Any]) -> dict[str, Any]:
    request = Request(f"http://{HOST}:{port}/completion", json.dumps(body).encode())
    with urlopen(request, timeout=600) as answer:  # noqa: S310 (as above)
        return json.load(answer)


def _answers(port: int) -> bool:
    with contextlib.suppress(URLError, OSError), urlopen(f"http://{HOST}:{port}/health") as answer:
        return answer.status == 200
    return False


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
        return True
    return False


def _wait(true: Any) -> None:  # noqa: ANN401 (a function without arguments)
    ends = time.monotonic() + READY_WITHIN_S
    while not true():
        if time.monotonic() > ends:
            raise SystemExit("a server is not ready in time: see the logs in the folder")
        time.sleep(0.1)


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as probe:
        return int(probe.getsockname()[1])
