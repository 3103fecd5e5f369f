"""What ``sluice plan`` does, from the files it is given to the report."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import yaml

from backends import files, parse
from backends.catalogue import Catalogue
from backends.parse import Source
from policies.model import Policy
from policies.parse import parse as parse_policy
from router.beside import text_of
from router.cli.errors import INVALID, Ends
from router.cli.table import counted
from router.plan.making import Maker
from router.plan.offers import Market, market
from router.plan.planned import planned_fleets, routing_policy
from router.plan.problem import Problem
from router.plan.program import Limits, Solver
from router.plan.report import ASSUMED, Reported, as_json
from router.plan.shadow import shadow_prices
from router.plan.slo import Slo
from router.plan.solve import Plan, solve
from router.plan.values import Terms, values
from router.plan.verify import Classes, Played, Round, best, play, verified
from router.plan.warned import warnings_of
from router.plan.why_not import Lack, lacks
from router.replay.outcome import Settings
from router.replay.shadow_prices import WEEK_HOURS, ShadowPrices
from router.sources import names_of
from router.traces.mix import Mix
from router.traces.opening import open_trace
from router.traces.trace import Trace
from router.traces.window import WHOLE, Window
from router.world import World, world
from yamlfile import suggest

PLAN, VALUE = Limits(), Limits(nodes=5_000)


@dataclass(frozen=True, slots=True)
class Asked:
    """The command's arguments."""

    trace: str
    slo: Slo
    fleets: Path | None
    policy: Path | None
    state: Path
    router_on: str
    floor: float | None
    only: tuple[str, ...]
    from_zero: bool
    busy: float
    interruptions: float
    simple_share: float
    seed: int
    window: Window = WHOLE

    @property
    def replay(self) -> Settings:
        """Return what the plan is replayed with: what was drawn and assumed for the plan itself."""
        return Settings(seed=self.seed, spot_interruptions_per_hour=self.interruptions)


@dataclass(frozen=True, slots=True)
class Infeasible:
    lacks: tuple[Lack, ...]

    def as_json(self) -> dict[str, Any]:
        rows = [
            {
                "limit": lack.limit,
                "requests": lack.requests,
                "said": lack.said,
                "wanted": lack.wanted,
                "best": lack.best,
                "fleet": lack.fleet,
            }
            for lack in self.lacks
        ]
        return {"infeasible": rows}


@dataclass(frozen=True, slots=True)
class Answer:
    """`fleets`: the catalogue's document."""

    report: Reported
    fleets: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        return as_json(self.report)


def answer(asked: Asked, solver: Solver) -> Answer | Infeasible:
    """Plan, verify by replay, and value each limit; progress goes to standard error."""
    catalogue = files.catalogue(asked.fleets, asked.state, asked.router_on)
    policy = _policy(asked.policy, catalogue)
    trace = open_trace(asked.trace, Mix(simple=asked.simple_share), asked.seed, asked.window)
    if not len(trace):
        raise Ends(f"{asked.trace}: no requests to plan for", INVALID)
    sold = _only(market(catalogue, from_zero=asked.from_zero), asked.only, catalogue)
    maker = Maker(world(policy, catalogue), trace, sold, asked.interruptions)
    terms = Terms(asked.slo, asked.floor, asked.busy)
    _told(f"counting {counted(len(trace), 'request')}")
    problem = maker(terms)
    hours = counted(len(problem.level_of), "hour")
    _told(f"planning {hours}, classes of requests: {len(problem.classes)}")
    plan = solve(problem, solver, PLAN)
    if plan is None:
        return Infeasible(lacks(problem, maker.models, asked.slo, maker.why, solver, PLAN))
    return _verified(asked, Bench(asked, catalogue, policy, trace, maker, solver), plan, terms)


@dataclass(frozen=True, slots=True)
class Bench:
    """What plans of one command are remade and played with."""

    asked: Asked
    catalogue: Catalogue
    policy: Policy
    trace: Trace
    maker: Maker
    solver: Solver

    def world(self, plan: Plan) -> World:
        """Return the plan's fleets under the plan's routes."""
        document = self.fleets(plan)
        text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
        shelf, router = files.library(self.asked.state), self.catalogue.router
        fleets = parse.catalogue(Source("the planned fleets", text), shelf, router)
        return world(routing_policy(self.policy, plan, self.asked.slo, self.asked.floor), fleets)

    def fleets(self, plan: Plan) -> dict[str, Any]:
        return planned_fleets(plan, self.catalogue.compiled, self.policy.baseline[1])

    def play(self, plan: Plan, prices: ShadowPrices | None = None) -> Played:
        _told(f"replaying the plan at ${plan.usd_per_week:,.0f} a week")
        counted = self.maker.demand(self.asked.floor, self.asked.busy)
        classes = Classes(plan.problem.classes, counted.class_of)
        asked = self.asked
        return play(self.world(plan), self.trace, asked.slo, asked.replay, prices, classes)

    def chooses(self, plan: Plan) -> bool:
        """Tell whether a rule of the plan's routes has more than one fleet to go to: where none
        has, no price changes a decision.
        """
        at = self.world(plan)
        return any(
            sum(bool({fleet.id, fleet.lane} & names) for fleet in at.catalogue.fleets) > 1
            for rule in at.policy.rules
            for names in (frozenset().union(*rule.use),)
        )

    def remade(self, problem: Problem, fill: float) -> Plan | None:
        return solve(replace(problem, fill=fill), self.solver, PLAN)


def _verified(asked: Asked, bench: Bench, plan: Plan, terms: Terms) -> Answer:
    rounds, _ = verified(plan, bench.play, lambda fill: bench.remade(plan.problem, fill))
    chosen: Round = best(rounds)
    plan, played = chosen.plan, chosen.played
    assert played is not None  # the first round is played, and the best is one that was
    _told("relaxing each limit by itself")
    fill = plan.problem.fill
    worth = values(
        plan,
        terms,
        bench.maker.floors(asked.floor),
        lambda other: replace(bench.maker(other), fill=fill),
        bench.solver,
        VALUE,
    )
    prices = shadow_prices(plan, bench.solver, PLAN)
    weekly = len(plan.problem.level_of) == WEEK_HOURS
    by_prices = played
    if bench.chooses(plan):
        by_prices = bench.play(plan, ShadowPrices(prices, weekly))
    trace, document = bench.trace, bench.fleets(plan)
    report = Reported(
        trace.name,
        len(trace),
        trace.seconds,
        asked.slo,
        bench.policy.name,
        plan,
        worth,
        prices,
        rounds,
        played,
        by_prices,
        sum(c.requests for c in plan.problem.classes if c.rule < 0),
        (*ASSUMED, *trace.assumptions),
        (*warnings_of(plan, played), *_gone(bench, document), *trace.warnings),
    )
    return Answer(report, document)


def _gone(bench: Bench, document: Mapping[str, Any]) -> list[str]:
    """Tell which of the names that the policy uses the planned catalogue lacks."""
    left = {row["id"] for row in document["fleets"]}
    used = {name for rule in bench.policy.rules for group in rule.use for name in group}
    lanes = {row["lane"] for row in document["fleets"]}
    gone = sorted(used - left - lanes)
    named = ", ".join(f"`{name}`" for name in gone)
    return (
        [f"policy {bench.policy.name} uses {named}, of which the plan has no fleet"] if gone else []
    )


def _policy(path: Path | None, catalogue: Catalogue) -> Policy:
    source = text_of(path)[0] if path else files.packaged("policies", "default.yaml")
    return parse_policy(source.text, source.name, names_of(catalogue))


def _only(sold: Market, names: tuple[str, ...], catalogue: Catalogue) -> Market:
    """Return the market with these fleets alone, if any are named."""
    known = {fleet.id: fleet for fleet in catalogue.fleets}
    for name in names:
        if name not in known:
            raise Ends(f"--only: unknown fleet `{name}` {suggest(name, known)}", INVALID)
    out = {fleet for fleet, _ in sold.left_out}
    for name in names:
        if name in out:
            reason = dict(sold.left_out)[name]
            raise Ends(f"--only: fleet `{name}` can't be planned: {reason}", INVALID)
    units = [u for u in sold.units if not names or not set(names).isdisjoint(u.fleets)]
    if not units:
        reasons = "; ".join(f"{fleet}: {reason}" for fleet, reason in sold.left_out)
        raise Ends(f"no fleet can be planned ({reasons})", INVALID)
    return replace(sold, units=tuple(units))


def _told(said: str) -> None:
    click.echo(f"{said} ...", err=True)
