"""The baseline fleet alone under the same trace: the bill that a saving is counted against. Pure.

Its catalogue is one fleet of a fixed size, whose replicas are paid for the whole time. The size is
the smallest that serves the requests within their objectives as often as the policy does.
"""

from __future__ import annotations  # `array[int]` is no value before Python 3.12

from array import array
from collections.abc import Callable
from dataclasses import dataclass, replace

from backends.catalogue import Catalogue, Replicas
from policies.model import Facts, Policy, Rule, Settings, Slo
from router.replay.ending import money_until, until_s
from router.replay.fewest import fewest
from router.replay.outcome import Replayed
from router.replay.quantiles import Quantiles
from router.replay.summary import Money, met, served_quantiles, slos
from router.traces.trace import Trace
from router.world import World, world

Run = Callable[[World, Trace], Replayed]
"""The engine with its settings."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """`reached` False: no size attains what the policy does; this is the one that attains most.

    `money` runs until the later of its end and the policy's; `usd_policy` is the policy's bill
    until then.
    """

    fleet: str
    replicas: int
    reached: bool
    attained: float
    money: Money
    usd_policy: float | None
    ttft_ms: Quantiles
    e2e_ms: Quantiles
    run: Replayed


class Alone:
    """The baseline's replays by size. One size is replayed once, however many ask for it: policies
    of one baseline, and simple shares, which change neither arrivals nor lengths.
    """

    def __init__(self, run: Run, look_s: float) -> None:
        self._run, self._look_s = run, look_s
        self._done: dict[tuple[object, ...], Replayed] = {}
        self._lengths: list[tuple[array[float], array[int], array[int], array[int]]] = []

    def of(self, at: World, trace: Trace, policys: Replayed, attained: float) -> Baseline:
        """Return the smallest baseline that serves so large a share within the objectives that the
        requests have in the policy's run.
        """
        wanted = slos(at.policy, policys)

        def tried(replicas: int) -> float:
            within = met(self._sized(at, trace, replicas), wanted)
            return sum(within) / len(within) if within else 0.0

        replicas, reached = fewest(tried, attained)
        run = self._sized(at, trace, replicas)
        end_s = until_s(run, policys)
        return Baseline(
            at.baseline.fleet.id,
            replicas,
            reached,
            tried(replicas),
            money_until(run, end_s, self._look_s),
            money_until(policys, end_s, self._look_s).total,
            served_quantiles(run, run.ttft_ms),
            served_quantiles(run, run.e2e_ms),
            run,
        )

    def _sized(self, at: World, trace: Trace, replicas: int) -> Replayed:
        limit = at.policy.defaults.max_output_tokens
        what = at.baseline.fleet.id, at.catalogue.hash, limit, self._place(trace), replicas
        if what not in self._done:
            self._done[what] = self._run(alone(at, replicas), anybodys(trace))
        return self._done[what]

    def _place(self, trace: Trace) -> int:
        """Return which trace this is, as far as one fleet alone can tell."""
        lengths = trace.at_s, trace.tokens_in, trace.tokens_out, trace.expected
        if lengths not in self._lengths:
            self._lengths.append(lengths)
        return self._lengths.index(lengths)


def alone(at: World, replicas: int) -> World:
    """Return a world in which the baseline fleet serves everything, with so many replicas."""
    fleet = at.baseline.fleet
    bounds = fleet.replicas
    sized = Replicas(replicas, replicas, bounds.concurrency_each, bounds.scale_out_at)
    catalogue = replace(at.catalogue, fleets=(replace(fleet, replicas=sized),))
    return world(one_rule(at.policy, "baseline-alone", (frozenset({fleet.id}),)), catalogue)


def only(catalogue: Catalogue, fleets: frozenset[str]) -> Catalogue:
    """Return the catalogue of these fleets alone."""
    return replace(catalogue, fleets=tuple(f for f in catalogue.fleets if f.id in fleets))


def one_rule(policy: Policy, name: str, use: tuple[frozenset[str], ...]) -> Policy:
    """Return a policy that sends everything there, without objectives, floors or budgets."""
    anything = free(policy.defaults)
    return Policy(name, name, policy.baseline, anything, (Rule("all", (), use, anything),))


def free(settings: Settings) -> Settings:
    """Return the settings without what would send a request elsewhere or refuse it."""
    return replace(
        settings,
        minimize="marginal_cost",
        quality_floor=0.0,
        confidence=None,
        slo=Slo(None, None),
        relax=(),
        strict=False,
    )


def anybodys(trace: Trace) -> Trace:
    """Return the trace without wishes and rights: those choose among fleets, here is no choice."""
    return replace(trace, kinds=tuple(unbound(kind) for kind in trace.kinds))


def unbound(kind: Facts) -> Facts:
    return replace(
        kind,
        requested_model="auto",
        max_usd=None,
        slo_ttft_ms=None,
        lanes=None,
        models=None,
        downgraded=(),
    )
