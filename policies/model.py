"""The policy, as values. Text becomes these in ``parse``; nothing here reads a file.

A value that exists is valid: every rule carries the settings that hold for it, with the policy's
defaults already merged in, so that evaluation looks in one place.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Literal, Protocol

Minimize = Literal["marginal_cost", "average_cost", "ttft", "e2e", "best"]
Soft = Literal["slo.ttft", "slo.e2e", "quality_floor"]
"""A constraint that `relax` may drop. `best` (highest quality) comes from `auto:best` only."""

Per = Literal["hour", "day", "week", "month"]
WhenSpent = Literal["reject", "downgrade", "alert"]
SHADOW: Final = "sluice-shadow"  # the tenant of shadow judging's own calls: no key may have it
RATES: Final = ("requests_per_min", "tokens_per_min", "concurrent")  # of a key, of a rate limit


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known of one request before it is sent. Every value is JSON-native.

    `tokens_out` is the expected output per choice; `tokens_in_bound` no tokenizer exceeds (bytes);
    `max_tokens` is the caller's own limit per choice, or None.
    `may`, `lanes` and `models` are the rights of the key (None: all). Of the small model's answers
    to this task `labels` were judged, and `labels_acceptable` of them were good enough.
    `spread` is where the request falls among nearly equal fleets, from 0 to below 1; None: the best
    is taken.
    """

    at: str  # RFC 3339, UTC, milliseconds
    tenant: str
    team: str | None
    key: str  # the key's public id, never the secret
    tags: Mapping[str, str]
    task: str
    tier: str
    complexity: float
    p_small: float
    language: str
    tokens_in: int
    tokens_out: int
    tokens_in_bound: int | None = None
    max_tokens: int | None = None
    n: int = 1
    needs: tuple[str, ...] = ()
    service_class: str = "standard"
    requested_model: str = "auto"
    max_usd: float | None = None
    slo_ttft_ms: float | None = None
    may: tuple[str, ...] = ("pin_model",)
    lanes: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    downgraded: tuple[str, ...] = ()
    labels: int = 0
    labels_acceptable: int = 0
    spread: float | None = None


class Candidate(Protocol):
    """What a policy may know of a fleet for one request. None is unknown, never zero."""

    @property
    def fleet(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def lane(self) -> str: ...
    @property
    def region(self) -> str: ...
    @property
    def abilities(self) -> frozenset[str]: ...
    @property
    def context_tokens(self) -> int: ...
    @property
    def state(self) -> str: ...
    @property
    def ttft_p50_ms(self) -> float | None: ...
    @property
    def ttft_p95_ms(self) -> float | None: ...
    @property
    def e2e_p50_ms(self) -> float | None: ...
    @property
    def e2e_p95_ms(self) -> float | None: ...
    @property
    def usd_marginal(self) -> float | None: ...
    @property
    def usd_average(self) -> float | None: ...
    @property
    def usd_router(self) -> float: ...
    @property
    def quality(self) -> float: ...
    @property
    def by_p_small(self) -> bool:
        """Whether `quality` is the classifier's p_small, which labels can prove."""
        ...

    def usd_at_most(self, max_output_tokens: int) -> float | None:
        """Return the worst-case charge of this request in USD; None if no price is known."""
        ...


@dataclass(frozen=True, slots=True)
class Slo:
    ttft_p95_ms: float | None = 2000.0
    e2e_p95_ms: float | None = 60000.0


@dataclass(frozen=True, slots=True)
class Breaker:
    failures: int = 5
    open_ms: int = 10_000


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one request's attempts, in milliseconds and counts."""

    deadline_ms: int = 120_000
    ttft_timeout_ms: int = 20_000
    inter_chunk_timeout_ms: int = 15_000
    attempts: int = 3
    breaker: Breaker = Breaker()


@dataclass(frozen=True, slots=True)
class Settings:
    """What `defaults` sets and a rule may set anew.

    `confidence` None: the floor takes p_small at its word; else labels must prove it so surely.
    """

    minimize: Minimize = "marginal_cost"
    quality_floor: float = 0.85
    confidence: float | None = None
    slo: Slo = Slo()
    max_output_tokens: int = 4096
    limits: Limits = Limits()
    relax: tuple[Soft, ...] = ()
    strict: bool = False
    thinking: Literal["on", "off"] | None = None


Matcher = Callable[[Facts], bool]


@dataclass(frozen=True, slots=True)
class Condition:
    """One key of `when`: its name, what was written (for explanations), and the test."""

    name: str
    wanted: object
    matches: Matcher = field(compare=False, repr=False)  # follows from the two above


@dataclass(frozen=True, slots=True)
class Acceptance:
    """One test of `accept_if`: its name, and what it asks for (canonical JSON)."""

    name: str
    wanted: Any


@dataclass(frozen=True, slots=True)
class Hedge:
    """A second attempt beside a stream whose first token is late, if that is worth its cost.

    It starts `after_ms`, or where that is None after the predicted p95 of the time to that token.
    """

    after_ms: int | None
    spend_up_to_usd: float


@dataclass(frozen=True, slots=True)
class Rule:
    """The first rule whose conditions all hold decides.

    `use` are groups of lanes or fleets: the first group with a feasible fleet wins, inside a
    group the objective decides. `use: [a, b]` is one group, `in_order: [a, b]` two.
    With `accept_if` it is a cascade: `use` is the group to try and the group for the answers that
    fail one of these tests.
    """

    id: str
    when: tuple[Condition, ...]
    use: tuple[frozenset[str], ...]
    settings: Settings = Settings()
    residency: frozenset[str] | None = None
    accept_if: tuple[Acceptance, ...] = ()
    hedge: Hedge | None = None

    def matches(self, facts: Facts) -> bool:
        for condition in self.when:  # noqa: SIM110  (a generator costs more than the tests)
            if not condition.matches(facts):
                return False
        return True


@dataclass(frozen=True, slots=True)
class Match:
    """Whose requests count: None is anybody, `*` anybody who has one, each counted apart."""

    tenant: str | None = None
    team: str | None = None
    key: str | None = None
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Budget:
    """USD that may be spent in a period. It begins at midnight of `tz`, a week on Monday.

    `reject` ends at `usd`; `downgrade` changes to the cheapest lane there, and ends at `hard_usd`;
    `alert` never ends. `alert_at` are shares of `usd`.
    """

    id: str
    usd: float
    per: Per
    tz: str = "UTC"
    match: Match = Match()
    when_spent: WhenSpent = "reject"
    hard_usd: float | None = None
    alert_at: tuple[float, ...] = ()

    @property
    def nano(self) -> int:
        """Return whole nano-USD, none more than what was written."""
        return nano_of(self.usd)

    @property
    def hard_nano(self) -> int | None:
        """Return what is never exceeded, or None."""
        if self.when_spent == "alert":
            return None
        return self.nano if self.hard_usd is None else nano_of(self.hard_usd)


def nano_of(usd: float) -> int:
    """Return whole nano-USD, none more than these USD as they are written."""
    return int(Decimal(str(usd)).scaleb(9))


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What the requests that count may do together; None doesn't bind. At least one binds."""

    id: str
    match: Match = Match()
    requests_per_min: int | None = None
    tokens_per_min: int | None = None
    concurrent: int | None = None


@dataclass(frozen=True, slots=True)
class Shadow:
    """`share` of the small models' answers is asked again of the baseline and judged by `judge`."""

    share: float
    judge: str
    budget: Budget


@dataclass(frozen=True, slots=True)
class StopIf:
    """What stops a canary; None: not that. `cost_ratio_above`: a request's mean charge over that
    of the policy in force.
    """

    error_rate_above: float | None = None
    cost_ratio_above: float | None = None


@dataclass(frozen=True, slots=True)
class Canary:
    """`share` of the requests are decided by another policy, until it is stopped."""

    policy: str
    share: float
    stop_if: StopIf = StopIf()


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules in the order written; `hash` names the compiled content."""

    name: str
    hash: str
    baseline: tuple[str, str]  # model, fleet
    defaults: Settings
    rules: tuple[Rule, ...]
    shadow: Shadow | None = None
    budgets: tuple[Budget, ...] = ()
    rate_limits: tuple[RateLimit, ...] = ()
    canary: Canary | None = None
    compiled: Mapping[str, object] = field(default_factory=dict, repr=False)
