"""A diff as a person reads it in a terminal."""

from collections.abc import Sequence
from typing import Final

from router.cli.table import counted, grid
from router.compare.comparison import Comparison
from router.compare.markdown import charges
from router.compare.moved import top
from router.compare.report import (
    SAME_WORDS,
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
)

MOST_ROWS: Final = 10
HEAD: Final = ("", "old", "new", "change")
WAYS: Final = ("team", "task", "from", "to", "requests", "charged")


def text(report: Report) -> str:
    """Return the whole report."""
    old, new = report.old, report.new
    parts = [
        f"{old.file} ({old.name} {old.hash}) -> {new.file} ({new.name} {new.hash})",
        *report.notes,
        "\n".join(["in words", *_indented(list(map(str, report.words)) or [SAME_WORDS])]),
    ]
    if report.found is not None:
        parts += _money(report, report.found)
    if report.judged:
        told, judged = gates(report)
        parts.append("\n".join([told, *_indented([f"{word}  {s}" for word, s in judged])]))
    return "\n\n".join(parts) + "\n"


def _money(report: Report, found: Comparison) -> list[str]:
    minutes = f"{counted(found.requests, 'request')} in {found.seconds / 60:,.1f} minutes"
    head = [f"in money, over {found.trace} ({minutes})", f"  {headline(found)}"]
    if report.per is not None:
        head.append(f"  {extrapolated(found, report.per)}")
    head += _indented(figures_of(found))
    parts = ["\n".join(head), _grid(rows(found))]
    parts += _listed("budgets", bound_lines(found))
    parts.append(_moves(found))
    parts.append("charged by team\n" + _grid(team_rows(found)[:MOST_ROWS]))
    parts += _listed("rules that no request matched", never_hit(found))
    return parts + _listed("what this rests on", assumptions(found))


def _grid(lines: Sequence[Row]) -> str:
    return grid(HEAD, [(row.name, row.old, row.new, row.change) for row in lines], left={""})


def _moves(found: Comparison) -> str:
    total = sum(row.requests for row in found.moved)
    if not total:
        return "no request moves"
    first, rest, of = top(found.moved, MOST_ROWS)
    lines = [
        (row.team, row.task, row.was, row.now, f"{row.requests:,}", charged)
        for row, charged in zip(first, charges(first), strict=True)
    ]
    table = grid(WAYS, lines, left={"team", "task", "from", "to"})
    more = f"\nand {rest:,} more {'row' if rest == 1 else 'rows'}, {counted(of, 'request')}"
    more = more if rest else ""
    verb = "moves" if total == 1 else "move"
    of_all = f"{total:,} of {counted(found.requests, 'request')} {verb}"
    share = f"{of_all} ({total / found.requests:.1%})"
    return f"{share}\n{table}{more}"


def _listed(head: str, sentences: Sequence[str]) -> list[str]:
    return ["\n".join([head, *_indented(sentences)])] if sentences else []


def _indented(sentences: Sequence[str]) -> list[str]:
    return [f"  {sentence}" for sentence in sentences]
