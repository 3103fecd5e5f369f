"""``sluice fleet``: what the fleets cost and how fast they are, measured, imported and audited."""

from collections.abc import Mapping

import click

from router.cli.lazy import LazyGroup

COMMANDS: Mapping[str, tuple[str, str]] = {
    "show": ("router.cli.fleet.show", "Price, capacity and curves of fleets; plots."),
    "audit": ("router.cli.fleet.audit", "Check every figure that costs are computed from."),
    "import": ("router.cli.fleet.import_", "Take over a benchmark's results as a profile."),
    "measure": ("router.cli.fleet.measure", "Measure a live fleet and keep its profile."),
    "fit": ("router.cli.fleet.fit", "Say whether a model fits an instance, and how to launch it."),
    "prices": ("router.cli.fleet.prices", "Show the price book, or refresh it."),
}


class _Commands(LazyGroup):
    commands_at = COMMANDS


@click.group("fleet", cls=_Commands)
def command() -> None:
    """Show, audit, import and measure what routing is decided from."""
