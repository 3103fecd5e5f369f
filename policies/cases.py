"""Case files: what a policy is expected to decide, in its writer's words (`policies/tests/`).

A case names some facts of a request (the rest are those of a short, plain one), or what is asked
(`prompt`, `messages`), of which a judge says the facts; those that are written stand above what is
judged. It may set what the policy is told of a lane or a fleet (`given`), and says what it expects.
The candidates come from the caller, so that one file runs against stand-ins and against a real
catalogue; so does the judge. What is asked stands in no message and in no result.

* yamlfile.Invalid   the case file is at fault: every problem, with its file:line
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

import yamlfile
from policies.case_form import CASE_FILE
from policies.case_names import SERVES, Known, name_faults
from policies.evaluate import Verdict, evaluate, matching
from policies.model import Candidate, Facts, Policy
from yamlfile import Document, Fault

PLAIN: Mapping[str, Any] = {  # a short English request on a Monday at noon, UTC
    "at": "2026-01-05T12:00:00.000Z",
    "tenant": "acme",
    "team": None,
    "key": "case",
    "tags": {},
    "task": "other",
    "tier": "simple",
    "language": "en",
    "tokens_in": 60,
    "tokens_out": 40,
}
BY_TIER: Mapping[str, Mapping[str, float]] = {
    "simple": {"complexity": 0.2, "p_small": 0.95},
    "heavy": {"complexity": 0.8, "p_small": 0.3},
}


Written = Mapping[str, Any]
Judge = Callable[[Sequence[Mapping[str, Any]]], Written]
"""Messages of a chat -> facts, as a case would write them. Raises ValueError, which doesn't repeat
them, for what the API would refuse.
"""


class Priced(Candidate, Protocol):
    """A candidate of which is known what a request is expected to be charged there."""

    def usd_expected(self, max_output_tokens: int) -> float | None:
        """Return the charge in USD of one attempt that takes what is expected; None: unknown."""
        ...


def _unknown(_: int) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Told:
    """A candidate as plain values: what a policy is told of a fleet."""

    fleet: str
    model: str
    lane: str
    region: str
    abilities: frozenset[str]
    context_tokens: int
    worst_usd: Callable[[int], float | None]  # of the output limit
    state: str = "ready"
    ttft_p50_ms: float | None = None
    ttft_p95_ms: float | None = None
    e2e_p50_ms: float | None = None
    e2e_p95_ms: float | None = None
    usd_marginal: float | None = None
    usd_average: float | None = None
    usd_router: float = 0.0
    quality: float = 1.0
    by_p_small: bool = False
    charge_usd: Callable[[int], float | None] = _unknown  # of the output limit

    def usd_at_most(self, max_output_tokens: int) -> float | None:
        return self.worst_usd(max_output_tokens)

    def usd_expected(self, max_output_tokens: int) -> float | None:
        return self.charge_usd(max_output_tokens)


@dataclass(frozen=True, slots=True)
class Case:
    """`where` is file:line; `given` and `expect` are as written."""

    name: str
    where: str
    facts: Facts = field(repr=False)
    given: Mapping[str, Mapping[str, Any]]
    expect: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CaseResult:
    """A case, every way in which the verdict was not the expected one, the rule that decided and
    the fleet that is asked first.
    """

    case: Case
    failures: tuple[str, ...]
    rule: str | None = None
    fleet: str | None = None


def read_cases(
    text: str, name: str, judge: Judge | None = None, known: Known | None = None
) -> tuple[Case, ...]:
    """Return the cases; raise yamlfile.Invalid. Without a judge none may have a prompt; without
    what is known no name is looked up.
    """
    document = yamlfile.read(text, name, CASE_FILE)
    found = list(_faults(document))
    found += () if known is None else name_faults(document, known)
    judged = [_judged(document, i, judge, found) for i in range(len(document.value["cases"]))]
    if found:
        raise document.invalid(found)
    return tuple(
        Case(
            name=case["name"],
            where=f"{name}:{document.line('cases', i)}",
            facts=facts_of({**judged[i], **case.get("facts", {})}),
            given=case.get("given", {}),
            expect=case["expect"],
        )
        for i, case in enumerate(document.value["cases"])
    )


def run_cases(
    policy: Policy,
    cases: Sequence[Case],
    candidates_for: Callable[[Facts], Sequence[Priced]],
) -> list[CaseResult]:
    return [_result(policy, case, candidates_for(case.facts)) for case in cases]


def facts_of(written: Mapping[str, Any]) -> Facts:
    """Return the facts of a plain request with those that were written in their place."""
    tier = written.get("tier", PLAIN["tier"])
    values: dict[str, Any] = {**PLAIN, **BY_TIER[tier], **written}
    lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    return Facts(**{**values, **lists})


def told(candidate: Priced, given: Mapping[str, Mapping[str, Any]]) -> Told:
    """Return what a case tells of this candidate: of its lane, and above that of itself."""
    asked = ("worst_usd", "charge_usd")
    values = {f.name: getattr(candidate, f.name) for f in fields(Told) if f.name not in asked}
    known = Told(worst_usd=candidate.usd_at_most, charge_usd=candidate.usd_expected, **values)
    return replace(known, **{**given.get(known.lane, {}), **given.get(known.fleet, {})})


def _faults(document: Document) -> Iterator[Fault]:
    names: set[str] = set()
    for i, case in enumerate(document.value["cases"]):
        if case["name"] in names:
            yield ("cases", i, "name"), f"case `{case['name']}` stands here twice"
        names.add(case["name"])
        at = case.get("facts", {}).get("at", PLAIN["at"])
        try:
            datetime.fromisoformat(at)
        except ValueError:
            yield ("cases", i, "facts", "at"), f"`{at}` is not a date and time"


def _judged(document: Document, i: int, judge: Judge | None, found: list[Fault]) -> Written:
    """Return the facts of what a case asks, if it asks anything; add to the faults."""
    case = document.value["cases"][i]
    asked = [key for key in ("prompt", "messages") if key in case]
    if not asked:
        return {}
    path = ("cases", i, asked[-1])
    if len(asked) > 1:
        found.append((path, f"{yamlfile.dotted(path)}: give `prompt` or `messages`, not both"))
        return {}
    if judge is None:
        said = "nothing judges prompts here: `sluice policy test` does, or write `facts`"
        found.append((path, f"{yamlfile.dotted(path)}: {said}"))
        return {}
    messages = case.get("messages", [{"role": "user", "content": case.get("prompt")}])
    try:
        return judge(messages)
    except ValueError as exc:
        found.append((path, f"{yamlfile.dotted(path)}: {exc}"))
        return {}


def _result(policy: Policy, case: Case, candidates: Sequence[Priced]) -> CaseResult:
    failures = []
    verdict = evaluate(policy, case.facts, [told(c, case.given) for c in candidates])
    seen = Seen(verdict, output_limit(policy, case.facts))
    for key, expected in case.expect.items():
        got, good = EXPECTATIONS[key](seen, expected)
        if not good:
            asked = _at_most(expected) if key == "usd_at_most" else _shown(expected)
            failures.append(f"{key}: expected {asked}, got {_shown(got)}{_why(verdict)}")
    rule = verdict.rule.id if verdict.rule else None
    fleet = verdict.ranked[0].fleet if verdict.ranked else None
    return CaseResult(case, tuple(failures), rule, fleet)


def output_limit(policy: Policy, facts: Facts) -> int:
    """Return the most tokens that a choice of this request may have."""
    rule = matching(policy, facts)
    settings = rule.settings if rule else policy.defaults
    return settings.max_output_tokens if facts.max_tokens is None else facts.max_tokens


@dataclass(frozen=True, slots=True)
class Seen:
    """What is held against what was expected; `limit`: of the output of a choice."""

    verdict: Verdict[Told]
    limit: int


def _why(verdict: Verdict[Told]) -> str:
    if verdict.ranked:
        return f" ({verdict.ranked[0].fleet} serves)"
    reasons = ", ".join(f"{r.candidate.fleet}: {r.code}" for r in verdict.refused)
    return f" (nobody serves: {reasons})"


def _shown(value: object) -> str:
    """Return a value as a case would write it."""
    if value in (None, [], {}):
        return "none"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name}: {of}' for name, of in value.items())}}}"
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)


def _at_most(usd: float) -> str:
    return f"at most {Decimal(str(usd)):f}"


def _of_first(name: str) -> "Expectation":
    def check(seen: Seen, expected: str) -> tuple[str | None, bool]:
        verdict = seen.verdict
        got = getattr(verdict.ranked[0], name) if verdict.ranked else None
        return got, got == expected

    return check


def _then(seen: Seen, expected: str | None) -> tuple[str | None, bool]:
    # the lane that answers where a cascade's first answer is not kept; None: nothing is tested
    verdict = seen.verdict
    following = verdict.ranked[verdict.tried :] if verdict.tried else ()
    got = following[0].lane if following else None
    return got, got == expected


def _rule(seen: Seen, expected: str | None) -> tuple[str | None, bool]:
    got = seen.verdict.rule.id if seen.verdict.rule else None
    return got, got == expected


def _relaxed(seen: Seen, expected: list[str]) -> tuple[list[str], bool]:
    return list(seen.verdict.relaxed), list(seen.verdict.relaxed) == expected


def _usd_at_most(seen: Seen, expected: float) -> tuple[str | None, bool]:
    # of whoever is asked first, by its rate card; what nobody knows is not at most anything
    ranked = seen.verdict.ranked
    got = ranked[0].usd_expected(seen.limit) if ranked else None
    return None if got is None else f"{got:.9f}", got is not None and got <= expected


def _refused(
    seen: Seen, expected: str | Mapping[str, str]
) -> tuple[list[str] | dict[str, str], bool]:
    verdict = seen.verdict
    # a code: nobody serves, and somebody for this reason; else a code for each lane or fleet
    codes = {refused.candidate.fleet: refused.code for refused in verdict.refused}
    if isinstance(expected, str):
        return sorted(set(codes.values())), not verdict.ranked and expected in codes.values()
    everyone = [*verdict.ranked, *(refused.candidate for refused in verdict.refused)]
    named = {each.fleet: expected.get(each.fleet, expected.get(each.lane)) for each in everyone}
    meant = {fleet: code for fleet, code in named.items() if code is not None}
    found = {fleet: codes.get(fleet, SERVES) for fleet in meant}
    return found, found == meant


Expectation = Callable[[Seen, Any], tuple[object, bool]]
"""(what came, what was expected) -> what it was, whether that is good."""
EXPECTATIONS: Mapping[str, Expectation] = {
    "rule": _rule,
    "lane": _of_first("lane"),
    "fleet": _of_first("fleet"),
    "model": _of_first("model"),
    "then": _then,
    "relaxed": _relaxed,
    "refused": _refused,
    "usd_at_most": _usd_at_most,
}
