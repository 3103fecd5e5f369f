"""The command line: ``sluice``. Exit codes: 0 ok, 1 failed, 2 refused, 3 invalid input."""

from router.cli.main import main

__all__ = ["main"]
