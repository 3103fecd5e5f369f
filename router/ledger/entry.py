"""The ledger's rows: what every attempt was charged to whom. Pure; rows are only ever appended."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import orjson


@dataclass(frozen=True, slots=True)
class Entry:
    """One attempt that was charged. Money: integer nano-USD; time: RFC 3339, UTC; None: unknown.

    The `last` row of a request bears what belongs to the request as a whole. After an `expired`
    row a true settlement appends `correction` rows: the expired one negated, then the true ones,
    none of them `last` (the request was counted), the final one with the baseline and the router.
    So that the sum over all rows is right for every column.
    """

    request_id: str
    n: int  # 0, 1, ...: rows of the request; a correction goes on counting
    kind: str  # charge | expired (a lease that ran out, charged in full) | correction (of that)
    at: str  # when it was settled
    period_at: str  # when it was reserved: the budget period is the reservation's
    key: str
    tenant: str
    team: str | None
    tags: tuple[tuple[str, str], ...]  # sorted; those that count for budgets
    task: str
    tier: str
    language: str
    service_class: str
    policy: str  # its hash
    rule: str  # its id
    model: str
    fleet: str
    instance: str
    region: str
    outcome: str  # ok, client_closed, broken, not_accepted, timeout, ...
    last: bool  # counts as one request
    tokens_in: int | None
    tokens_cached: int | None
    tokens_out: int | None
    tokens_reasoning: int | None
    nano: int  # the rate-card charge, what budgets count; negative in a correction
    nano_marginal: int | None  # as estimated when decided, scaled to this attempt
    nano_average: int | None
    nano_baseline: int | None  # on `last`: the baseline fleet's rate card for these tokens
    nano_router: int  # on `last`, else 0
    service_ms: float  # the attempt's time on the fleet
    capacity: int | None  # streams that a replica of the fleet takes at capacity
    nano_hour: int | None  # a replica's price
    estimated: bool  # the fleet told no usage, or nobody knows
    emulated: bool  # no model ran
    reserved_nano: int  # of the whole request, on `last`, else 0
    overrun_nano: int  # used beyond the reservation and not charged
    receipt: str | None  # first 16 hex digits of the SHA-256 of the receipt's line


def stamp(now_s: float) -> str:
    """Return seconds since 1970 as RFC 3339 in UTC, with milliseconds."""
    return datetime.fromtimestamp(now_s, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def entry_json(entry: Entry) -> bytes:
    return orjson.dumps(entry)


def entry_of(line: bytes | str) -> Entry:
    """Return the entry that `entry_json` wrote."""
    fields = orjson.loads(line)
    fields["tags"] = tuple((name, value) for name, value in fields["tags"])
    return Entry(**fields)


def clamped(entries: Sequence[Entry], at_most_nano: int) -> tuple[Entry, ...]:
    """Return the rows cut, from the last on, to `at_most_nano` together; the rest is overrun. What
    the baseline would have charged is cut alike: what was let go is nobody's saving.
    """
    whole = sum(entry.nano for entry in entries)
    if whole <= at_most_nano:
        return tuple(entries)
    left, cut = at_most_nano, []
    for entry in entries:
        nano = min(entry.nano, left)
        left -= nano
        overrun = entry.overrun_nano + entry.nano - nano
        baseline = entry.nano_baseline
        if baseline is not None:
            baseline = baseline * at_most_nano // whole
        cut.append(replace(entry, nano=nano, overrun_nano=overrun, nano_baseline=baseline))
    return tuple(cut)


def corrections(expired: Entry, entries: Sequence[Entry], at: str) -> tuple[Entry, ...]:
    """Return what is appended when a true settlement follows the `expired` row.

    No entries: nothing was sent, so that the row is only taken back.
    """
    back = replace(
        expired,
        n=expired.n + 1,
        kind="correction",
        at=at,
        last=False,
        tokens_in=_negated(expired.tokens_in),
        tokens_cached=_negated(expired.tokens_cached),
        tokens_out=_negated(expired.tokens_out),
        tokens_reasoning=_negated(expired.tokens_reasoning),
        nano=-expired.nano,
        nano_marginal=_negated(expired.nano_marginal),
        nano_average=_negated(expired.nano_average),
        nano_baseline=_negated(expired.nano_baseline),
        nano_router=-expired.nano_router,
        service_ms=-expired.service_ms,
        reserved_nano=0,
        overrun_nano=-expired.overrun_nano,
    )
    true = (
        replace(entry, n=number, kind="correction", last=False, reserved_nano=0)
        for number, entry in enumerate(entries, back.n + 1)
    )
    return (back, *true)


def _negated(number: int | None) -> int | None:
    return None if number is None else -number
