"""What a replay does at the moment, on standard error, for who waits before a terminal."""

import sys

import click


class Progress:
    """One line that is written anew; where standard error is no terminal a line for each step."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._last = 0

    def tell(self, what: str) -> None:
        if not self._terminal:
            click.echo(what, err=True)
            return
        click.echo("\r" + what.ljust(self._last), nl=False, err=True)
        self._last = len(what)

    def done(self) -> None:
        """Leave nothing behind in the terminal."""
        if self._terminal:
            click.echo("\r" + " " * self._last + "\r", nl=False, err=True)
