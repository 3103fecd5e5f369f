"""``sluice policy show``: a policy that was published."""

import json
from pathlib import Path

import click
import orjson

from router.appconfig_control import IN_FORCE, Control, Refused, Unknown
from router.appconfig_place import Place
from router.cli import options
from router.cli.errors import REFUSED, Ends, told
from router.cli.policy import local
from router.cli.policy.rollout import asked, folder_of, only_for, to
from router.policy_store import PolicyStore, Version
from router.policy_store import Unknown as NotThere
from router.settings import environment

CURRENT = "current"


class Number(click.ParamType[object]):
    name = "version"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> object:
        if value == CURRENT:
            return None
        if not str(value).isdecimal() or not int(value):
            said = f"`{str(value)[:20]}` is no version (valid: a number from 1, or `{CURRENT}`)"
            self.fail(said, param, ctx)
        return int(value)


@click.command("show")
@click.argument("version", type=Number(), default=CURRENT)
@click.option("--as-written", is_flag=True, help="The text as it was published, comments and all.")
@to
@options.state
@options.as_json
@click.pass_context
def command(
    context: click.Context,
    version: int | None,
    as_written: bool,
    place: Place | Path | None,
    state: Path,
    as_json: bool,
) -> None:
    """Print VERSION, a number or `current`: with every default in it, as it holds.

    From AppConfig: the document, as it was published there. Exit 0: printed; 1: AppConfig can't be
    asked; 2: nothing is in force there, or nobody knows what is; 3: an unknown version, or no such
    store or place.
    """
    folder = folder_of(place, state)
    if folder is not None:
        with local.stored(), told():
            _print_stored((folder, state), version, as_written=as_written, as_json=as_json)
        return
    said = "it has the document as JSON; comments stay in the file that was published"
    only_for(context, "on AppConfig", ("as_written",), said)
    assert isinstance(place, Place)
    with told(), asked():
        control = Control(place, environment().get("AWS_REGION") or None)
        _print_deployed(control, version, as_json=as_json)


def _print_stored(
    at: tuple[Path, Path], number: int | None, *, as_written: bool, as_json: bool
) -> None:
    """`at`: the store's folder, and the state folder."""
    folder, state = at
    store = PolicyStore(folder)
    listed = local.told_of(store.listed())
    doubt = listed.doubt()
    if number is not None:
        version: Version | None = store.version(number)
        if doubt is not None:
            click.echo(f"warning: {folder}: {doubt}", err=True)
    else:
        if doubt is not None:
            raise Ends(f"{folder}: {doubt}", REFUSED)
        version = listed.in_force()
    if version is None:
        raise NotThere(f"{folder}: nothing is in force here yet")
    words, stop = version.words, local.stopped(listed, folder, state).get(version.number)
    if as_json:
        whole = {**local.summary(version), "compiled": words.compiled, "text": words.text}
        click.echo(orjson.dumps(whole if stop is None else {**whole, "stopped": stop.why}))
        return
    if stop is not None:
        click.echo(f"note: {local.end_of(version, stop)}", err=True)
    if as_written:
        if version == listed.in_force():
            said = f"what you make of version {version.number} is published with `--from"
            click.echo(f"note: {said} {listed.newest}`", err=True)
        click.echo(words.text, nl=not words.text.endswith("\n"))
    else:
        click.echo(json.dumps(words.compiled, indent=2, ensure_ascii=False))


def _print_deployed(control: Control, number: int | None, *, as_json: bool) -> None:
    versions = {one.number: one.note for one in control.versions()}
    if number is None:
        number = _deployed(control)
    if number not in versions:
        known = ", ".join(map(str, versions)) or "none"
        raise Unknown(f"unknown version {number} (known: {known})")
    text, note = control.content(number), versions[number]
    if as_json:
        said = {"version": number, "who": note.who or None, "why": note.why or None,
                "policy": note.policy or None, "hash": note.hash or None, "text": text}  # fmt: skip
        click.echo(orjson.dumps(said))
    else:
        click.echo(text, nl=not text.endswith("\n"))


def _deployed(control: Control) -> int:
    """Return the version that is in force. Raises Refused."""
    for one in control.deployments():
        if one.profile == control.profile_id and one.state in IN_FORCE and one.version.isdigit():
            return int(one.version)
    raise Refused("nothing is in force here: say which version")
