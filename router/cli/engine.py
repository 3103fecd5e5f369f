"""Find or build the engine: ``python -m router.cli.engine``, the last step of ``make setup``."""

import sys
from pathlib import Path

import click

from backends.engines import EngineError, llama_cpp
from router.cli.errors import FAILED
from router.settings import cache_dir, cores, environment


def engine() -> Path:
    """Return a llama-server, building it (5 minutes, once) where none is found."""
    env = environment()
    cache = cache_dir(env)
    found = llama_cpp.find(env.get("SLUICE_LLAMA_SERVER"), cache)
    if found is not None:
        return found
    click.echo("no llama-server found: building one, once (about 5 minutes)", err=True)
    return llama_cpp.build(cache, _say, cores())


def _say(line: str) -> None:
    click.echo(f"engine: {line}", err=True)


if __name__ == "__main__":
    try:
        engine()
    except EngineError as exc:
        click.echo(f"setup: {exc}", err=True)
        sys.exit(FAILED)
