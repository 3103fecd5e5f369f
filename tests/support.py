"""Helpers of the tests: processes of ours, a router's client side, a server that plays faults."""

import contextlib
import json
import os
import random
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx

START_S = 120  # what is waited for may take; on a machine with ten times its load, too
FOR_EVER_S = 10 * START_S


def free_port():
    """Pick a port that nobody listens on, and that nobody is given who asks for any."""
    while True:
        port = random.randrange(10_000, 32_768)  # Linux and macOS deal out those above
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def wait_until(true, within_s=START_S):
    """Wait for a condition that must come true; the bound is only there to end a broken test."""
    ends = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < ends, "it did not come true in time"
        time.sleep(0.02)


def freeze(pid):
    """Stop a process; return once all its threads stand still (a signal's way takes its time)."""
    os.kill(pid, signal.SIGSTOP)
    tasks = Path(f"/proc/{pid}/task")
    if tasks.parent.is_dir():  # Linux; elsewhere nobody tells
        wait_until(lambda: all(state_of(task) in "TtZX" for task in tasks.iterdir()))


def thaw(pid):
    os.kill(pid, signal.SIGCONT)


def state_of(task):
    """Return the letter after the name, which may itself hold spaces and brackets."""
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
        return "X"


@contextlib.contextmanager
def process(*command, ready=None, log=None):
    """Run a process of ours; yield it once its first line (or `ready`) is there; end it after."""
    with (
        log.open("wb") if log else contextlib.nullcontext(subprocess.STDOUT) as stderr,
        subprocess.Popen(
            [str(part) for part in command],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            process_group=0,
        ) as running,
    ):
        try:
            running.first_line = running.stdout.readline()
            assert running.poll() is None, running.first_line
            if ready is not None:
                wait_until(ready)
            yield running
        finally:
            if running.poll() is None:
                running.send_signal(signal.SIGTERM)
                try:
                    running.wait(START_S)
                except subprocess.TimeoutExpired:
                    running.kill()
            running.stdout.close()


class Router:
    """A real `sluice serve` and the key to it."""

    def __init__(self, url, key, state, log):
        self.url, self.key, self.state, self._log = url, key, state, log
        self.http = httpx.Client(base_url=url, headers=self.headers(), timeout=60)

    def headers(self):
        return {"authorization": f"Bearer {self.key}"}

    def chat(self, text="hi", *, headers=None, **body):
        body = {"model": "auto", "messages": [{"role": "user", "content": text}], **body}
        return self.http.post("/v1/chat/completions", json=body, headers=headers)

    def stream(self, text="hi", *, spoke, **body):
        """Ask for a stream and read all of it; `spoke` is set once the caller has its beginning."""
        body = {"model": "auto", "messages": [{"role": "user", "content": text}], **body}
        asked = "POST", "/v1/chat/completions"
        with self.http.stream(*asked, json={**body, "stream": True}) as response:
            content = b""
            for part in response.iter_raw():
                content += part
                spoke.set()
        return response, content

    @contextlib.contextmanager
    def calling(self, text="hi", **body):
        """Yield a connection that a chat request was sent on; it is closed at the end."""
        with socket.create_connection(("127.0.0.1", int(self.url.rpartition(":")[2]))) as caller:
            caller.sendall(self.request(text, **body))
            yield caller

    def request(self, text="hi", **body):
        """A chat request as bytes, for callers that no client library would play."""
        body = {"model": "auto", "messages": [{"role": "user", "content": text}], **body}
        data = json.dumps(body).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {self.key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
        )
        return head.encode() + data

    def receipts(self):
        lines = []
        for path in sorted((self.state / "receipts").glob("*.jsonl")):
            lines += [json.loads(line) for line in path.read_bytes().splitlines()]
        return lines

    def receipt(self, response):
        wanted = response.headers["x-sluice-request-id"]
        wait_until(lambda: any(r["id"] == wanted for r in self.receipts()))
        return next(r for r in self.receipts() if r["id"] == wanted)

    def log(self):
        return self._log.read_text("utf-8")


def sluice(*arguments, **more):
    """Run one command to its end."""
    command = [sys.executable, "-m", "router.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **more)


# -- a server that plays faults --------------------------------------------------------------------

USAGE = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
ANSWER = {
    "id": "1",
    "object": "chat.completion",
    "model": "theirs",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
    ],
    "usage": USAGE,
}


def event(**value):
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def chunk(text=None, finish=None, **delta):
    if text is not None:
        delta["content"] = text
    return event(id="1", choices=[{"index": 0, "delta": delta, "finish_reason": finish}])


ROLE = chunk(role="assistant")
EVENTS = [ROLE, chunk("he"), chunk("llo"), chunk(finish="stop")]
USAGE_EVENT = event(choices=[], usage=USAGE)
DONE = b"data: [DONE]\n\n"


def plain(value=ANSWER, status=200, headers=""):
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{headers}"
    return head.encode() + f"content-length: {len(body)}\r\n\r\n".encode() + body


def stream_head():
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


class Upstream:
    """A server whose every answer is `script`: a function (body, send, gone) of the request.

    `bodies` are the JSON bodies that came, `raws` whole requests; `hung_up` counts callers that
    closed first. What is asked by GET is answered from `pages` (path -> bytes of an answer), else
    by 404.
    """

    def __init__(self):
        self.bodies, self.raws, self.hung_up, self.pages, self.got = [], [], 0, {}, []
        self.script = lambda body, send, gone: send(plain())
        upstream = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                held = b""
                while True:
                    data = b""
                    with contextlib.suppress(ConnectionError):
                        data = self.request.recv(65536)
                    if not data:
                        return
                    held += data
                    head, found, rest = held.partition(b"\r\n\r\n")
                    if not found:
                        continue
                    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                    if len(rest) < length:
                        continue
                    upstream.raws.append(held)
                    held = b""
                    if head.startswith(b"GET "):
                        path = head.split()[1].decode()
                        upstream.got.append((path, head))
                        with contextlib.suppress(ConnectionError):
                            self.request.sendall(upstream.pages.get(path) or plain({}, 404))
                        continue
                    body = json.loads(rest)
                    upstream.bodies.append(body)
                    if self.answer(body) == "close":
                        return

            def answer(self, body):
                def gone(within_s=FOR_EVER_S):
                    """Wait for the caller to hang up, for ever; or so long, and say if it has."""
                    self.request.settimeout(within_s)
                    try:
                        closed = self.request.recv(1) == b""
                    except TimeoutError:
                        return False
                    except ConnectionError:
                        closed = True
                    finally:
                        self.request.settimeout(None)
                    upstream.hung_up += closed
                    return closed

                try:
                    return upstream.script(body, self.request.sendall, gone)
                except ConnectionError:
                    upstream.hung_up += 1
                    return "close"

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            block_on_close = False

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def streams(self, *events):
        def script(body, send, gone):
            send(stream_head() + b"".join(events))
            return "close"

        self.script = script

    def answers(self, data, then="keep"):
        def script(body, send, gone):
            send(data)
            return then

        self.script = script

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


def fleet(name, url, *, model="m", lane="cpu", more=""):
    return (
        f"  - {{id: {name}, model: {model}, lane: {lane}, engine: vllm, kind: openai_http, "
        f'url: "{url}", instance: c8g.xlarge, region: us-east-1, profile: c8g.xlarge/qwen3-0.6b, '
        f"replicas: {{min: 1, max: 1, concurrency_each: 8}}{more}}}\n"
    )


def catalogue(*fleets, context=4000, abilities="json, tools"):
    models = f"models: [{{id: m, context_tokens: {context}, abilities: [{abilities}]}}]\n"
    return "version: 1\n" + models + "fleets:\n" + "".join(fleets)


BOTH = "{in_order: [cpu, accelerator]}"


def policy(use="cpu", baseline="m@one", rules=None, defaults=""):
    rules = rules or f"  - {{id: all, use: {use}}}\n"
    return (
        f"version: 1\nname: test\nbaseline: {baseline}\n"
        f"defaults: {{quality_floor: 0, slo: {{ttft_p95_ms: null, e2e_p95_ms: null}}{defaults}}}\n"
        f"rules:\n{rules}"
    )
