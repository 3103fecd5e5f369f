"""Engines that we start ourselves: the real llama-server, with the tiny model we ship.

* EngineError
  * EngineUnusable     the setting is at fault: the named program is missing or is no llama-server
  * EngineNotBuilt     the machine is: no compiler, no network, no disk, or the compiler gave up
  * EngineNotStarted   the start is: port in use, model missing, died early, not ready in time
"""

from importlib.resources import files
from pathlib import Path


class EngineError(Exception):
    """An engine can't be had; the message says what to do."""


class EngineUnusable(EngineError):  # noqa: N818 (says what happened)
    """`SLUICE_LLAMA_SERVER` names something that can't be used."""


class EngineNotBuilt(EngineError):  # noqa: N818 (says what happened)
    """No llama-server could be built on this machine."""


class EngineNotStarted(EngineError):  # noqa: N818 (says what happened)
    """llama-server was started and does not serve."""


def tiny_model() -> Path:
    """Find the shipped GGUF: Qwen3's architecture, trained by us to label tickets and reviews."""
    return Path(str(files(__package__) / "tiny" / "qwen3-tiny.gguf"))
