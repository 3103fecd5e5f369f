"""The results of a policy's cases as JUnit XML, which systems of continuous integration read. Pure.

The form has no standard; what is written are the elements and attributes that Jenkins, GitLab and
the reporters of GitHub read alike. Times are 0: a case takes none worth telling, and the same
results give the same bytes. What a case asks is not in it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, indent, tostring

# What XML 1.0 can't hold, escaped or not (its production Char, the other way round).
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Reported:
    """One test: `where` is file:line; no failures: it passed."""

    name: str
    where: str
    failures: tuple[str, ...]


def junit(suite: str, tests: Sequence[Reported]) -> str:
    """Return the XML of one suite of tests."""
    failed = sum(bool(test.failures) for test in tests)
    counts = {
        "name": _sound(suite),
        "tests": str(len(tests)),
        "failures": str(failed),
        "errors": "0",
        "time": "0",
    }
    root = Element("testsuites", counts)
    node = SubElement(root, "testsuite", {**counts, "skipped": "0"})
    for test in tests:
        file, _, line = test.where.rpartition(":")
        place = {"file": _sound(file), "line": line}
        said = {"classname": _sound(suite), "name": _sound(test.name), "time": "0", **place}
        case = SubElement(node, "testcase", said)
        if test.failures:
            message = _sound("; ".join(test.failures))
            failure = SubElement(case, "failure", {"message": message, "type": "expectation"})
            failure.text = _sound("\n".join(_placed(test.where, each) for each in test.failures))
    indent(root)
    text = tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _placed(where: str, failure: str) -> str:
    """Return the failure with its file:line, which those of a rule bring along."""
    file = where.rpartition(":")[0]
    return failure if failure.startswith(f"{file}:") else f"{where}: {failure}"


def _sound(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
