"""A reconciliation as a table with what stands apart from it."""

from collections.abc import Iterator, Mapping, Sequence

from router.cli.table import grid
from router.finops.money import dollars, usd_cents
from router.finops.reconcile import Apart, Row, total

HEAD = ("fleet", "day", "bill $", "hours x price $", "difference $", "price $", "hours $",
        "other $", "cause")  # fmt: skip
LEFT = {"fleet", "day", "cause"}
SHOWN = 5  # services of lines without a tag


def reconcile_text(
    rows: Sequence[Row], apart: Apart, emulated: Sequence[str], tolerance: float
) -> str:
    bill, expected = total(rows)
    parts = [grid(HEAD, [_cells(row) for row in rows], left=LEFT), ""] if rows else []
    beyond = sum(not row.ok for row in rows)
    said = f"all within {tolerance:.1%}"
    if beyond:
        said = f"{beyond} of {len(rows)} fleet days differ by more than {tolerance:.1%}"
    parts.append(
        f"bill {usd_cents(bill)}, replica-hours x price {usd_cents(expected)}, "
        f"difference {usd_cents(bill - expected)}: {said}"
    )
    parts += _apart(apart)
    if emulated:
        parts.append(f"left out, emulated: {', '.join(emulated)}")
    return "\n".join(parts)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.fleet,
        row.day.isoformat(),
        _usd(row.bill),
        _usd(row.expected),
        usd_cents(row.difference),
        _usd(row.by_price),
        _usd(row.by_hours),
        _usd(row.by_other),
        row.cause,
    )


def _usd(nano: int | None) -> str:
    return "-" if nano is None else usd_cents(nano)


def _apart(apart: Apart) -> Iterator[str]:
    if apart.unallocated_lines:
        services = list(apart.unallocated.items())
        named = ", ".join(f"{name or 'unnamed'} {dollars(n)}" for name, n in services[:SHOWN])
        more = f" and {len(services) - SHOWN} more" if len(services) > SHOWN else ""
        yield (
            f"unallocated, {apart.unallocated_lines:,} lines without the tag sluice:fleet: "
            f"{dollars(sum(apart.unallocated.values()))} ({named}{more})"
        )
    kinds: Mapping[str, Mapping[str | None, int]] = {
        "credits and refunds": apart.credits,
        "taxes": apart.taxes,
        "purchases and fees": apart.purchases,
    }
    for kind, sums in kinds.items():
        if sums:
            named = ", ".join(f"{fleet or 'no fleet'} {dollars(n)}" for fleet, n in sums.items())
            yield f"{kind}, in no row above: {named}"
