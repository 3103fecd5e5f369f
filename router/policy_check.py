"""What `policy check` and `policy test` say of a policy's text, for every place that asks it: the
command line, who publishes, and the validator of AppConfig.
"""

from collections.abc import Callable, Iterable, Sequence

from backends.catalogue import Catalogue
from backends.parse import Source
from policies.cases import read_cases, run_cases
from policies.check import Report, check
from policies.evaluate import matching
from policies.model import Facts, Policy
from policies.odd import Odd
from router.checking import oddities
from router.estimate import Estimate, estimate
from router.identity import Key
from router.sources import names_of
from router.tracker import Tracker
from router.world import world


def checked(
    source: Source, catalogue: Catalogue, *, labelled: bool = True, keys: Sequence[Key] = ()
) -> Report:
    """Return all that can be said of a policy over these fleets, and of its tags by these keys."""

    def more(policy: Policy) -> Iterable[Odd]:
        now = world(policy, catalogue)
        return oddities(now, Tracker(now.fleets).loads(0.0), keys)

    names = names_of(catalogue)
    return check(source.text, source.name, names, labelled=labelled, more=more)


def tried(policy: Policy, cases: Source, catalogue: Catalogue) -> tuple[int, list[str]]:
    """Return how many cases there are and what fails; raise yamlfile.Invalid.

    None at all is a failure: who asked for cases would take silence for a pass.
    """
    results = run_cases(policy, read_cases(cases.text, cases.name), _candidates(policy, catalogue))
    failed = [
        f"{result.case.where}: {result.case.name}: {failure}"
        for result in results
        for failure in result.failures
    ]
    return len(results), failed or ([] if results else [f"{cases.name}: 0 cases"])


def _candidates(policy: Policy, catalogue: Catalogue) -> Callable[[Facts], Sequence[Estimate]]:
    """Return what gives a case its candidates: the catalogue's fleets, idle."""
    now = world(policy, catalogue)
    loads = Tracker(now.fleets).loads(0.0)

    def candidates(facts: Facts) -> Sequence[Estimate]:
        rule = matching(policy, facts)
        settings = rule.settings if rule else policy.defaults
        return estimate(now, facts, loads, facts.max_tokens or settings.max_output_tokens)

    return candidates
