"""What a diff tells, in the words and figures that every form of its report shares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from types import MappingProxyType
from typing import Final

from router.compare.comparison import Comparison
from router.compare.condition import Judged
from router.compare.figures import Figures
from router.compare.interval import Interval, settled
from router.compare.shown import cut, first
from router.compare.words import Said
from router.finops.money import decimals_of, dollars
from router.replay.summary import NANO

UNKNOWN: Final = "unknown"
PER_S: Mapping[str, int] = MappingProxyType(
    {"hour": 3600, "day": 86_400, "week": 7 * 86_400, "month": 30 * 86_400}
)
SAME_WORDS: Final = "nothing changed in meaning: the compiled policies are equal"
COVERS: Final = (
    "the 95 % interval says how much the difference depends on which minutes the trace happened to "
    "hold: blocks of them are drawn again, for both policies together; it doesn't cover prices, "
    "profiles and the model behind them, nor traffic of another kind than this trace's"
)
OK: Final = "ok"  # of a gate
NO_INTERVAL: Final = "no interval: it takes 30 minutes of trace and known prices"


@dataclass(frozen=True, slots=True)
class Named:
    """A policy as the report calls it."""

    file: str
    name: str
    hash: str


@dataclass(frozen=True, slots=True)
class Report:
    """`found` None: no trace was given. `per`: the time that the bill's change is told for, too."""

    old: Named
    new: Named
    words: tuple[Said, ...]
    found: Comparison | None = None
    judged: tuple[Judged, ...] = ()
    per: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[Judged, ...]:
        return tuple(one for one in self.judged if one.fails)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: what it is, old, new, and the change."""

    name: str
    old: str
    new: str
    change: str


# -- the headline ----------------------------------------------------------------------------------


def headline(found: Comparison) -> str:
    """Return what the change costs, and whether the trace can tell it from nothing."""
    told = middle(found)
    if told is None:
        stays = "; every request goes where it went, as fast" if found.same else ""
        return f"what it costs can't be told: a price is unknown{stays}"
    drawn, n = changes(found), len(found.seeded)
    if found.same and not any(drawn):
        return "no difference: every request goes where it went, as fast, at the same cost"
    amount = f"{signed(told.usd_change)}{_percent(told)}"
    if found.spread is None:
        over = f", the middle of {n} draws ({_span(drawn)})" if n > 1 else ""
        return f"{amount}{over}; the trace is too short for an interval"
    low, high = found.spread.change.low, found.spread.change.high
    if not any((*drawn, low, high)):
        return "the bill stays as it is, in every minute"
    interval = f"95 % interval {between(found.spread.change)}"
    said = (
        f"{interval} over {n} draws, the middle one {amount}" if n > 1 else f"{amount}, {interval}"
    )
    return f"{said}: this trace can't tell it from no change" if low <= 0 <= high else said


def extrapolated(found: Comparison, per: str) -> str:
    """Return the change over a longer time, if all of it were as the trace is."""
    told, times = middle(found), PER_S[per] / found.seconds if found.seconds else 0.0
    if told is None:
        return f"a {per} can't be told: a price is unknown"
    one = "the middle draw " if len(found.seeded) > 1 else ""
    amount = f"{one}{signed(told.usd_change * times)}"
    over = f"a {per} ({days(per)}), if all of it were as this trace is"
    if found.spread is None:
        return f"{amount} {over}"
    wide = found.spread.change
    interval = f"interval {between(Interval(wide.low * times, wide.high * times))}"
    return f"{interval} {over}; {amount}" if one else f"{amount} {over}; {interval}"


def figures_of(found: Comparison) -> list[str]:
    """Return which of several draws the tables are of."""
    n = len(found.seeded)
    return [f"the tables are of seed {found.seeded[0].seed}, one of {n} draws"] if n > 1 else []


@dataclass(frozen=True, slots=True)
class Middle:
    """The draw whose change is in the middle of all, the lower of two."""

    usd_old: float
    usd_change: float


def middle(found: Comparison) -> Middle | None:
    """Return it; None: a price is unknown."""
    drawn = [
        Middle(each.usd_old, settled(each.usd_new - each.usd_old))
        for each in found.seeded
        if each.usd_old is not None and each.usd_new is not None
    ]
    if not drawn or len(drawn) < len(found.seeded):
        return None
    return sorted(drawn, key=lambda each: each.usd_change)[(len(drawn) - 1) // 2]


def changes(found: Comparison) -> list[float]:
    """Return what the change costs in each draw that has a price."""
    return [
        settled(each.usd_new - each.usd_old)
        for each in found.seeded
        if each.usd_old is not None and each.usd_new is not None
    ]


def _span(drawn: Sequence[float]) -> str:
    return between(Interval(min(drawn), max(drawn)))


def gates(report: Report) -> tuple[str, list[tuple[str, str]]]:
    """Return how many gates fail, and what became of each: it fails where its condition holds."""
    failed = len(report.failed)
    passed = len(report.judged) - failed
    told = [f"{failed} {'fails' if failed == 1 else 'fail'}"] if failed else []
    told += [f"{passed} {OK}"] if passed else []
    head = f"gates: {', '.join(told)}"
    words = {False: OK, True: "FAILS", None: "FAILS, unknown"}
    lines = [(words[one.holds], f"fail if {one.text}: {one.said}") for one in report.judged]
    return head, lines


def days(per: str) -> str:
    return {"hour": "3,600 s", "day": "24 h", "week": "7 days", "month": "30 days"}[per]


def _percent(told: Middle) -> str:
    return f" ({told.usd_change / told.usd_old:+.2%})" if told.usd_old else ""


# -- the table -------------------------------------------------------------------------------------


def rows(found: Comparison) -> list[Row]:
    """Return the figures of both, side by side."""
    old, new = found.old, found.new
    own = [_share_row("served within its objectives", old.attained, new.attained)]
    if (old.attained, new.attained) != (old.attained_as_old, new.attained_as_old):
        both = (old.attained_as_old, new.attained_as_old)
        own.append(_share_row("the same by the old objectives", *both))
    return [
        *_usd_rows(
            {
                "bill": (old.money.total, new.money.total),
                "  charged to requests": (old.money.allocated, new.money.allocated),
                "  idle machines": (old.money.idle, new.money.idle),
                "  the router": (old.money.router, new.money.router),
                "  variance (busy less charged)": (
                    old.money.variance,
                    new.money.variance,
                ),
            }
        ),
        _ms_row("TTFT p50", old.ttft_ms.p50, new.ttft_ms.p50),
        _ms_row("TTFT p95", old.ttft_ms.p95, new.ttft_ms.p95),
        _ms_row("end to end p50", old.e2e_ms.p50, new.e2e_ms.p50),
        _ms_row("end to end p95", old.e2e_ms.p95, new.e2e_ms.p95),
        *own,
        *(_count_row(name, *both) for name, both in _counts(old, new).items()),
    ]


def team_rows(found: Comparison) -> list[Row]:
    """Return what each team is charged, the largest change first."""
    teams = sorted({*found.old.by_team, *found.new.by_team})
    both = {t: (found.old.by_team.get(t, 0.0), found.new.by_team.get(t, 0.0)) for t in teams}
    changed = sorted(teams, key=lambda team: -abs((both[team][1] or 0) - (both[team][0] or 0)))
    return _usd_rows({cut(team): both[team] for team in changed})


def never_hit(found: Comparison) -> list[str]:
    """Return a sentence for each policy that has rules which no request matched."""
    sides = (("old", found.old), ("new", found.new))
    said = [(which, side.never_hit) for which, side in sides if side.never_hit]
    return [
        f"{which}: {', '.join(first([f'`{cut(rule)}`' for rule in rules]))}"
        for which, rules in said
    ]


def bound_lines(found: Comparison) -> list[str]:
    """Return a sentence for each of the first budgets that bind under one of the two."""
    said = []
    for b in found.bounds:
        times = f"{after(b.was_s)} -> {after(b.now_s)}"
        spent = f"spends {dollars_of(b.usd_was)} -> {dollars_of(b.usd_now)}"
        word = "breaks" if b.breaks else "no longer breaks" if b.mended else "binds under both"
        said.append(
            f"budget `{cut(b.budget)}` of {cut(b.value)} in {b.period} {word} ({b.does}): "
            f"first time {times}; {spent}"
        )
    return first(said)


def seed_lines(found: Comparison) -> list[str]:
    """Return what the other draws of the assumed mix give."""
    if len(found.seeded) == 1:
        return []
    known = [s for s in found.seeded if s.usd_old is not None and s.usd_new is not None]
    by = zip(known, changes(found), strict=True)
    drawn = ", ".join(f"seed {s.seed} {signed(change)}" for s, change in by)
    said = f"what the trace doesn't say was drawn {len(found.seeded)} times: {drawn}"
    return [f"{said}; the interval holds the intervals of all of them"] if known else []


def assumptions(found: Comparison) -> list[str]:
    """Return what the figures rest on."""
    longer = [
        f"{dollars_of(usd)} are added to the {which} bill: its machines are paid until the other's "
        "last answer"
        for which, usd in zip(("old", "new"), found.added_usd, strict=True)
        if usd
    ]
    sure = COVERS if found.spread else NO_INTERVAL
    return [*found.assumptions, *longer, sure, *seed_lines(found)]


# -- figures as text -------------------------------------------------------------------------------


def dollars_of(usd: float) -> str:
    return dollars(round(usd * NANO))


def signed(usd: float) -> str:
    return f"{'+' if usd > 0 else ''}{dollars_of(usd)}"


def between(interval: Interval) -> str:
    return f"{signed(interval.low)} to {signed(interval.high)}"


def after(at_s: float | None) -> str:
    """Return a time since the trace's start."""
    if at_s is None:
        return "never"
    minutes, seconds = divmod(int(at_s), 60)
    return f"after {minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def usd_column(column: Sequence[float | None], *, signed: bool = False) -> list[str]:
    """Return amounts with as many decimals as the smallest of them needs."""
    nanos = [None if usd is None else round(usd * NANO) for usd in column]
    decimals = decimals_of(nano for nano in nanos if nano is not None)
    return [
        UNKNOWN if nano is None else ("+" if signed and nano > 0 else "") + dollars(nano, decimals)
        for nano in nanos
    ]


def _usd_rows(both: Mapping[str, tuple[float | None, float | None]]) -> list[Row]:
    olds, news = ([pair[side] for pair in both.values()] for side in (0, 1))
    by = [None if a is None or b is None else settled(b - a) for a, b in both.values()]
    texts = usd_column(by, signed=True)
    said = [
        text if change is None or old is None else _changed(text, old, old + change)
        for text, change, old in zip(texts, by, olds, strict=True)
    ]
    cells = zip(both, usd_column(olds), usd_column(news), said, strict=True)
    return [Row(*row) for row in cells]


def _ms_row(name: str, old: float | None, new: float | None) -> Row:
    change = UNKNOWN if old is None or new is None else _changed(f"{new - old:+,.0f} ms", old, new)
    was, now = (UNKNOWN if ms is None else f"{ms:,.0f} ms" for ms in (old, new))
    return Row(name, was, now, change)


def _share_row(name: str, old: float, new: float) -> Row:
    change = "none" if old == new else f"{(new - old) * 100:+.2f} points"
    return Row(name, f"{old:.2%}", f"{new:.2%}", change)


def _count_row(name: str, old: int, new: int) -> Row:
    return Row(name, f"{old:,}", f"{new:,}", _changed(f"{new - old:+,}", old, new))


def _changed(text: str, old: float, new: float) -> str:
    if old == new:
        return "none"
    ratio = new / old - 1 if old > 0 else float("inf")
    return f"{text} ({ratio:+.1%})" if isfinite(ratio) else text


def _counts(old: Figures, new: Figures) -> dict[str, Sequence[int]]:
    return {
        "refused": (old.refused, new.refused),
        "timed out": (old.timed_out, new.timed_out),
        "soft limit dropped": (old.relaxed, new.relaxed),
    }
