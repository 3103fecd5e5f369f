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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return what to run; a name that is mistyped ends with the one that is near to it."""
        name = args[0]
        if name not in self.commands_at and not name.startswith("-") and not ctx.resilient_parsing:
            from yamlfile import suggest  # noqa: PLC0415  (imported where something is wrong)

            ctx.fail(f"No such command `{name}` {suggest(name, self.commands_at)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in self.commands_at.items()])
