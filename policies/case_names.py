"""What a case file names, held against what there is: a typo is no behaviour that differs."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from policies.evaluate import CODES
from policies.model import Policy
from policies.names import Names
from yamlfile import Document, Fault, Path, dotted, suggest

SERVES = "serves"  # beside the codes, of a lane or a fleet: it is not refused


@dataclass(frozen=True, slots=True)
class Known:
    """The rules of the policy that is tried, and the fleets that it is tried on."""

    policy: Policy
    names: Names


def name_faults(document: Document, known: Known) -> Iterator[Fault]:
    """Return what is named in the cases and isn't known, each with what is."""
    for path, what, name, words in _named(document.value["cases"], known):
        if name is not None and name not in words:
            yield path, f"{dotted(path)}: unknown {what} `{name}` {suggest(name, words)}"


_Named = tuple[Path, str, str | None, Iterable[str]]  # where, what it is, how it is called, of what


def _named(cases: Iterable[Mapping[str, Any]], known: Known) -> Iterator[_Named]:
    names = known.names
    places = names.lanes | names.fleets
    words: Mapping[str, tuple[str, Iterable[str]]] = {
        "rule": ("rule", frozenset(rule.id for rule in known.policy.rules)),
        "lane": ("lane", names.lanes),
        "then": ("lane", names.lanes),
        "fleet": ("fleet", names.fleets),
        "model": ("model", names.models),
    }
    for i, case in enumerate(cases):
        for name in case.get("given", {}):
            yield ("cases", i, "given", name), "lane or fleet", name, places
        expect = case["expect"]
        for key in words.keys() & expect.keys():
            yield ("cases", i, "expect", key), words[key][0], expect[key], words[key][1]
        path, refused = ("cases", i, "expect", "refused"), expect.get("refused")
        if isinstance(refused, str):
            yield path, "code", refused, CODES
            continue
        for name, code in (refused or {}).items():
            yield (*path, name), "lane or fleet", name, places
            yield (*path, name), "code", code, CODES | {SERVES}
