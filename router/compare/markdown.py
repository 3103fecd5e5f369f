"""A diff as a comment on a pull request: the same report gives the same bytes."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from router.compare.moved import Moved, top
from router.compare.report import (
    OK,
    SAME_WORDS,
    Named,
    Report,
    Row,
    assumptions,
    bound_lines,
    extrapolated,
    figures_of,
    gates,
    headline,
    never_hit,
    rows,
    team_rows,
    usd_column,
)
from router.compare.shown import cut, first, visible

MOST_ROWS: Final = 15
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]|~$])")
_PINGS: Final = re.compile(r"(?<!\w)([@#])(?=\w)")  # a name of ours must not call anybody
_LINKS: Final = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)", re.IGNORECASE)  # nor be a link
MOST_WORDS: Final = 50  # changes: GitHub takes 65,536 characters
LONGEST: Final = 400  # characters of one of them


def markdown(report: Report) -> str:
    """Return the whole report."""
    found = report.found
    parts = [f"### Policy diff: {_named(report.old)} → {_named(report.new)}"]
    parts += [escaped(note) for note in report.notes]
    if found is not None:
        parts.append(f"**{escaped(headline(found))}**")
        if report.per is not None:
            parts.append(escaped(extrapolated(found, report.per)))
        requests = f"{_requests(found.requests)} in {found.seconds / 60:,.1f} minutes"
        tables = "".join(f" {said[0].upper()}{said[1:]}." for said in figures_of(found))
        parts.append(f"Replayed over {escaped(cut(found.trace))}: {requests}.{tables}")
    parts += _conditions(report)
    if found is not None:
        parts.append(_table(("", "old", "new", "change"), map(_cells, rows(found))))
        parts += _list(bound_lines(found))
        parts.append(_moves(found.moved, found.requests))
        teams = _table(("team", "old", "new", "change"), map(_cells, team_rows(found)[:MOST_ROWS]))
        parts.append(_details("Charged by team", teams))
        if unused := never_hit(found):
            parts.append(_details("Rules that no request matched", "\n".join(_list(unused))))
    parts.append(_words(report))
    if found is not None:
        parts.append(_details("What this rests on", "\n".join(_list(assumptions(found)))))
    return "\n\n".join(part for part in parts if part) + "\n"


def escaped(text: str) -> str:
    """Return a text that Markdown and HTML show as it is, on one line."""
    line = visible(" ".join(text.split())).replace(" -> ", " → ")
    plain = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    calm = _PINGS.sub(r"\1<!-- -->", _SPECIAL.sub(r"\\\1", plain))
    return _LINKS.sub("<!-- -->", calm)


def _named(policy: Named) -> str:
    return f"{escaped(cut(policy.name))} ({policy.hash[:8]})"


def _conditions(report: Report) -> list[str]:
    if not report.judged:
        return []
    head, judged = gates(report)
    lines = [f"- {word if word == OK else f'**{word}**'}: {escaped(s)}" for word, s in judged]
    return ["\n".join([f"{head[0].upper()}{head[1:]}.", "", *lines])]


def _cells(row: Row) -> Sequence[str]:
    return row.name, row.old, row.new, row.change


def _table(head: Sequence[str], lines: Iterable[Sequence[str]], *, texts: int = 1) -> str:
    """Return a table whose first columns are texts, the others figures."""
    rule = ["---"] * texts + ["---:"] * (len(head) - texts)
    written = [" | ".join(map(escaped, cells)) for cells in (head, *lines)]
    written.insert(1, " | ".join(rule))
    return "\n".join(f"| {line} |" for line in written)


def _list(sentences: Iterable[str]) -> list[str]:
    lines = [f"- {escaped(sentence)}" for sentence in sentences]
    return ["\n".join(lines)] if lines else []


def _details(summary: str, body: str) -> str:
    return f"<details><summary>{escaped(summary)}</summary>\n\n{body}\n\n</details>"


def _moves(moved: Sequence[Moved], requests: int) -> str:
    shown, rest, of = top(moved, MOST_ROWS)
    total = sum(row.requests for row in moved)
    if not moved:
        return "No request moves."
    lines = [
        (
            *map(cut, (row.team, row.task, row.was, row.now)),
            f"{row.requests:,}",
            charged,
        )
        for row, charged in zip(shown, charges(shown), strict=True)
    ]
    head = ("team", "task", "from", "to", "requests", "charged")
    more = f"\n\n{rest:,} more {'row' if rest == 1 else 'rows'}, {_requests(of)}." if rest else ""
    share = f"{total / requests:.1%}"
    return _details(
        f"Requests that move: {total:,} of {requests:,} ({share})",
        _table(head, lines, texts=4) + more,
    )


def _requests(count: int) -> str:
    return f"{count:,} request{'' if count == 1 else 's'}"


def charges(moved: Sequence[Moved]) -> list[str]:
    """Return what moved requests were and are charged."""
    both = usd_column([usd for row in moved for usd in (row.usd_was, row.usd_now)])
    return [f"{was} -> {now}" for was, now in zip(both[::2], both[1::2], strict=True)]


def _words(report: Report) -> str:
    if not report.words:
        return f"In words: {SAME_WORDS}."
    said = [
        line if len(line) <= LONGEST else f"{line[:LONGEST]}…" for line in map(str, report.words)
    ]
    body = "\n".join(_list(first(said, MOST_WORDS)))
    count = f"{len(report.words)} change{'' if len(report.words) == 1 else 's'}"
    return _details(f"In words: {count}", body)
