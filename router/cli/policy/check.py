"""``sluice policy check``: check policies, and run the cases written for them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import orjson

import yamlfile
from backends import files
from backends.catalogue import Catalogue
from policies.check import Report
from policies.model import Policy
from policies.names import Names
from router.beside import of_file, of_store, text_of
from router.classify import Calibration
from router.cli import options
from router.cli.errors import FAILED, INVALID, told
from router.cli.policy.known_keys import active_keys
from router.identity import Key
from router.policy_check import checked as checked_text
from router.policy_check import tried
from router.sources import calibration as calibration_of
from router.sources import names_of


@click.command("check")
@click.argument("policies", nargs=-1, required=True, type=options.POLICY)
@options.cases
@options.fleets
@options.state
@options.calibration
@click.option("--strict", is_flag=True, help="Exit 1 where there are warnings.")
@options.as_json
def command(
    policies: tuple[Path, ...],
    folder: Path | None,
    fleets: Path | None,
    state: Path,
    calibration: Path | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Check POLICIES against the fleets, with their canaries, and run their cases.

    Each is a file, or the folder of a store: then what is in force there. Exit 3 if one is refused.
    """
    keys = active_keys(state)
    with told():
        catalogue = files.catalogue(fleets, state)
        learnt = calibration_of(calibration)
        labelled = bool(learnt and learnt.counts)
        results = [
            checked(
                path, catalogue, folder, labelled=labelled, keys=keys, learnt=learnt, state=state
            )
            for path in policies
        ]
    if as_json:
        click.echo(orjson.dumps(results))
    else:
        for result in results:
            show(result)
    ends(results)
    if strict and any(result["warnings"] for result in results):
        raise SystemExit(FAILED)


def ends(results: list[dict[str, Any]]) -> None:
    """Raise SystemExit if one of them is refused or fails."""
    if any(result["problems"] for result in results):
        raise SystemExit(INVALID)
    if any(result["failed_cases"] for result in results):
        raise SystemExit(FAILED)


def checked(
    path: Path,
    catalogue: Catalogue,
    folder: Path | None,
    *,
    labelled: bool,
    keys: Sequence[Key] = (),
    learnt: Calibration | None = None,
    state: Path | None = None,
) -> dict[str, Any]:
    """Check one policy. A file that can't be read is its problem, not the end of the command.

    `state`: the state folder, where its canary may be stopped; None: the canary isn't looked for.
    """
    report, cases = Report(None), 0
    failed: list[str] = []
    try:
        source, name = text_of(path)
        beside = None if state is None or path.is_dir() else path.parent
        report = checked_text(source, catalogue, labelled=labelled, keys=keys, beside=beside)
        if report.policy is not None and folder is not None:
            cases, failed = _tried(report.policy, folder / name, catalogue, learnt)
        if report.policy is not None and state is not None:
            _check_canary(path, report, names_of(catalogue), state)
    except yamlfile.Invalid as exc:
        report = replace(report, problems=(*report.problems, *exc.problems))
    except OSError as exc:
        problem = yamlfile.Problem(str(exc.filename or path), exc.strerror or str(exc))
        report = replace(report, problems=(*report.problems, problem))
    return {
        "file": str(path),
        **_said(report),
        "cases": cases,
        "failed_cases": failed,
    }


def _check_canary(path: Path, report: Report, names: Names, state: Path) -> None:
    """Raise yamlfile.Invalid where a router couldn't try the canary that it names; of one that
    isn't there a file is warned already.
    """
    if path.is_dir():
        of_store(path, names, state)
    elif all(each.kind != "no_canary" for each in report.warnings):
        of_file(path, names, state)


def _tried(
    policy: Policy, case_file: Path, catalogue: Catalogue, learnt: Calibration | None
) -> tuple[int, list[str]]:
    if not case_file.exists():
        return 0, [f"{case_file}: 0 cases: there is no such file"]
    return tried(policy, files.on_disk(case_file), catalogue, learnt)


def _said(report: Report) -> dict[str, Any]:
    policy = report.policy
    return {
        "policy": None if policy is None else {"name": policy.name, "hash": policy.hash},
        "rules": None if policy is None else [rule.id for rule in policy.rules],
        "budgets": None if policy is None else [budget.id for budget in policy.budgets],
        "rate_limits": None if policy is None else [limit.id for limit in policy.rate_limits],
        "problems": [str(problem) for problem in report.problems],
        "warnings": [str(problem) for problem in report.warnings],
        "oddities": [
            {"kind": each.kind, "where": each.where, "message": each.message}
            for each in report.warnings
        ],
    }


def show(result: dict[str, Any]) -> None:
    """Print what `checked` returned; what is wrong goes to standard error."""
    for line in [*result["problems"], *result["failed_cases"]]:
        click.echo(line, err=True)
    for line in result["warnings"]:
        click.echo(f"warning: {line}", err=True)
    if result["problems"]:
        click.echo(f"{result['file']}: refused", err=True)
    elif not result["failed_cases"]:
        cases = result["cases"]
        passed = f", {cases} {'case passes' if cases == 1 else 'cases pass'}" if cases else ""
        policy = result["policy"]
        click.echo(f"{result['file']}: ok ({policy['name']} {policy['hash']}{passed})")
