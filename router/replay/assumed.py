"""What a replay takes for granted, in words for its report. Pure."""

from collections.abc import Iterator, Sequence

from backends.catalogue import Fleet
from backends.scaling import OUT_AFTER_S, QUARTER_S
from policies.model import Policy
from router.replay.outcome import Settings
from router.replay.service import UNMEASURED_MS
from router.world import World


def assumptions(world: World, settings: Settings) -> tuple[str, ...]:
    """Return what was assumed of these fleets and this policy."""
    fleets = world.catalogue.fleets
    return (*_of_policy(world.policy), *_of_fleets(fleets), *_of_settings(world, settings))


def _of_policy(policy: Policy) -> Iterator[str]:
    yield (
        "every request is a stream: its first token has `ttft_timeout_ms`, the whole "
        "`deadline_ms`; one that is late is not tried elsewhere, and charged for what was made"
    )
    yield "profiles hold: no correction is learnt, no fleet fails, no prompt is cached"
    if any(rule.accept_if for rule in policy.rules):
        yield (
            "a cascade keeps the answers that the trace calls acceptable, and of those of which it "
            "says nothing the share `p_small`"
        )
    if any(rule.hedge is not None for rule in policy.rules):
        yield "hedges are not sent: nobody is late but by load"
    if policy.rate_limits:
        yield "rate limits don't bind"
    if policy.shadow is not None:
        yield "no answer is judged in shadow"
    if policy.canary is not None:
        other, own = policy.canary.policy, policy.name
        yield f"its canary `{other}` is not replayed: policy `{own}` decides all"


def _of_fleets(fleets: Sequence[Fleet]) -> Iterator[str]:
    blind = [f.id for f in fleets if f.profile is None]
    if blind:
        ttft_ms, itl_ms = UNMEASURED_MS
        yield f"{_named(blind)}: no profile, so {ttft_ms:g} ms to the first token, {itl_ms:g} each"
    slow = [f.id for f in fleets if f.profile is not None and f.profile.surface.law is None]
    if slow:
        yield f"{_named(slow)}: no time of a prompt, so {UNMEASURED_MS[0]:g} ms"
    hosted = [f.id for f in fleets if f.price is None and f.fallback_usd_per_mtok is not None]
    if hosted:
        yield f"{_named(hosted)}: no price by the hour, so the bill is what requests are charged"
    unpriced = [f.id for f in fleets if f.price is None and f.fallback_usd_per_mtok is None]
    if unpriced:
        yield f"{_named(unpriced)}: no price, so the bill is unknown"
    shrink = [f.id for f in fleets if f.replicas.max > f.replicas.min]
    if shrink:
        yield (
            f"{_named(shrink)}: a replica that goes takes nothing new and is paid until its last "
            "answer; ECS keeps its machine a quarter of an hour longer, which is not counted"
        )
    follow = [f.id for f in fleets if f.replicas.max > f.replicas.min and f.runs is None]
    if follow:
        yield (
            f"{_named(follow)}: it isn't said where it runs, so it grows as on ECS, after "
            f"{OUT_AFTER_S} s above its target, and shrinks after {QUARTER_S} s below it"
        )


def _of_settings(world: World, settings: Settings) -> Iterator[str]:
    many = f"{settings.queue:,} request{'' if settings.queue == 1 else 's'}"
    yield (
        f"{many} may wait in the router, {settings.queue_s:g} s each; fleets "
        f"are looked at every {settings.look_s:g} s; seed {settings.seed}"
    )
    spot = [
        fleet.id
        for fleet in world.catalogue.fleets
        if any(tranche.option == "spot" for tranche in fleet.tariff.tranches)
    ]
    if spot:
        rate = settings.spot_interruptions_per_hour
        yield f"{_named(spot)}: a Spot replica is interrupted {rate:g} times an hour"
    if world.policy.budgets and not settings.budgets:
        yield "budgets don't bind"


def _named(fleets: Sequence[str]) -> str:
    return ", ".join(f"`{fleet}`" for fleet in fleets)
