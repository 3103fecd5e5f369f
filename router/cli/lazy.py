"""A group of commands that knows their names without importing them."""

import importlib
from collections.abc import Mapping

import click


class LazyGroup(click.Group):
    """`commands_at`: name -> (module with a ``command``, one line about it)."""

    commands_at: Mapping[str, tuple[str, str]] = {}

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(self.commands_at)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.commands_at:
            return None
        command: click.Command = importlib.import_module(self.commands_at[name][0]).command
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in self.commands_at.items()])
