"""``sluice calibrate``: learn from one's own labels how far the small model can be trusted."""

from collections.abc import Callable
from pathlib import Path

import click
import orjson
from click.core import ParameterSource

from router.calibrate.distinct import distinct
from router.calibrate.weights import KEY_SHARE
from router.classify.calibration import to_json
from router.cli import options, requests_file
from router.cli.calibrate.doubts import doubts, warnings_of
from router.cli.calibrate.found import Found, found_in, json_of, show
from router.cli.calibrate.labels import STORE, of_feedback, of_file, teaching, teaching_judged
from router.cli.calibrate.written import check_written, write
from router.cli.errors import INVALID, REFUSED, Ends, told
from router.sources import Sources

PICTURES = (".svg", ".png")


@click.command("calibrate")
@click.argument("labels", required=False, type=click.Path(allow_dash=True, dir_okay=False))
@click.option(
    "--from-feedback", is_flag=True, help="Learn from what callers and shadow judging said."
)
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Calibration to write: `--calibration` of serve, route and classify takes it.",
)
@click.option(
    "--quality-floor",
    type=options.Share(),
    default=0.85,
    show_default=True,
    help="How often what stays small must be acceptable.",
)
@click.option(
    "--key-share",
    type=options.Share(min_open=True),
    default=KEY_SHARE,
    show_default=True,
    help="The most that one key's feedback may make up of the whole; 1: no bound.",
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw reliability, saving and confusion by language (.svg or .png).",
)
@click.option("--fleets", type=options.FILE, help="Fleet catalogue: costs by its rate cards.")
@click.option(
    "--policy", type=options.POLICY, help="Policy whose baseline costs are compared with."
)
@options.state
@options.as_json
def command(
    labels: str | None,
    from_feedback: bool,
    out: Path,
    quality_floor: float,
    key_share: float,
    plot: Path | None,
    fleets: Path | None,
    policy: Path | None,
    state: Path,
    as_json: bool,
) -> None:
    """Learn from LABELS (`-`: standard input), from feedback, or from both. LABELS are JSON lines
    {"id", "prompt" or "messages" or "features", and "weak" and "strong", or "acceptable"}: how
    well the small and the strong model answered, from 0 to 1, or whether the small one did.
    """
    _check_options(labels, plot, fleets, policy, from_feedback=from_feedback)
    store = [state / STORE] if from_feedback else []
    check_written([out, plot], [labels, fleets, policy, *store])
    with told():
        given, judged = of_feedback(state) if from_feedback else ([], [])
        world = None if fleets is None else Sources(state, fleets, policy).load()
        read = of_file(labels) if labels is not None else []
        if not (read or given or judged):
            places = [] if labels is None else [requests_file.name_of(labels)]
            empty = " and ".join([*places, *([str(state)] if from_feedback else [])])
            raise Ends(f"{empty}: no labels are there; nothing is written", REFUSED)
        found = distinct([*read, *teaching(given), *teaching_judged(judged)])
    draw = None if plot is None else _drawer()
    warnings = list(warnings_of(found, given, key_share))
    learnt = found_in(found.labels, key_share, quality_floor, world)
    warnings += doubts(learnt)
    with told():
        write(out, orjson.dumps(to_json(learnt.fitted.calibration)))
        if draw is not None and plot is not None:
            draw(learnt, plot)
            click.echo(f"drawn: {plot}", err=True)
    if as_json:
        said = {**json_of(learnt, given, judged), "warnings": warnings, "written": str(out)}
        click.echo(orjson.dumps(said))
        return
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    show(learnt, given, judged)
    click.echo(f"\nwritten: {out}; use it: sluice serve --calibration {out}")


def _check_options(
    labels: str | None,
    plot: Path | None,
    fleets: Path | None,
    policy: Path | None,
    *,
    from_feedback: bool,
) -> None:
    if labels is None and not from_feedback:
        raise Ends("give LABELS, `--from-feedback`, or both", INVALID)
    if not from_feedback:
        for name in ("key_share", "state"):
            given = click.get_current_context().get_parameter_source(name)
            if given is not ParameterSource.DEFAULT and not (name == "state" and fleets):
                option = f"--{name.replace('_', '-')}"
                raise Ends(f"`{option}` goes with `--from-feedback`", INVALID)
    if policy is not None and fleets is None:
        raise Ends("`--policy` goes with `--fleets`: its baseline's costs are compared", INVALID)
    if plot is not None and plot.suffix not in PICTURES:
        raise Ends(f"{plot}: a picture is .svg or .png", INVALID)


def _drawer() -> Callable[[Found, Path], None]:
    try:
        from router.cli.calibrate import picture  # noqa: PLC0415  (matplotlib is optional, slow)
    except ImportError:
        said = "plots need matplotlib: install `sluice[plot]`, or `pip install matplotlib`"
        raise Ends(said, REFUSED) from None
    return picture.draw
