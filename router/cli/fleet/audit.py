"""``sluice fleet audit``: check every figure that costs are computed from."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click
import orjson

from backends import files
from backends.audit import CHECKS, MAX_PRICE_AGE_DAYS, Finding, audit
from router.cli import options
from router.cli.cited import legend
from router.cli.errors import FAILED, INVALID, Ends, told
from yamlfile import suggest


@click.command("audit")
@click.argument("profiles", nargs=-1)
@click.option(
    "--max-price-age-days",
    type=click.IntRange(1),
    default=MAX_PRICE_AGE_DAYS,
    show_default=True,
    help="A price older than this is warned of.",
)
@options.fleets
@options.state
@options.as_json
def command(
    profiles: tuple[str, ...],
    max_price_age_days: int,
    fleets: Path | None,
    state: Path,
    as_json: bool,
) -> None:
    """Check PROFILES (without any: all) and their prices; exit 1 if a figure can't be right."""
    with told():
        shelf = files.library(state)
        catalogue = files.catalogue(fleets, state)
    unknown = [name for name in profiles if name not in shelf.profiles]
    if unknown:
        said = f"unknown profile `{unknown[0]}` {suggest(unknown[0], shelf.profiles)}"
        raise Ends(said, INVALID)
    today = datetime.now(UTC).date()
    found = [
        finding
        for finding in audit(shelf, catalogue.fleets, today, max_price_age_days)
        if not profiles or finding.profile in profiles
    ]
    failed = sum(not finding.ok for finding in found)
    warned = sum(finding.warning for finding in found)
    if as_json:
        points = [asdict(finding) for finding in found]
        click.echo(orjson.dumps({"points": points, "failed": failed, "warned": warned}))
    else:
        _print(found)
        click.echo(f"{len(found)} checks: {failed} failed, {warned} warnings")
        texts = [text for finding in found for text in (finding.source, finding.note)]
        if named := legend(texts, prices=True):
            click.echo(f"\n{named}")
    if failed:
        raise SystemExit(FAILED)


def _print(found: Sequence[Finding]) -> None:
    """Print by profile what failed and what is warned of; what holds is counted."""
    for profile in dict.fromkeys(finding.profile for finding in found):
        mine = [finding for finding in found if finding.profile == profile]
        held = Counter(f.check for f in mine if f.ok and not f.warning)
        said = ", ".join(f"{check} {held[check]}" for check in CHECKS if held[check])
        click.echo(f"{profile}  ({mine[0].source})")
        if said:
            click.echo(f"  ok       {said}")
        for finding in mine:
            if not finding.ok or finding.warning:
                verdict = "warning" if finding.ok else "FAILED"
                click.echo(f"  {verdict:<8} {finding.check}: {_figures(finding)}{finding.note}")


def _figures(finding: Finding) -> str:
    if finding.check != "cost" or finding.stated is None or finding.derived is None:
        return ""
    return f"stated ${finding.stated:.3g}, derived ${finding.derived:.3g}: "
