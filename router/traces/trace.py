"""A trace: requests in the order of their arrival, one column for each thing known of them.

A million requests are some 60 MB: what many have in common (``kinds``) stands once. Decisions see
what a router would have known (``expected`` tokens, never the real ones); the real lengths are for
the time and the cost of serving.
"""

from __future__ import annotations  # `array[int]` is no value before Python 3.12

from array import array
from dataclasses import dataclass
from typing import Final

from policies.model import Facts
from router.ledger.entry import stamp

UNKNOWN: Final = -1  # of `acceptable`, of `bound`


@dataclass(frozen=True, slots=True)
class Trace:
    """Columns of one length. `kinds` are facts of which `at`, `complexity`, `p_small`, `tokens_in`
    and `tokens_out` mean nothing: each request has its own.

    `start_s`: since 1970, of `at_s` 0. `acceptable`: whether the small model's answer would do, 1
    or 0, -1 unknown; no decision sees it. `assumptions`: what was made up, in words for a report;
    `warnings`: what a reader of the report should know of the trace itself.
    """

    name: str
    start_s: float
    at_s: array[float]  # "d", never falling, seconds since the start
    tokens_in: array[int]  # "l"
    tokens_out: array[int]  # "l", the real ones, of all choices
    expected: array[int]  # "l", what a router would have expected, of one choice
    complexity: array[float]  # "d", 0 to 1
    p_small: array[float]  # "d", 0 to 1
    acceptable: array[int]  # "b"
    kind: array[int]  # "l", a place in `kinds`
    kinds: tuple[Facts, ...]
    assumptions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    bound: array[int] | None = None  # "l", `Facts.tokens_in_bound`, -1 unknown; None: the kind's
    counted: array[int] | None = None  # "l", prompt tokens as fleets counted; None: `tokens_in`
    mixed: bool = False  # the facts are drawn from a mix

    def __len__(self) -> int:
        return len(self.at_s)

    @property
    def seconds(self) -> float:
        """Return the time from the start to the last arrival."""
        return self.at_s[-1] if self.at_s else 0.0

    def facts(self, i: int) -> Facts:
        """Return what a router would have known of the request at place `i`."""
        kind = self.kinds[self.kind[i]]
        bound = kind.tokens_in_bound
        if self.bound is not None:
            bound = None if self.bound[i] == UNKNOWN else self.bound[i]
        return Facts(
            stamp(self.start_s + self.at_s[i]),
            kind.tenant,
            kind.team,
            kind.key,
            kind.tags,
            kind.task,
            kind.tier,
            self.complexity[i],
            self.p_small[i],
            kind.language,
            self.tokens_in[i],
            self.expected[i],
            bound,
            kind.max_tokens,
            kind.n,
            kind.needs,
            kind.service_class,
            kind.requested_model,
            kind.max_usd,
            kind.slo_ttft_ms,
            kind.may,
            kind.lanes,
            kind.models,
            kind.downgraded,
            kind.labels,
            kind.labels_acceptable,
            kind.spread,
        )
