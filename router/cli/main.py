"""The commands of ``sluice``. A command's module is imported when it is called."""

import errno
import os
import sys
from collections.abc import Mapping
from typing import NoReturn

import click

from router.cli.errors import FAILED, INVALID
from router.cli.lazy import LazyGroup

COMMANDS: Mapping[str, tuple[str, str]] = {
    "up": ("router.cli.up", "Start local lanes and the router, and print what to try."),
    "serve": ("router.cli.serve", "Start the router."),
    "route": ("router.cli.route", "Show where a request would go, and why."),
    "classify": ("router.cli.classify", "Judge requests: task, complexity, tier."),
    "calibrate": ("router.cli.calibrate", "Learn from labels how far the small model goes."),
    "fleet": ("router.cli.fleet", "Show, audit, import and measure what fleets cost and do."),
    "policy": ("router.cli.policy", "Check policies and run their cases; publish them."),
    "replay": (
        "router.cli.replay.command",
        "Replay a trace: what policies would have cost and done.",
    ),
    "keys": ("router.cli.keys", "Create, list, revoke and rotate API keys."),
    "ledger": ("router.cli.ledger", "Report, export and reconcile what was charged."),
    "deploy": ("router.cli.deploy", "Print what a stage on AWS would cost, before it exists."),
    "plan": ("router.cli.plan", "Plan the cheapest fleets that hold an SLO for a trace."),
    "doctor": ("router.cli.doctor", "Check what this machine has and what the fleets answer."),
}

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class _Commands(LazyGroup):
    commands_at = COMMANDS


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sluice", prog_name="sluice")
def cli() -> None:
    """Route every LLM request to the cheapest fleet that meets the policy."""


def main() -> NoReturn:
    """Run the command line; a mistyped flag is invalid input (3), as any other input is."""
    click.UsageError.exit_code = INVALID
    try:
        cli(prog_name="sluice")
    except OSError as exc:
        if exc.errno not in UNWRITABLE or exc.filename is not None:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the exit tries to write the rest again
        click.echo(f"Error: standard output can't be written: {exc.strerror}", err=True)
        sys.exit(FAILED)
    sys.exit(0)  # click has exited already
