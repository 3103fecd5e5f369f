"""``sluice policy``: check policies, put them in force, and see what was."""

from collections.abc import Mapping

import click

from router.cli.lazy import LazyGroup

COMMANDS: Mapping[str, tuple[str, str]] = {
    "check": ("router.cli.policy.check", "Check policies against the fleets; run their cases."),
    "test": ("router.cli.policy.test", "Run a policy's cases; tell which rules none reaches."),
    "diff": ("router.cli.policy.diff", "Tell what a change of a policy means, in words and money."),
    "publish": ("router.cli.policy.publish", "Put a policy in force, with who and why."),
    "rollback": ("router.cli.policy.rollback", "Go back to the policy that was in force before."),
    "history": ("router.cli.policy.history", "Show who published what, when and why."),
    "show": ("router.cli.policy.show", "Print a policy that was published."),
}


class _Commands(LazyGroup):
    commands_at = COMMANDS


@click.group("policy", cls=_Commands)
def command() -> None:
    """Check policies, test them, compare two; publish them, and take them back."""
