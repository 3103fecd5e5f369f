"""What the ledger keeps: one row an attempt that was charged, in order, never changed."""

from dataclasses import dataclass

KINDS = ("charge", "expired", "correction")


@dataclass(frozen=True, slots=True)
class Entry:
    """Money is in nano-USD, times are RFC 3339 UTC; unknown is None. The last row of a request
    bears what belongs to the request as a whole.
    """

    request_id: str
    n: int  # 0, 1, ...: attempts of the request; a correction goes on counting
    kind: str  # charge | expired (charged in full) | correction (of an expired one, may be < 0)
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
    rule: str
    model: str
    fleet: str
    instance: str
    region: str
    outcome: str  # ok, client_closed, broken, not_accepted, timeout, ...
    last: bool  # the request's last row: counts as one request
    tokens_in: int | None
    tokens_cached: int | None
    tokens_out: int | None
    tokens_reasoning: int | None
    nano: int  # rate-card charge, what budgets count
    nano_marginal: int | None  # as estimated when decided, scaled to this attempt
    nano_average: int | None
    nano_baseline: int | None  # on `last` only: the baseline fleet's rate card for these tokens
    nano_router: int  # on `last` only, else 0
    service_ms: float  # the attempt's time on the fleet: variance counts it as busy
    capacity: int | None  # streams a replica of the fleet takes
    nano_hour: int | None  # the replica's price
    estimated: bool  # the fleet told no usage, or nobody knows
    emulated: bool  # no model ran: such rows stay out of FOCUS
    reserved_nano: int  # of the whole request, on `last` only, else 0
    overrun_nano: int  # used beyond the reservation and not charged (hard caps); else 0
    receipt: str | None  # first 16 hex digits of SHA-256 of the receipt's line
