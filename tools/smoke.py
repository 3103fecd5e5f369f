"""After a deployment: does the router that callers reach do what it should?

    SLUICE_KEY=sk-sluice-... python tools/smoke.py https://llm.example.com
    SLUICE_KEY=... SLUICE_SPENT_KEY=... python tools/smoke.py URL    with a spent key, too
    python tools/smoke.py --sign URL    signed (SigV4) with the shell's AWS credentials: `auth: iam`

With --sign a key goes beside the signature, as stages of China with `auth: keys` take it; without
one the signature says who asks.

URL is what comes before `/v1`: behind API Gateway without a domain of yours it ends in `/api`. Four
requests are answered by models, and charged to the key. Exit code: 0 all well, 1 something failed,
3 nothing to ask with. Keys come by the environment: a command line is seen by others.
"""

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx

from backends.aws_credentials import Chain, Misconfigured, MissingPackage, given
from backends.sigv4 import Credentials, Signer

RECEIPT = ("request-id", "fleet", "model", "rule", "policy", "tier", "complexity")
APART_MS = 30  # between the first and the last token of a stream: at once means buffered
EVENTS = 3
TIMEOUT_S = 120.0
TOKENS = 48
REGION = re.compile(r"\.execute-api\.([a-z0-9-]+)\.")
ENGLISH = "Count from one to twenty in words, separated by commas."
CHINESE = "把这条工单分类为 billing、technical 或 shipping：我的订单被重复扣款了"


class Wrong(Exception):  # noqa: N818 (it is what is wrong)
    """The check failed, and why."""


@dataclass(frozen=True, slots=True)
class Router:
    """What is asked. `key` is shown nowhere."""

    client: httpx.Client
    key: str | None
    spent_key: str | None
    signed: bool = False

    def ask(self, text: str, key: str | None = None) -> httpx.Response:
        return self.client.post("/v1/chat/completions", json=_body(text), headers=self.headers(key))

    def stream(self, text: str) -> Iterator[tuple[float, str]]:
        """Yield (milliseconds since it was sent, line)."""
        body, began = _body(text) | {"stream": True}, time.monotonic()
        path = "/v1/chat/completions"
        with self.client.stream("POST", path, json=body, headers=self.headers()) as answer:
            if answer.status_code != httpx.codes.OK:
                answer.read()
                raise Wrong(_status(answer))
            for line in answer.iter_lines():
                yield (time.monotonic() - began) * 1000, line

    def headers(self, key: str | None = None) -> dict[str, str]:
        found = key or self.key
        if found is None:
            return {}
        return {"x-sluice-key": found} if self.signed else {"Authorization": f"Bearer {found}"}


class Signed(httpx.Auth):
    """Signs each request for API Gateway, whose credentials they are at that moment."""

    requires_request_body = True

    def __init__(self, credentials: Callable[[], Credentials], region: str) -> None:
        self._credentials, self._region = credentials, region

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:
        path, _, query = request.url.raw_path.decode("ascii").partition("?")
        host = {"host": request.headers["host"]}
        signer = Signer(self._credentials(), self._region, "execute-api")
        query = "&".join(sorted(query.split("&")))
        added = signer.signed(request.method, path, host, request.content, time.time(), query)
        request.headers.update(added)
        yield request


def _body(text: str) -> dict[str, object]:
    messages = [{"role": "user", "content": text}]
    return {"model": "auto", "max_tokens": TOKENS, "messages": messages}


def _status(answer: httpx.Response) -> str:
    """Return what an answer that isn't wanted says of itself: our errors name no caller's text."""
    try:
        said = answer.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        said = answer.reason_phrase
    return f"{answer.status_code}: {' '.join(str(said).split())[:160]}"


def _wanted(answer: httpx.Response, status: int) -> None:
    if answer.status_code != status:
        raise Wrong(f"wanted {status}, got {_status(answer)}")


def ready(router: Router) -> str:
    _wanted(router.client.get("/readyz"), 200)
    return "/readyz is 200"


def plain(router: Router) -> str:
    answer = router.ask(ENGLISH)
    _wanted(answer, 200)
    return f"{_text(answer)} characters from {answer.headers.get('x-sluice-fleet', '?')}"


def _text(answer: httpx.Response) -> int:
    found = answer.json()["choices"][0]["message"].get("content") or ""
    if not found:
        raise Wrong("the answer is empty")
    return len(found)


def receipt(router: Router) -> str:
    answer = router.ask(ENGLISH)
    _wanted(answer, 200)
    names = [f"x-sluice-{name}" for name in (*RECEIPT, "cost-usd")]
    missing = [name for name in names if name not in answer.headers]
    if missing:
        raise Wrong(f"not among the answer's headers: {', '.join(missing)}")
    return f"rule {answer.headers['x-sluice-rule']}, ${answer.headers['x-sluice-cost-usd']}"


def streamed(router: Router) -> str:
    """Tokens must come as they are made: something on the way that buffers sends them at once."""
    times: list[float] = []
    done = False
    for at_ms, line in router.stream(ENGLISH):
        done = done or line == "data: [DONE]"
        if line.startswith("data: {") and _has_content(line):
            times.append(at_ms)
    if not done:
        raise Wrong("the stream ended without [DONE]")
    if len(times) < EVENTS:
        raise Wrong(f"only {len(times)} events had content")
    spread_ms = times[-1] - times[0]
    if spread_ms < APART_MS:
        raise Wrong(f"{len(times)} events within {spread_ms:.0f} ms: something buffers the stream")
    return f"{len(times)} events over {spread_ms:.0f} ms, the first after {times[0]:.0f} ms"


def _has_content(line: str) -> bool:
    choices = json.loads(line.removeprefix("data: ")).get("choices") or [{}]
    return bool(choices[0].get("delta", {}).get("content"))


def chinese(router: Router) -> str:
    answer = router.ask(CHINESE)
    _wanted(answer, 200)
    _text(answer)
    return f"tier {answer.headers.get('x-sluice-tier', '?')}"


def wrong_key(router: Router) -> str:
    _wanted(router.ask("hi", key="sk-sluice-this-key-was-never-given"), 401)
    return "401"


def unsigned(router: Router) -> str:
    """What is before the router refuses it; nobody's key helps."""
    path, headers = "/v1/chat/completions", router.headers()
    _wanted(router.client.post(path, json=_body("hi"), headers=headers, auth=None), 403)
    return "403"


def spent(router: Router) -> str:
    _wanted(router.ask("hi", key=router.spent_key), 402)
    return "402"


CHECKS: dict[str, Callable[[Router], str]] = {
    "ready": ready,
    "plain answer": plain,
    "receipt's headers": receipt,
    "streamed answer": streamed,
    "Chinese": chinese,
    "wrong key": wrong_key,
}


def run(router: Router) -> Iterator[tuple[str, bool, str, float]]:
    """Yield what was checked, whether it is well, what was seen, and the seconds it took."""
    checks = dict(CHECKS)
    if router.key is None:
        del checks["wrong key"]  # nobody has one
    checks |= {"no signature": unsigned} if router.signed else {}
    checks |= {"spent budget": spent} if router.spent_key else {}
    for name, check in checks.items():
        began = time.monotonic()
        try:
            well, said = True, check(router)
        except Wrong as exc:
            well, said = False, str(exc)
        except httpx.HTTPError as exc:
            well, said = False, f"{type(exc).__name__}: {exc}"
        except (ValueError, KeyError, IndexError, TypeError) as exc:
            well, said = False, f"the answer is not of OpenAI's form ({type(exc).__name__})"
        yield name, well, said, time.monotonic() - began


def _key(name: str) -> str | None:
    """Return the key without the line break or blanks that came along when it was copied."""
    value = os.environ.get(name)  # noqa: TID251 (a script of its own, not the router)
    return value.strip() if value else None


def _unusable(url: str, key: str | None, spent_key: str | None, *, signed: bool) -> str | None:
    """Return why nothing can be asked with these, in no word of a key: httpx would repeat it."""
    if not url.startswith(("http://", "https://")):
        return f"{url}: this is no url (as https://llm.example.com)"
    if not key and not signed:
        return "set SLUICE_KEY: `sluice keys create` gives one (or --sign, of a stage with `iam`)"
    for name, value in (("SLUICE_KEY", key or ""), ("SLUICE_SPENT_KEY", spent_key or "")):
        if not (value.isascii() and value.isprintable()):
            return f"{name} is no key: one has letters, digits and `-`, as sk-sluice-..."
    return None


def _signed(url: str) -> Signed:
    """Return what signs for the region that the url or the shell names. Raises Misconfigured."""
    found = REGION.search(url)
    region = found[1] if found else os.environ.get("AWS_REGION")  # noqa: TID251 (as above)
    if not region:
        raise Misconfigured("set AWS_REGION: the url names no region to sign for")
    own = given(os.environ) or Chain("--sign")  # noqa: TID251 (as above)
    own.read()
    return Signed(own.read, region)


def main() -> int:
    """Print a line a check; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("url", help="what comes before /v1, as https://llm.example.com")
    parser.add_argument("--sign", action="store_true", help="sign as the shell's AWS credentials")
    arguments = parser.parse_args()
    url: str = arguments.url.rstrip("/").removesuffix("/v1")
    signed: bool = arguments.sign
    key, spent_key = _key("SLUICE_KEY"), _key("SLUICE_SPENT_KEY")
    said = _unusable(url, key, spent_key, signed=signed)
    if said:
        print(said, file=sys.stderr)
        return 3
    failed = 0
    try:
        client = httpx.Client(
            base_url=url, timeout=TIMEOUT_S, auth=_signed(url) if signed else None
        )
    except httpx.InvalidURL as exc:
        print(f"{url}: {exc}", file=sys.stderr)
        return 3
    except (Misconfigured, MissingPackage) as exc:
        print(exc, file=sys.stderr)
        return 3
    with client:
        for name, well, said, seconds in run(Router(client, key, spent_key, signed)):
            print(f"{'ok' if well else 'FAILED':<8}{name:<20}{seconds:6.1f} s  {said}", flush=True)
            failed += not well
    if not spent_key:
        print("not tried: a refusal by budget (SLUICE_SPENT_KEY)")
    print("all well" if not failed else f"{failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
