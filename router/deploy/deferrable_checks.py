"""Whether a stage can take batches as its `deferrable:` says. Pure."""

from collections.abc import Iterator
from typing import Final

from backends.catalogue import Catalogue
from policies.conditions import known_zone, unknown_zone
from policies.model import Policy, Rule
from router.batches.pace import LONGEST_MS
from router.deploy.given import Given
from yamlfile import Fault

# Lambda takes from a queue with two functions at the least (ScalingConfig.MaximumConcurrency is 2
# to 1,000), and an account runs 1,000 functions at first, the routers' among them.
AT_ONCE: Final = (2, 1_000)


def faults(given: Given) -> Iterator[Fault]:
    """Yield what is wrong with `deferrable` itself."""
    row = given.row.get("deferrable")
    if row is None:
        return
    window = row.get("window")
    if window is not None:
        if not known_zone(window["tz"]):
            said = f"deferrable: {unknown_zone(window['tz'])}"
            yield given.fault("deferrable", "window", "tz", said=said)
        if window["from"] == window["to"]:
            said = f"deferrable: a window from {window['from']} to {window['to']} is never open: "
            fix = "leave out `window` for batches at any time"
            yield given.fault("deferrable", "window", said=said + fix)
    least, most = AT_ONCE
    if not least <= row.get("at_once", least) <= most:
        said = f"deferrable: at_once is {least} to {most:,} requests, not {row['at_once']:,}"
        yield given.fault("deferrable", "at_once", said=said)


def faults_of(given: Given, policy: Policy) -> Iterator[Fault]:
    """Yield why batches can't be served by this policy."""
    if "deferrable" not in given.row:
        return
    for rule in policy.rules:
        if rule.settings.limits.deadline_ms > LONGEST_MS:
            said = f"deferrable: rule {rule.id} of {given.row['policy']} lets a request take "
            limit = f"{rule.settings.limits.deadline_ms:,} ms, and the dispatcher's function ends "
            fix = f"after 15 minutes: deadline_ms at most {LONGEST_MS:,}"
            yield given.fault("deferrable", said=f"{said}{limit}{fix}")


def doubts(given: Given, policy: Policy, catalogue: Catalogue) -> Iterator[Fault]:
    """Yield what looks odd: nothing of the policy is for batches."""
    if "deferrable" not in given.row:
        return
    names = {fleet.id for fleet in catalogue.fleets} | {fleet.lane for fleet in catalogue.fleets}
    if any(_for_batches(rule) and frozenset().union(*rule.use) & names for rule in policy.rules):
        return
    said = "deferrable: no rule `when: {service_class: deferrable}` of "
    what = "uses a lane of this stage: batches are served as all other requests are"
    yield given.fault("deferrable", said=f"{said}{given.row['policy']} {what}")


def _for_batches(rule: Rule) -> bool:
    wanted = [c.wanted for c in rule.when if c.name == "service_class"]
    return any("deferrable" in (w if isinstance(w, list | tuple) else [w]) for w in wanted)
