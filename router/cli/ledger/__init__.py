"""``sluice ledger``: what was spent, by whom, and whether the cloud's bill agrees."""

from collections.abc import Mapping

import click

from router.cli.lazy import LazyGroup

COMMANDS: Mapping[str, tuple[str, str]] = {
    "report": ("router.cli.ledger.report", "What a period cost, by team, fleet, rule and more."),
    "export": ("router.cli.ledger.export", "Write the rows as FOCUS, CSV or JSON lines."),
    "budgets": ("router.cli.ledger.budgets", "Show what is left of every budget."),
    "override": ("router.cli.ledger.override", "Give a budget another limit for a time."),
    "reconcile": ("router.cli.ledger.reconcile", "Hold the cloud's bill against the fleets' time."),
}


class _Commands(LazyGroup):
    commands_at = COMMANDS


@click.group("ledger", cls=_Commands)
def command() -> None:
    """Report, export and reconcile what was charged."""
