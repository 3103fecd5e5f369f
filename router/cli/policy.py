"""``sluice policy``: check policies, and run the cases written for them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import orjson

from backends import files
from backends.catalogue import Catalogue
from policies.cases import read_cases, run_cases
from policies.check import Report, check
from policies.evaluate import matching
from policies.model import Facts, Policy
from router.cli import options
from router.cli.errors import FAILED, INVALID, told
from router.estimate import Estimate, estimate
from router.sources import calibration as calibration_of
from router.sources import names_of
from router.tracker import Tracker
from router.world import world


@click.group("policy")
def command() -> None:
    """Check policies and run their cases."""


@command.command("check")
@click.argument("policies", nargs=-1, required=True, type=options.FILE)
@click.option(
    "--cases",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of case files; a policy's has its name.",
)
@options.fleets
@options.state
@options.calibration
@options.as_json
def check_command(
    policies: tuple[Path, ...],
    folder: Path | None,
    fleets: Path | None,
    state: Path,
    calibration: Path | None,
    as_json: bool,
) -> None:
    """Check POLICIES against the fleets, and run their cases; exit 3 if one is refused."""
    with told():
        catalogue = files.catalogue(fleets, state)
        learnt = calibration_of(calibration)
        labelled = bool(learnt and learnt.counts)
        results = [_checked(path, catalogue, folder, labelled=labelled) for path in policies]
    if as_json:
        click.echo(orjson.dumps(results))
    else:
        for result in results:
            _print(result)
    if any(result["problems"] for result in results):
        raise SystemExit(INVALID)
    if any(result["failed_cases"] for result in results):
        raise SystemExit(FAILED)


def _checked(
    path: Path, catalogue: Catalogue, folder: Path | None, *, labelled: bool
) -> dict[str, Any]:
    source = files.on_disk(path)
    report = check(source.text, source.name, names_of(catalogue), labelled=labelled)
    cases, failed = 0, []
    case_file = folder / path.name if folder is not None else None
    if report.policy is not None and case_file is not None and case_file.exists():
        text = files.on_disk(case_file)
        found = read_cases(text.text, text.name)
        results = run_cases(report.policy, found, _candidates(report.policy, catalogue))
        cases = len(results)
        failed = [
            f"{result.case.where}: {result.case.name}: {failure}"
            for result in results
            for failure in result.failures
        ]
    return {
        "file": str(path),
        **_said(report),
        "cases": cases,
        "failed_cases": failed,
    }


def _said(report: Report) -> dict[str, Any]:
    policy = report.policy
    return {
        "policy": None if policy is None else {"name": policy.name, "hash": policy.hash},
        "rules": None if policy is None else [rule.id for rule in policy.rules],
        "problems": [str(problem) for problem in report.problems],
        "warnings": [str(problem) for problem in report.warnings],
    }


def _candidates(policy: Policy, catalogue: Catalogue) -> Callable[[Facts], Sequence[Estimate]]:
    """Return what gives a case its candidates: the catalogue's fleets, idle."""
    now = world(policy, catalogue)
    loads = Tracker(now.fleets).loads(0.0)

    def candidates(facts: Facts) -> Sequence[Estimate]:
        rule = matching(policy, facts)
        settings = rule.settings if rule else policy.defaults
        return estimate(now, facts, loads, facts.max_tokens or settings.max_output_tokens)

    return candidates


def _print(result: dict[str, Any]) -> None:
    for line in [*result["problems"], *result["failed_cases"]]:
        click.echo(line, err=True)
    for line in result["warnings"]:
        click.echo(f"warning: {line}", err=True)
    if result["problems"]:
        click.echo(f"{result['file']}: refused", err=True)
    elif not result["failed_cases"]:
        passed = f", {result['cases']} cases pass" if result["cases"] else ""
        policy = result["policy"]
        click.echo(f"{result['file']}: ok ({policy['name']} {policy['hash']}{passed})")
