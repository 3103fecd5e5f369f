"""``sluice policy``: check policies, and run the cases written for them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import orjson

import yamlfile
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
    """Check one policy. A file that can't be read is its problem, not the end of the command."""
    report, cases = Report(None), 0
    failed: list[str] = []
    try:
        source = files.on_disk(path)
        report = check(source.text, source.name, names_of(catalogue), labelled=labelled)
        if report.policy is not None and folder is not None:
            cases, failed = _tried(report.policy, folder / path.name, catalogue)
    except yamlfile.Invalid as exc:
        report = replace(report, problems=(*report.problems, *exc.problems))
    return {
        "file": str(path),
        **_said(report),
        "cases": cases,
        "failed_cases": failed,
    }


def _tried(policy: Policy, case_file: Path, catalogue: Catalogue) -> tuple[int, list[str]]:
    """Return how many cases there are and what fails; raise yamlfile.Invalid.

    None at all is a failure: who asked for cases would take silence for a pass.
    """
    if not case_file.exists():
        return 0, [f"{case_file}: 0 cases: there is no such file"]
    source = files.on_disk(case_file)
    results = run_cases(
        policy, read_cases(source.text, source.name), _candidates(policy, catalogue)
    )
    failed = [
        f"{result.case.where}: {result.case.name}: {failure}"
        for result in results
        for failure in result.failures
    ]
    return len(results), failed or ([] if results else [f"{case_file}: 0 cases"])


def _said(report: Report) -> dict[str, Any]:
    policy = report.policy
    return {
        "policy": None if policy is None else {"name": policy.name, "hash": policy.hash},
        "rules": None if policy is None else [rule.id for rule in policy.rules],
        "budgets": None if policy is None else [budget.id for budget in policy.budgets],
        "rate_limits": None if policy is None else [limit.id for limit in policy.rate_limits],
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
