"""``sluice keys``: who may call, and what each key may do."""

from collections.abc import Mapping

import click

from router.cli.lazy import LazyGroup

COMMANDS: Mapping[str, tuple[str, str]] = {
    "create": ("router.cli.keys.create", "Create a key and print it, once."),
    "list": ("router.cli.keys.list_", "Show keys, their rights and what became of them."),
    "revoke": ("router.cli.keys.revoke", "Let a key work no more."),
    "rotate": ("router.cli.keys.rotate", "Give a key a new secret."),
}


class _Commands(LazyGroup):
    commands_at = COMMANDS


@click.group("keys", cls=_Commands)
def command() -> None:
    """Create, list, revoke and rotate API keys."""
