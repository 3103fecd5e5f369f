"""What a live server says of itself, and what machine this is."""

import platform
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from backends.base import BackendError
from backends.http1 import Client

ASK_S = 5.0
OK = 200
# Where engines tell their version, and under which key.
VERSIONS = (("/props", "build_info"), ("/version", "version"), ("/api/version", "version"))


async def engine_version(url: str, headers: dict[str, str]) -> str | None:
    """Return the version that the server tells at the root of its url; None: it doesn't."""
    parts = urlsplit(url)
    client = Client(f"{parts.scheme}://{parts.netloc}", headers)
    try:
        for path, key in VERSIONS:
            try:
                response = await client.request("GET", path, timeout_s=ASK_S)
                value = orjson.loads(await response.body())
            except (BackendError, orjson.JSONDecodeError):
                continue
            if response.status == OK and isinstance(value, dict):
                told = value.get(key)
                if isinstance(told, str) and told:
                    return told
        return None
    finally:
        await client.aclose()


def machine(cores: int) -> str:
    """Return this machine's processor and the cores that may be used."""
    return f"{_processor() or platform.machine()}, {cores} cores"


def _processor() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or None
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else None
