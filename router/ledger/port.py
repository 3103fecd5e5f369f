"""The port of the ledger: money set aside before dispatch, settled after, never overspent.

For every scope, always: avail + reserved + spent = limit; and spent <= limit for a hard one.
avail is negative only in a scope that never refuses, or after its limit was lowered or an override
ran out: then everything is refused until it isn't. Money is integer nano-USD, `now_s` are wall
clock seconds since 1970: the caller owns the time.

* LedgerUnavailable   the store could not be read or written: nothing was done of what was asked
* NotReserved         what is to be settled was never reserved, or was released
* ValueError          a caller's slip: a negative amount, a request id reserved on other terms
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from router.ledger.entry import Entry
from router.ledger.fleet_time import FleetTime

ONCE_S = 24 * 3600  # as long as an idempotency key is remembered
NEVER = 1 << 62  # nano-USD that nothing reaches
MOST_NANO = 10**18  # a reservation's, so that sums stay within 64 bits
OnSpent = Literal["reject", "downgrade", "alert"]
State = Literal["open", "settled", "expired"]


class LedgerUnavailable(Exception):  # noqa: N818 (it says what is the case)
    """The store could not be read or written; nothing was done of what was asked."""


class NotReserved(LookupError):  # noqa: N818 (as above)
    """There is no such reservation, and nothing was ever charged for it."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What a budget allows in a period. `hard_nano` None: it never refuses."""

    soft_nano: int
    hard_nano: int | None
    alert_at: tuple[float, ...] = ()  # shares of the soft limit, each tells once

    def __post_init__(self) -> None:
        if self.soft_nano <= 0:
            raise ValueError(f"a budget is more than 0, not {self.soft_nano} nano-USD")
        if self.hard_nano is not None and self.hard_nano < self.soft_nano:
            raise ValueError(f"hard {self.hard_nano} is below soft {self.soft_nano} nano-USD")
        if not all(share > 0 for share in self.alert_at):
            raise ValueError(f"an alert is told at a share above 0, not at {self.alert_at}")

    @property
    def nano(self) -> int:
        return self.soft_nano if self.hard_nano is None else self.hard_nano

    @property
    def floor(self) -> int:
        """What must stay available unless the request is downgraded; -NEVER: anything goes."""
        return -NEVER if self.hard_nano is None else self.hard_nano - self.soft_nano

    def overridden(self, soft_nano: int) -> "Limit":
        """Return the limit with another `soft_nano`; the hard one keeps its ratio to it."""
        hard = self.hard_nano
        hard = None if hard is None else soft_nano * hard // self.soft_nano
        return Limit(soft_nano, hard, self.alert_at)


@dataclass(frozen=True, slots=True)
class Scope:
    """One budget value in one period, with the limits of the policy that decided.

    What counts are the limits adopted last, where the ledger has adopted that budget.
    """

    budget: str
    value: str  # "team=search", "key=ab12cd34"
    period: str  # "2026-11-21", "2026-W47", "2026-11", "2026-11-21T09", in the budget's time zone
    ends: str  # RFC 3339, UTC (Z): when it is reset
    soft_nano: int
    hard_nano: int | None
    on_spent: OnSpent
    alert_at: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        Limit(self.soft_nano, self.hard_nano, self.alert_at)
        if (self.hard_nano is None) != (self.on_spent == "alert"):
            raise ValueError(f"{self.on_spent} and a hard limit of {self.hard_nano}")
        if not self.ends.endswith("Z"):
            raise ValueError(f"a period ends at a time in UTC, with Z, not {self.ends!r}")

    @property
    def limit(self) -> Limit:
        return Limit(self.soft_nano, self.hard_nano, self.alert_at)


@dataclass(frozen=True, slots=True)
class Reserved:
    """`nano` is set aside in every scope until it is settled, released or the lease ends."""

    id: str  # the request's
    nano: int
    scopes: tuple[Scope, ...]
    lease_ends_s: float
    held: tuple[int, ...] = ()  # where the store holds it, scope by scope: nobody else's matter


@dataclass(frozen=True, slots=True)
class Refused:
    """It isn't there; nothing was touched. `scope`: the one with the least left."""

    scope: Scope
    left_nano: int


@dataclass(frozen=True, slots=True)
class Downgrade:
    """Beyond the soft limit of `budgets`; nothing was touched. Ask again with them downgraded."""

    scope: Scope  # the one with the least left
    left_nano: int  # up to its hard limit
    budgets: frozenset[str]


@dataclass(frozen=True, slots=True)
class Alert:
    """A share of a scope's soft limit is spent; told once a (budget, value, period, share)."""

    budget: str
    value: str
    period: str
    ends: str
    share: float
    spent_nano: int
    soft_nano: int


@dataclass(frozen=True, slots=True)
class Balance:
    """nano-USD; avail + reserved + spent = limit."""

    limit: int
    spent: int
    reserved: int
    avail: int


@dataclass(frozen=True, slots=True)
class Adopted:
    """The policy whose limits are in force, by budget id."""

    policy_hash: str
    limits: Mapping[str, Limit]


@dataclass(frozen=True, slots=True)
class Override:
    """Another soft limit of one value, until then."""

    budget: str
    value: str
    soft_nano: int
    until_s: float


@dataclass(frozen=True, slots=True)
class Standing:
    """A scope that was touched, and the limit in force; `until_s`: of its override, None: none.

    avail of the balance is `limit.nano` - spent - reserved.
    """

    budget: str
    value: str
    period: str
    ends: str
    limit: Limit
    spent: int
    reserved: int
    until_s: float | None


@dataclass(frozen=True, slots=True)
class Expired:
    """How many leases had run out and were charged, and what that told."""

    leases: int
    alerts: tuple[Alert, ...]


@dataclass(frozen=True, slots=True)
class Once:
    """A caller's idempotency key, and a hash of the body that came with it."""

    key_id: str
    name: str
    body_hash: str


@dataclass(frozen=True, slots=True)
class Before:
    """The idempotency key was used: by this request, in this state, with the same body or not."""

    request_id: str
    state: State
    same_body: bool


class Money(Protocol):
    """What a request does."""

    def reserve(
        self,
        worst: Entry,
        scopes: Sequence[Scope],
        now_s: float,
        lease_ends_s: float,
        downgraded: frozenset[str] = frozenset(),
        once: Once | None = None,
    ) -> Reserved | Refused | Downgrade | Before:
        """Set `worst.nano` aside in all scopes, or in none.

        `worst` is the row that is written if the lease runs out; its id is the reservation's. The
        same again while it is open gives the same again and takes nothing. The idempotency key
        `once` is taken with it, for 24 h; Before: another request has it, which comes first. One
        that gave all back has it no more: it may be tried again.
        """

    def settle(self, reserved: Reserved, entries: Sequence[Entry], now_s: float) -> list[Alert]:
        """Charge the rows' sum in the reservation's place and append them; again: does nothing.

        Where a scope is hard the charge is at most what was reserved: the rows are cut, the rest
        is their `overrun_nano`. After the lease ran out: the difference is given back, once.
        """

    def release(self, reserved: Reserved, now_s: float) -> None:
        """Give it back whole: nothing was sent. Again, or after a settlement: does nothing."""

    def abandon(self, request_id: str, now_s: float) -> State | None:
        """Give back what a router that died had set aside for a request, or was charged in full as
        the lease ran out: it is made again. Return its state before; `settled`: it was charged for
        what was used, and stays so. None: nothing was set aside.
        """

    def expire(self, now_s: float) -> Expired:
        """Charge in full what was reserved with a lease that ended before `now_s`."""

    def balance(self, scope: Scope, now_s: float) -> Balance:
        """Return the scope's balance; one that was never touched has its whole limit."""


class Limits(Protocol):
    """What policies and admins do."""

    def adopt(self, limits: Mapping[str, Limit], policy_hash: str, now_s: float) -> bool:
        """Put these limits, by budget id, in force, running periods too; False: they were."""

    def follow(self, limits: Mapping[str, Limit], policy_hash: str, now_s: float) -> None:
        """Go by the limits in force, which somebody else puts there; by these where none ever
        were.
        """

    def override(
        self, budget: str, value: str, soft_nano: int, until_s: float, now_s: float
    ) -> None:
        """Put another soft limit in force for one value until then; the hard one in proportion.

        KeyError: no such budget was adopted.
        """

    def end_override(self, budget: str, value: str, now_s: float) -> bool:
        """Put the adopted limit in force again; False: there was no override."""


class Standings(Protocol):
    """What is left of the budgets that were adopted last; no row of a charge is read."""

    def adopted(self) -> Adopted | None:
        """Return what was adopted last; None: nothing ever was."""

    def overrides(self, now_s: float) -> list[Override]:
        """Return those in force, by budget and value."""

    def standings(self, now_s: float, *, closed: bool = False) -> list[Standing]:
        """Return the scopes of running periods, by budget, value and period; `closed`: also those
        of periods that are over, with the limits that they had at their end.
        """


class Rows(Protocol):
    """What reports read; the rows from `start` until before `end` (RFC 3339, UTC), in order."""

    def entries(self, start: str, end: str) -> Iterator[Entry]: ...

    def fleet_times(self, start: str, end: str) -> Iterator[FleetTime]: ...

    def add_fleet_time(self, rows: Iterable[FleetTime]) -> None:
        """Add them; of two for one (fleet, minute, source) the one that covers more seconds."""


class Ledger(Money, Limits, Standings, Rows, Protocol):
    """All of it: one store. Any thread may use it."""

    @property
    def remote(self) -> bool:
        """Whether a call waits for a network: not to be made on an event loop."""

    def close(self) -> None: ...
