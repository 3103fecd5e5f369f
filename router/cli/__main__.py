"""``python -m router.cli``: the same as ``sluice``."""

from router.cli.main import main

main()
