"""What `policy check` and `policy test` say of a policy's text, for every place that asks it: the
command line, who publishes, and the validator of AppConfig.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from backends.catalogue import Catalogue
from backends.parse import Source
from policies.case_names import Known
from policies.cases import CaseResult, output_limit, read_cases, run_cases
from policies.check import Report, check
from policies.model import Facts, Policy
from policies.odd import Odd
from router.case_judge import case_judge
from router.checking import oddities
from router.classify import Calibration
from router.estimate import Estimate, estimate
from router.identity import Key
from router.sources import names_of
from router.tracker import Tracker
from router.world import world


def checked(
    source: Source,
    catalogue: Catalogue,
    *,
    labelled: bool = True,
    keys: Sequence[Key] = (),
    beside: Path | None = None,
) -> Report:
    """Return all that can be said of a policy over these fleets, and of its tags by these keys.

    `beside`: the folder of its file, where its canary's is; None: that is not looked for.
    """

    def more(policy: Policy) -> Iterable[Odd]:
        now = world(policy, catalogue)
        yield from oddities(now, Tracker(now.fleets).loads(0.0), keys)
        if beside is not None and policy.canary is not None:
            yield from _no_canary(beside / f"{policy.canary.policy}.yaml")

    names = names_of(catalogue)
    return check(source.text, source.name, names, labelled=labelled, more=more)


def _no_canary(file: Path) -> Iterable[Odd]:
    if file.exists():
        return
    said = (
        f"canary: there is no `{file.name}` beside it: no router starts with this file; in a store "
        "that policy is published first, by `sluice policy publish --candidate`"
    )
    yield Odd("no_canary", ("canary", "policy"), said)


def tried(
    policy: Policy, cases: Source, catalogue: Catalogue, learnt: Calibration | None = None
) -> tuple[int, list[str]]:
    """Return how many cases there are and what fails; raise yamlfile.Invalid.

    None at all is a failure: who asked for cases would take silence for a pass.
    """
    results = results_of(policy, cases, catalogue, learnt)
    failed = [
        f"{result.case.where}: {result.case.name}: {failure}"
        for result in results
        for failure in result.failures
    ]
    return len(results), failed or ([] if results else [f"{cases.name}: 0 cases"])


def results_of(
    policy: Policy, cases: Source, catalogue: Catalogue, learnt: Calibration | None = None
) -> list[CaseResult]:
    """Return what came of every case, on idle fleets; raise yamlfile.Invalid."""
    known = Known(policy, names_of(catalogue))
    read = read_cases(cases.text, cases.name, case_judge(learnt), known)
    return run_cases(policy, read, _candidates(policy, catalogue))


def _candidates(policy: Policy, catalogue: Catalogue) -> Callable[[Facts], Sequence[Estimate]]:
    """Return what gives a case its candidates: the catalogue's fleets, idle."""
    now = world(policy, catalogue)
    loads = Tracker(now.fleets).loads(0.0)

    def candidates(facts: Facts) -> Sequence[Estimate]:
        return estimate(now, facts, loads, output_limit(policy, facts))

    return candidates
