"""The command line: ``sluice``. Exit codes: 0 ok, 1 failed, 2 refused, 3 invalid input."""

import sys

try:
    from router.cli.main import main
except KeyboardInterrupt:  # Ctrl-C while the modules load: nothing was begun
    sys.exit(130)

__all__ = ["main"]
