"""``sluice policy diff``: what a change of a policy means, in words and in money."""

from collections.abc import Sequence
from pathlib import Path

import click
import orjson

import yamlfile
from backends import files
from policies.parse import parse
from router.beside import text_of
from router.cli import options
from router.cli.calibrate.written import check_written, write
from router.cli.errors import FAILED, INVALID, Ends, told
from router.cli.ledger.options import over
from router.cli.policy.diff_replays import Asked, compared
from router.cli.policy.diff_text import text
from router.cli.window import window
from router.compare.comparison import Comparison
from router.compare.condition import Condition, judged
from router.compare.condition import parse as condition_of
from router.compare.markdown import markdown
from router.compare.report import PER_S, Named, Report
from router.compare.report_json import report_json
from router.compare.words import words
from router.sources import names_of
from router.traces.generate import PREFIX
from router.traces.mix import Mix
from router.world import World, world

NEED_A_TRACE = {
    "start": "--from",
    "end": "--to",
    "tz": "--tz",
    "seed": "--seed",
    "seeds": "--seeds",
    "simple_share": "--simple-share",
    "per": "--per",
    "fail_if": "--fail-if",
}
STDOUT = "-"


@click.command("diff")
@click.argument("old", type=options.POLICY)
@click.argument("new", type=options.POLICY)
@click.option(
    "--trace",
    metavar="TRACE",
    help="Replay both over it: a file (Azure's CSV, Mooncake's, receipts; plain or gzip), gen:...",
)
@over
@options.fleets
@click.option(
    "--fleets-new", type=options.FILE, help="Fleet catalogue of NEW, where it is another one."
)
@click.option("--seed", type=options.SEED, default=0, show_default=True, help="Of all chance.")
@click.option(
    "--seeds",
    type=click.IntRange(1, 100),
    help="How often what a trace without texts doesn't say is drawn, each time with another seed "
    "(default: 5, fewer for long traces).",
)
@click.option(
    "--simple-share",
    type=options.Share(),
    default=Mix().simple,
    show_default=True,
    help="How many requests of a trace without texts are taken for simple.",
)
@click.option(
    "--per",
    type=click.Choice(list(PER_S)),
    help="Tell the change for so long, too, as if all of that were like the trace.",
)
@click.option(
    "--fail-if",
    metavar="CONDITION",
    multiple=True,
    help="Exit 1 if it holds, such as 'usd > +5%', 'ttft_p95_ms > 900'; repeat for several.",
)
@click.option(
    "--markdown",
    "markdown_to",
    metavar="FILE|-",
    help="Write a report for a pull request into this file, or print it in place of the text.",
)
@options.router_on
@options.state
@options.as_json
def command(
    old: Path,
    new: Path,
    trace: str | None,
    start: str | None,
    end: str | None,
    tz: str,
    fleets: Path | None,
    fleets_new: Path | None,
    seed: int,
    seeds: int | None,
    simple_share: float,
    per: str | None,
    fail_if: tuple[str, ...],
    markdown_to: str | None,
    router_on: str,
    state: Path,
    as_json: bool,
) -> None:
    """Tell what changes from policy OLD to policy NEW: in words, and with --trace in money.

    Each is a file, or the folder of a store: then what is in force there.
    """
    _check(old, new, trace)
    to_file = None if markdown_to in (None, STDOUT) else Path(str(markdown_to))
    read = None if trace is None or trace.startswith(PREFIX) else trace
    check_written([to_file], [old, new, fleets, fleets_new, read])
    if markdown_to == STDOUT and as_json:
        raise Ends("`--markdown -` and `--json` both want standard output: give a file", INVALID)
    conditions, asked_for = _conditions(fail_if), window(start, end, tz)
    with told():
        worlds = _worlds(old, new, fleets, fleets_new, state, router_on)
        found = None
        if trace is not None:
            found = compared(*worlds, Asked(trace, seed, seeds, simple_share, asked_for))
    report = _report((old, new), worlds, found, conditions, per, other_fleets=fleets_new)
    if to_file is not None:
        with told():
            write(to_file, markdown(report).encode())
        click.echo(f"written: {to_file}", err=True)
    if as_json:
        click.echo(orjson.dumps(report_json(report)))
    else:
        click.echo(markdown(report) if markdown_to == STDOUT else text(report), nl=False)
    _ends(report)


def _check(old: Path, new: Path, trace: str | None) -> None:
    """Refuse what would say nothing, or be passed over."""
    if old.samefile(new):
        raise Ends(f"{new}: OLD and NEW are the same file, or store: give another one", INVALID)
    context = click.get_current_context()
    given = [
        flag
        for name, flag in NEED_A_TRACE.items()
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    ]
    if trace is None and given:
        verb = "goes" if len(given) == 1 else "go"
        raise Ends(f"{', '.join(given)} {verb} with `--trace` only: there is no bill", INVALID)


def _conditions(written: Sequence[str]) -> list[Condition]:
    found, wrong = [], []
    for one in written:
        try:
            found.append(condition_of(one))
        except ValueError as exc:
            wrong.append(f"--fail-if {exc}")
    if wrong:
        raise Ends("\n".join(wrong), INVALID)
    return found


def _worlds(
    old: Path, new: Path, fleets: Path | None, fleets_new: Path | None, state: Path, router_on: str
) -> tuple[World, World]:
    """Return both worlds; tell what is wrong with either policy in one go."""
    was = files.catalogue(fleets, state, router_on)
    now = was if fleets_new is None else files.catalogue(fleets_new, state, router_on)
    worlds: list[World] = []
    problems: list[yamlfile.Problem] = []
    for path, catalogue in ((old, was), (new, now)):
        try:
            source, _ = text_of(path)
            policy = parse(source.text, source.name, names_of(catalogue))
            worlds.append(world(policy, catalogue))
        except yamlfile.Invalid as exc:
            problems += exc.problems
    if problems:
        raise yamlfile.Invalid(problems)
    before, after = worlds
    return before, after


def _report(
    paths: tuple[Path, Path],
    worlds: tuple[World, World],
    found: Comparison | None,
    conditions: Sequence[Condition],
    per: str | None,
    *,
    other_fleets: Path | None,
) -> Report:
    old, new = (world.policy for world in worlds)
    notes = []
    if other_fleets is not None:
        notes.append(
            f"the new policy runs on the fleets of {other_fleets.name}: the words tell what "
            "changes in the policy alone"
        )
    return Report(
        Named(str(paths[0]), old.name, old.hash),
        Named(str(paths[1]), new.name, new.hash),
        words(old.compiled, new.compiled),
        found,
        () if found is None else tuple(judged(condition, found) for condition in conditions),
        per,
        tuple(notes),
    )


def _ends(report: Report) -> None:
    """Raise SystemExit if a condition fails."""
    for one in report.failed:
        click.echo(f"--fail-if {one.text}: {one.said}", err=True)
    if report.failed:
        raise SystemExit(FAILED)
