"""``sluice calibrate``: learn from one's own labels how far the small model can be trusted."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import orjson
from click.core import ParameterSource

from router.calibrate.fit import LEAST, Label, NothingLearnt, weighted
from router.calibrate.weights import KEY_SHARE, fair_share
from router.classify.calibration import to_json
from router.cli import options
from router.cli.calibrate.found import Found, by_key, found_in, json_of, show
from router.cli.calibrate.labels import STORE, of_feedback, of_file, teaching, teaching_judged
from router.cli.calibrate.written import check_written, write
from router.cli.errors import INVALID, REFUSED, Ends, told
from router.labels import Given
from router.sources import Sources

FEW = 200  # labels; below, intervals are too wide to trust
PICTURES = (".svg", ".png")
RANDOM = 0.5  # APGR


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
    type=click.FloatRange(0, 1),
    default=0.85,
    show_default=True,
    help="How often what stays small must be acceptable.",
)
@click.option(
    "--key-share",
    type=click.FloatRange(0, 1, min_open=True),
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
@click.option("--policy", type=options.FILE, help="Policy whose baseline costs are compared with.")
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
        found = [*read, *teaching(given), *teaching_judged(judged)]
    draw = None if plot is None else _drawer()
    warnings = list(_warnings(found, given, key_share))
    try:
        learnt = found_in(found, key_share, quality_floor, world)
    except NothingLearnt as exc:
        raise Ends(f"{exc}; nothing is written", REFUSED) from None
    warnings += _doubts(learnt)
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


def _warnings(found: Sequence[Label], given: Sequence[Given], key_share: float) -> Iterator[str]:
    """Yield what to know of these labels; raise Ends where they are too few."""
    others = len(given) - sum(one.by_p_small for one in given)
    left_out = f"{others} labels of feedback are left out: p_small is not their model's quality"
    weighed = weighted(found, key_share)
    share = fair_share([label.key for label in found], key_share)
    weight = sum(label.weight for label in weighed)
    bounded = [
        f"key `{key}` gave {count} of {len(found)} labels, which count as {mine:.0f}: no key makes "
        f"up more than {share:.0%} (`--key-share`)"
        for key, count, mine in by_key(weighed)
        if mine < count
    ]
    if weight < LEAST:
        many = f"{len(found)} labels"
        if bounded:
            many += f" that weigh as {weight:.0f}"
        said = f"{many} are too few to learn from: at least {LEAST}, better some hundred"
        raise Ends("\n".join([said, *bounded, *([left_out] if others else [])]), REFUSED)
    if others:
        yield left_out
    yield from bounded
    if weight < FEW:
        yield f"{weight:.0f} labels are few: a few hundred make the intervals useful"
    keys = {label.key for label in found}
    if len(keys) == 1 and keys != {None}:
        yield f"all labels are of key `{keys.pop()}`: nobody else's stand beside them"
    texts = sum(label.text is not None for label in found)
    if 0 < texts < LEAST:
        yield f"{texts} labels with text are too few for their words: they teach as the others do"
    repeated = texts - len({label.text for label in found if label.text is not None})
    if repeated:
        yield f"{repeated} labels repeat the text of another: they say less than as many new ones"
    if not any(label.strong for label in found):
        said = "the strong model answered none of these acceptably: nothing to compare with"
        raise Ends(f"{said}; nothing is written", REFUSED)
    if sum(label.gain for label in found) <= 0:
        yield "the strong model is not stronger on these labels: nothing to order by"


def _doubts(learnt: Found) -> Iterator[str]:
    """Yield why what was learnt may not be worth using."""
    mine = learnt.orderings["calibrated"]
    if mine.apgr is None or mine.low is None:
        return
    if mine.low <= RANDOM:
        yield (
            f"APGR {mine.apgr:.3f} may be chance: 0.5 lies within its interval; more labels would "
            "tell"
        )
    for name in ("complexity", "length"):
        other = learnt.orderings[name].apgr
        if other is not None and other >= mine.apgr:
            yield f"{name} alone orders these labels as well (APGR {other:.3f})"


def _drawer() -> Callable[[Found, Path], None]:
    try:
        from router.cli.calibrate import picture  # noqa: PLC0415  (matplotlib is optional, slow)
    except ImportError:
        said = "plots need matplotlib: install `sluice[plot]`, or `pip install matplotlib`"
        raise Ends(said, REFUSED) from None
    return picture.draw
