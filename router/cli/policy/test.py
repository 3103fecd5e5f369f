"""``sluice policy test``: what the cases of a policy say of it, and what they leave out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import orjson

from backends import files
from policies.cases import CaseResult
from policies.coverage import ALL, Coverage, coverage_of
from policies.junit import Reported, junit
from policies.model import Policy
from policies.parse import load
from router.beside import text_of
from router.cli import options
from router.cli.errors import FAILED, INVALID, Ends, told
from router.policy_check import results_of
from router.sources import calibration as calibration_of
from router.sources import names_of


@dataclass(frozen=True, slots=True)
class Run:
    """A policy, where its rules stand, and what came of its cases. `asked`: of coverage, in %."""

    policy: Policy
    lines: tuple[str, ...]
    results: Sequence[CaseResult]
    coverage: Coverage
    asked: float

    @property
    def failed(self) -> list[CaseResult]:
        return [result for result in self.results if result.failures]

    @property
    def covered(self) -> bool:
        return self.coverage.percent >= self.asked

    @property
    def lacking(self) -> list[str]:
        """Return what is said of each rule that no case reaches."""
        rules = self.policy.rules
        return [f"{self.lines[i]}: rule {rules[i].id}: no case reaches it" for i in self.unreached]

    @property
    def unreached(self) -> tuple[int, ...]:
        return self.coverage.unreached


@click.command("test")
@click.argument("policy", type=options.POLICY)
@click.option(
    "--cases",
    type=click.Path(exists=True, path_type=Path),
    help="Case file, or a folder with one of the policy's file name.  [default: tests/ beside it]",
)
@options.fleets
@options.state
@options.calibration
@click.option(
    "--min-coverage",
    metavar="PERCENT",
    type=options.Number(0, ALL),
    default=0.0,
    help="Exit 1 where the cases reach fewer of the rules; 100: all of them.",
)
@click.option(
    "--junit",
    "junit_file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the results as JUnit XML, too.",
)
@options.as_json
def command(
    policy: Path,
    cases: Path | None,
    fleets: Path | None,
    state: Path,
    calibration: Path | None,
    min_coverage: float,
    junit_file: Path | None,
    as_json: bool,
) -> None:
    """Run the cases written for POLICY on idle fleets, and tell which rules none of them reaches.

    POLICY is a file, or the folder of a store: then what is in force there, with `--cases`.

    Exit 1 if a case fails or there are none, 3 if the policy or a case is wrong.
    """
    with told():
        case_file = _case_file(policy, cases)
        if junit_file is not None:
            _keep_safe(junit_file, (policy, case_file, fleets, calibration))
        run = _run(policy, case_file, fleets, state, calibration, min_coverage)
        if junit_file is not None:
            junit_file.write_text(junit(run.policy.name, _tested(run)), "utf-8")
    if as_json:
        click.echo(orjson.dumps(_json(policy, run)))
    else:
        _show(policy, run)
    if run.failed or not run.covered:
        raise SystemExit(FAILED)


def _case_file(policy: Path, cases: Path | None) -> Path:
    """Return the file of the cases; Ends where there is none, which is no pass."""
    if cases is None and policy.is_dir():
        raise Ends(f"{policy}: a store keeps no cases: give `--cases`", INVALID)
    found = policy.parent / "tests" / policy.name if cases is None else cases
    if found.is_dir():
        found /= text_of(policy)[1]
    if not found.exists():
        advice = "" if cases is not None else " (`--cases` names another)"
        raise Ends(f"{found}: 0 cases: there is no such file{advice}")
    return found


def _keep_safe(junit_file: Path, read: Sequence[Path | None]) -> None:
    for path in read:
        if path is not None and junit_file.exists() and junit_file.samefile(path):
            raise Ends(f"`--junit`: {junit_file} is read: name another file", INVALID)


def _run(
    path: Path,
    case_file: Path,
    fleets: Path | None,
    state: Path,
    calibration: Path | None,
    asked: float,
) -> Run:
    catalogue = files.catalogue(fleets, state)
    source, _ = text_of(path)
    document, policy = load(source.text, source.name, names_of(catalogue))
    learnt = calibration_of(calibration)
    results = results_of(policy, files.on_disk(case_file), catalogue, learnt)
    lines = tuple(f"{document.name}:{document.line('rules', i)}" for i in range(len(policy.rules)))
    return Run(policy, lines, results, coverage_of(policy, results), asked)


def _tested(run: Run) -> list[Reported]:
    """Return the tests of the report: the cases, and that enough rules are reached."""
    tests = [Reported(each.case.name, each.case.where, each.failures) for each in run.results]
    if run.asked:
        said = () if run.covered else (_too_few(run), *run.lacking)
        tests.append(Reported("the cases reach enough rules", run.lines[0], said))
    return tests


def _too_few(run: Run) -> str:
    reached = run.coverage.rules - len(run.unreached)
    return (
        f"the cases reach {reached} of {run.coverage.rules} rules ({run.coverage.percent:g} %), "
        f"{run.asked:g} % asked for"
    )


def _json(path: Path, run: Run) -> dict[str, Any]:
    rules = run.policy.rules
    return {
        "file": str(path),
        "policy": {"name": run.policy.name, "hash": run.policy.hash},
        "cases": [
            {
                "name": result.case.name,
                "where": result.case.where,
                "rule": result.rule,
                "fleet": result.fleet,
                "failures": list(result.failures),
            }
            for result in run.results
        ],
        "passed": len(run.results) - len(run.failed),
        "failed": len(run.failed),
        "coverage": {
            "rules": run.coverage.rules,
            "percent": run.coverage.percent,
            "asked_percent": run.asked,
            "unreached": [{"rule": rules[i].id, "where": run.lines[i]} for i in run.unreached],
        },
    }


def _show(path: Path, run: Run) -> None:
    """Print what came of it; what is wrong goes to standard error."""
    for result in run.failed:
        for failure in result.failures:
            click.echo(f"{result.case.where}: {result.case.name}: {failure}", err=True)
    for line in run.lacking:
        click.echo(line if not run.covered else f"warning: {line}", err=True)
    if not run.covered:
        click.echo(f"{path}: {_too_few(run)}", err=True)
    passed = len(run.results) - len(run.failed)
    reached = run.coverage.rules - len(run.unreached)
    counts = f"{passed} of {len(run.results)} cases pass, {reached} of {run.coverage.rules} rules"
    click.echo(f"{path}: {counts} reached ({run.policy.name} {run.policy.hash})")
