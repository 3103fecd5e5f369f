"""What shadow judging would call for a sample, where, and at what most: decided, not sent. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from backends.cost import RateCard
from backends.fleet_model import FleetModel
from backends.load import Load
from backends.quality import rests_on_p_small
from policies.model import Facts, Rule, Shadow
from policies.shadow import shadow_policy
from router.budgets import worst_nano_of
from router.decide import Decision, decide
from router.features import read
from router.judging import GROWS, VERDICT_TOKENS, judge_body
from router.sampling import ANSWER_BYTES, asked_again, facts_again
from router.wire import ChatRequest
from router.world import World

FREE: Final = RateCard(0, 0, 0)  # the baseline alone would make none of these calls


class LeftOut(Exception):  # noqa: N818  (it reads as what happened)
    """The sample becomes no label; `outcome` says why."""

    def __init__(self, outcome: str) -> None:
        super().__init__(outcome)
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class Sample:
    """A small model's answer, and what it answered by which rule of `world`."""

    request_id: str
    world: World = field(repr=False)
    shadow: Shadow
    request: ChatRequest = field(repr=False)
    facts: Facts = field(repr=False)
    rule: Rule = field(repr=False)
    model: str
    fleet: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Planned:
    """A call that may be made, and the most it may cost. `world` has the policy that it obeys."""

    role: str
    request: ChatRequest = field(repr=False)
    world: World = field(repr=False)
    decision: Decision = field(repr=False)
    worst_nano: int


def plan_strong(sample: Sample, loads: Sequence[Load], at: str) -> Planned:
    """Plan to ask the baseline's model the same. Raises LeftOut if no fleet of it may be asked."""
    facts = facts_again(sample.facts, sample.request_id, "strong", at)
    model, _ = sample.world.policy.baseline
    return _planned(sample, "strong", model, asked_again(sample.request), facts, loads)


def plan_judge(sample: Sample, strong: str | None, loads: Sequence[Load], at: str) -> Planned:
    """Plan to have both answers judged; None: the strong one isn't there yet, and its bytes count
    in full in what the call may cost. Raises LeftOut as `plan_strong` does.
    """
    model = sample.shadow.judge
    facts = facts_again(sample.facts, sample.request_id, "judge", at)
    body = judge_body(
        sample.request_id,
        facts.language,
        sample.request.body["messages"],
        sample.text,
        strong or "",
        as_json="json" in sample.world.catalogue.models[model].abilities,
    )
    features = read(body).features
    facts = replace(
        facts,
        tokens_in=features.tokens_in,
        tokens_in_bound=features.tokens_bound
        + (int(GROWS * ANSWER_BYTES) if strong is None else 0),
        tokens_out=VERDICT_TOKENS,
        max_tokens=VERDICT_TOKENS,
        needs=features.needs,
    )
    request = ChatRequest(
        {"model": model, **body},
        model,
        stream=False,
        max_tokens=VERDICT_TOKENS,
        n=1,
        usage_asked=False,
    )
    return _planned(sample, "judge", model, request, facts, loads)


def _planned(
    sample: Sample,
    role: str,
    model: str,
    request: ChatRequest,
    facts: Facts,
    loads: Sequence[Load],
) -> Planned:
    """Decide among the model's fleets, under the hard limits of the sample's own rule."""
    world = sample.world
    fleets = [on for on in world.fleets if on.fleet.model.id == model]
    able = [on for on in fleets if not _rests_on_p_small(on, world.baseline, facts.task)]
    real = [on for on in able if not on.fleet.emulated]  # an emulated one runs no model
    priced = [on for on in real if on.card is not None]
    if not priced:
        raise LeftOut("no_price" if real else "emulated" if able else "infeasible")
    own = shadow_policy(
        world.policy, sample.rule, [on.fleet.id for on in priced], judging=role == "judge"
    )
    world = replace(world, policy=own, baseline=replace(world.baseline, card=FREE))
    decision = decide(world, facts, loads)
    if not decision.plan.attempts:
        raise LeftOut("infeasible")
    (attempt,) = decision.plan.attempts
    # The judge's fleet is chosen anew once the strong answer is there: any of them may take it.
    among = priced if role == "judge" else [attempt.candidate.on]
    worst = [worst_nano_of(on, facts, attempt.max_tokens) for on in among]
    worst_nano = max(nano for nano in worst if nano is not None)  # they are priced, all of them
    return Planned(role, request, world, decision, worst_nano)


def _rests_on_p_small(on: FleetModel, baseline: FleetModel, task: str) -> bool:
    in_lane = on.fleet.lane == baseline.fleet.lane
    tables = on.fleet.model.quality, baseline.fleet.model.quality
    return rests_on_p_small(*tables, task, in_baseline_lane=in_lane)
