"""A decision as a table that a person can read."""

import itertools
import textwrap
from collections.abc import Collection, Sequence

from policies.model import Facts
from router.cli.width import left as to_left
from router.cli.width import right as to_right
from router.cli.width import width
from router.decide import Decision
from router.estimate import Estimate
from router.world import World

COLUMNS = ("", "fleet", "lane", "TTFT p95", "e2e p95", "marginal $", "average $", "quality", "why")
_LEFT = {"fleet", "lane", "why"}
GAP = "  "
WIDEST = 100  # of a terminal: what a wide table is made to fit
INDENT = 2  # of what goes on in another line


def decision_table(world: World, decision: Decision) -> str:
    """Return what was seen, what every fleet would take and cost, and who won and why."""
    verdict, facts = decision.verdict, decision.facts
    rows = [_row(str(i), c, _why_ranked(decision, i)) for i, c in enumerate(verdict.ranked, 1)]
    rows += [_row("-", r.candidate, f"{r.code}: {r.detail}") for r in verdict.refused]
    rule = f"rule `{verdict.rule.id}`" if verdict.rule else "no rule"
    policy = f"policy {world.policy.name} ({world.policy.hash})"
    seen = "\n".join(f"  {name:<12}{value}" for name, value in _seen(facts))
    return "\n".join(
        [
            "seen in the request",
            seen,
            "",
            f"{policy}: {rule}, minimize {verdict.minimize}",
            *([f"relaxed: {', '.join(verdict.relaxed)}"] if verdict.relaxed else []),
            "",
            grid(COLUMNS, rows),
            "",
            _conclusion(decision),
        ]
    )


def _seen(facts: Facts) -> list[tuple[str, str]]:
    limit = "none set" if facts.max_tokens is None else str(facts.max_tokens)
    return [
        ("task", facts.task),
        ("tier", f"{facts.tier} (complexity {facts.complexity:.2f})"),
        ("p_small", f"{facts.p_small:.2f} that a small model suffices"),
        ("language", facts.language),
        ("tokens", f"{facts.tokens_in} in, about {facts.tokens_out} out (limit: {limit})"),
        ("needs", ", ".join(facts.needs) or "nothing special"),
    ]


def _row(rank: str, c: Estimate, why: str) -> tuple[str, ...]:
    return (
        rank,
        c.fleet,
        c.lane,
        _ms(c.ttft_p95_ms),
        _ms(c.e2e_p95_ms),
        _usd(c.usd_marginal),
        _usd(c.usd_average),
        f"{c.quality:.2f}",
        why,
    )


def _why_ranked(decision: Decision, rank: int) -> str:
    first = decision.verdict.ranked[0]
    this = decision.verdict.ranked[rank - 1]
    if decision.verdict.tried and rank == 1:
        kept = decision.plan.attempts[0].accept_if
        return "is tried, its answer tested" if kept else "not tried: the cap pays for one answer"
    if rank == 1:
        return "wins"
    if this.lane != first.lane:
        return "feasible, after the lane before it"
    minimize = decision.verdict.minimize
    ours, best = _objective(this, minimize), _objective(first, minimize)
    if ours is None or best is None:
        return "feasible, unknown ranks last"
    if ours == best:
        return "feasible, ties but costs more on average"
    unit = "ms" if minimize in ("ttft", "e2e") else ""
    more = f"{ours - best:,.0f} ms" if unit else f"${ours - best:.6f}"
    return f"feasible, {more} more" if minimize != "best" else "feasible, lower quality"


def _objective(c: Estimate, minimize: str) -> float | None:
    return {
        "marginal_cost": c.usd_marginal,
        "average_cost": c.usd_average,
        "ttft": c.ttft_p50_ms,
        "e2e": c.e2e_p50_ms,
        "best": -c.quality,
    }[minimize]


def _conclusion(decision: Decision) -> str:
    if not decision.plan.attempts:
        return "refused: no fleet may serve this request"
    fleets = [attempt.candidate.fleet for attempt in decision.plan.attempts]
    fails = "fails or is not accepted" if decision.plan.attempts[0].accept_if else "fails"
    then = f", then {', then '.join(fleets[1:])} if it {fails}" if fleets[1:] else ""
    first = decision.plan.attempts[0].candidate
    router = f"\nthe router itself adds ${first.usd_router:.6f}" if first.usd_router else ""
    return f"goes to {fleets[0]}{then}\nits figures are: {', '.join(first.marks)}{router}"


def _ms(value: float | None) -> str:
    if value is None:
        return "unknown"
    return f"{value:,.0f} ms" if value < 10_000 else f"{value / 1000:,.1f} s"  # noqa: PLR2004


def _usd(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.6f}"


def counted(count: int, noun: str) -> str:
    """Return so many of them: `1 request`, `1,500 requests`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def grid(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    left: Collection[str] = _LEFT,
    within: int | None = None,
) -> str:
    """Return a table; the columns named in `left` begin at the left, figures end at the right.

    `within`: so many columns of the terminal, where cells can be broken at blanks to reach it:
    heads and words first, then figures (`1.50 + unknown`).
    """
    widths = [max(width(row[i]) for row in [head, *rows]) for i in range(len(head))]
    if within is not None:
        _narrow(widths, _least(head, rows, left), within)
        _narrow(widths, _least(head, rows, head), within)
    lines = []
    for row in [head, tuple("-" * columns for columns in widths), *rows]:
        broken = [
            _broken(cell, columns, INDENT if name in left else 0)
            for cell, columns, name in zip(row, widths, head, strict=True)
        ]
        for line in itertools.zip_longest(*broken, fillvalue=""):
            cells = [
                (to_left if name in left else to_right)(cell, columns)
                for cell, columns, name in zip(line, widths, head, strict=True)
            ]
            lines.append(GAP.join(cells).rstrip())
    return "\n".join(lines)


def wrapped(line: str) -> str:
    """Return the line, broken at blanks where it is longer than WIDEST."""
    return "\n".join(_broken(line, WIDEST, INDENT))


def _broken(cell: str, columns: int, more: int) -> list[str]:
    """Return the cell's lines; those after the first are indented by so many columns more."""
    if width(cell) <= columns:
        return [cell]
    return textwrap.wrap(
        cell,
        columns,
        subsequent_indent=" " * (_indent(cell) + more),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _indent(cell: str) -> int:
    return len(cell) - len(cell.lstrip())


def _narrow(widths: list[int], least: Sequence[int], within: int) -> None:
    """Take from the column that has the most to spare until they fit, or none has any."""
    while sum(widths) + len(GAP) * (len(widths) - 1) > within:
        spare = [has - needs for has, needs in zip(widths, least, strict=True)]
        if max(spare) <= 0:
            return
        widths[spare.index(max(spare))] -= 1


def _least(
    head: Sequence[str], rows: Sequence[Sequence[str]], broken: Collection[str]
) -> Sequence[int]:
    """Return the least width of each column: its longest cell, of those that are `broken` its
    longest word.
    """

    def words(cell: str) -> int:
        indent = _indent(cell) + INDENT
        return max((width(word) + indent for word in cell.split()), default=0)

    heads = [max((width(word) for word in name.split()), default=0) for name in head]
    return [
        max(heads[i], *((words if name in broken else width)(row[i]) for row in rows), 1)
        for i, name in enumerate(head)
    ]
