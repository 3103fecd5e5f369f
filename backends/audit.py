"""Every figure that costs are computed from, held against what must be true of it. Pure.

cost           a stated cost against price / throughput of its own row: within 5 %
little         tokens/s no more than concurrency / ITL (Little's law), 10 % allowed
e2e            end-to-end no less than TTFT + (n - 1) x ITL, 5 % allowed
monotone       more streams never make fewer tokens/s, 2 % allowed
price_age      a warning: the price is older than the limit, or has no date
extrapolation  a warning: a fleet is used beyond what was measured
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import groupby, pairwise
from typing import Any, Literal

from backends import cost
from backends.catalogue import Fleet
from backends.library import Library
from backends.prices import Price
from backends.profiles import Profile

Check = Literal["cost", "little", "e2e", "monotone", "price_age", "extrapolation"]
CHECKS: tuple[Check, ...] = ("cost", "little", "e2e", "monotone", "price_age", "extrapolation")
COST_SLACK = 0.05
LITTLE_SLACK = 1.1
E2E_SLACK = 0.95
DIP = 0.98
MAX_PRICE_AGE_DAYS = 180

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of one point or profile. `warning`: it holds, but for how long or how far?

    `stated`, `derived`: the two figures compared (USD, tokens/s, ms or days); None: unknown.
    """

    profile: str
    source: str
    check: Check
    ok: bool
    stated: float | None
    derived: float | None
    note: str
    warning: bool = False


def audit(
    shelf: Library,
    fleets: Iterable[Fleet],
    today: date,
    max_price_age_days: int = MAX_PRICE_AGE_DAYS,
) -> list[Finding]:
    """Audit every profile, with the prices and fleets that use it."""
    using: dict[str, list[Fleet]] = {}
    for fleet in fleets:
        if fleet.profile is not None:
            using.setdefault(fleet.profile.id, []).append(fleet)
    found: list[Finding] = []
    for name, profile in shelf.profiles.items():
        row = shelf.profile_rows[name]
        price = _price(shelf, row, using.get(name, ()))
        found += _cost(profile, row, price)
        found += _little(profile, row)
        found += _e2e(profile, row)
        found += _monotone(profile, row)
        found += _price_age(profile, using.get(name, ()), price, today, max_price_age_days)
        found += _extrapolation(profile, using.get(name, ()))
    return found


def _price(shelf: Library, row: Row, fleets: Iterable[Fleet]) -> Price | None:
    """Return the on-demand price of the profile's instance where it was measured or is used."""
    regions = [row["region"]] if "region" in row else []
    regions += [fleet.region for fleet in fleets]
    regions += [region for instance, region, _ in shelf.prices.rows if instance == row["instance"]]
    for region in regions:
        price = shelf.prices.find(row["instance"], region, "on_demand")
        if price is not None:
            return price
    return None


# -- stated costs ----------------------------------------------------------------------------------


def _cost(profile: Profile, row: Row, price: Price | None) -> Iterator[Finding]:
    stated = row.get("stated", {})
    for key, derive in (
        ("usd_per_mtok_out", _derived_per_mtok),
        ("usd_per_request", _derived_per_request),
    ):
        if key not in stated:
            continue
        says = stated[key]
        if price is None:
            note = f"no price of {row['instance']} in the price book: it can't be checked"
            yield Finding(profile.id, profile.source, "cost", True, says, None, note, warning=True)
            continue
        derived = derive(profile, row, price.usd_per_hour)
        if derived is None:
            note = "no end-to-end time and no lengths: it can't be checked"
            yield Finding(profile.id, profile.source, "cost", True, says, None, note, warning=True)
            continue
        off = says / derived - 1
        ok = abs(off) <= COST_SLACK
        note = f"{off:+.1%} off at ${price.usd_per_hour:g}/h"
        if not ok:
            factor = derived / says
            note = f"derived is {factor:.2f} times the stated at ${price.usd_per_hour:g}/h"
            if key == "usd_per_mtok_out":
                note += "; " + _would_hold(row, price.usd_per_hour, says)
        yield Finding(profile.id, profile.source, "cost", ok, says, derived, note)


def _derived_per_mtok(_profile: Profile, row: Row, usd_per_hour: float) -> float | None:
    """Return USD per 1M output tokens at the throughput of the first row, decode only."""
    point = row["points"][0]
    return cost.usd_per_mtok_out(usd_per_hour, point.get("tok_s") or point["mix_tok_s"])


def _derived_per_request(profile: Profile, row: Row, usd_per_hour: float) -> float | None:
    """Return USD of one request: its stated time x price, else the model's box_seconds x price."""
    e2e_ms = row["stated"].get("e2e_ms")
    if e2e_ms is not None and _at(row["points"][0]) <= 1:
        return cost.usd(usd_per_hour, e2e_ms / 1000)
    if "tokens_in" not in row or "tokens_out" not in row:
        return None
    speed = profile.speed(profile.points[0].concurrency)
    seconds = cost.box_seconds(row["tokens_in"], row["tokens_out"], speed.input_weight, speed.tok_s)
    return cost.usd(usd_per_hour, seconds)


def _would_hold(row: Row, usd_per_hour: float, says: float) -> str:
    """Say which throughput a stated cost needs, and where the table (straight lines) reaches it."""
    needed = usd_per_hour / 3600 / says * cost.PER_MTOK
    said = f"it needs {needed:,.0f} tok/s"
    curve = sorted((_at(point), point["tok_s"]) for point in row["points"] if "tok_s" in point)
    if not curve or needed > max(tok_s for _, tok_s in curve):
        return f"{said}, never reached (most: {max((t for _, t in curve), default=0):,.0f})"
    if needed <= curve[0][1]:
        return f"{said}, reached at concurrency {curve[0][0] * needed / curve[0][1]:.1f}"
    (low_at, low), (high_at, high) = next(
        (a, b) for a, b in pairwise(curve) if a[1] < needed <= b[1]
    )
    share = (needed - low) / (high - low)
    return f"{said}, reached at concurrency {low_at + share * (high_at - low_at):.1f}"


# -- laws ------------------------------------------------------------------------------------------


def _little(profile: Profile, row: Row) -> Iterator[Finding]:
    for point in _as_stated(row):
        itl_ms, how = _p50(point.get("itl_ms")), "ITL"
        if itl_ms is None:
            itl_ms, how = _itl_left(point, row), "the time after the prompt leaves an ITL of"
        if itl_ms is None:
            continue
        tok_s = point.get("tok_s") or point["mix_tok_s"]
        most = 1000 * _at(point) / itl_ms
        ok = tok_s <= most * LITTLE_SLACK
        note = f"{_where(point)}: {how} {itl_ms:.3g} ms, which allows {most:,.4g} tok/s"
        if not ok:
            streams = tok_s * itl_ms / 1000
            note += f", {tok_s:,.0f} need {streams:.1f} streams"
        yield Finding(profile.id, profile.source, "little", ok, tok_s, most, note)


def _e2e(profile: Profile, row: Row) -> Iterator[Finding]:
    for point in _as_stated(row):
        e2e_ms = _p50(point.get("e2e_ms"))
        tokens_out = point.get("tokens_out", row.get("tokens_out"))
        itl_ms = _p50(point.get("itl_ms"))
        if itl_ms is None and "tok_s" in point and _at(point) <= 1:
            itl_ms = 1000 * _at(point) / point["tok_s"]
        ttft_ms = _ttft_ms(point, row)
        if e2e_ms is None or tokens_out is None or itl_ms is None or ttft_ms is None:
            continue
        least = ttft_ms + (tokens_out - 1) * itl_ms
        ok = e2e_ms >= least * E2E_SLACK
        note = f"{_where(point)}: TTFT {ttft_ms:,.0f} ms + {tokens_out - 1:g} x ITL {itl_ms:.3g} ms"
        yield Finding(profile.id, profile.source, "e2e", ok, e2e_ms, least, note)


def _ttft_ms(point: Row, row: Row) -> float | None:
    """Return the TTFT, else what the prefill rate lets expect."""
    ttft_ms = _p50(point.get("ttft_ms"))
    tokens_in = point.get("tokens_in", row.get("tokens_in"))
    prefill = point.get("prefill_tok_s", row.get("prefill_tok_s"))
    if ttft_ms is None and tokens_in is not None and prefill is not None:
        return float(1000 * tokens_in / prefill)
    return ttft_ms


def _itl_left(point: Row, row: Row) -> float | None:
    """Return the ITL that end-to-end time leaves after the prompt."""
    e2e_ms, ttft_ms = _p50(point.get("e2e_ms")), _ttft_ms(point, row)
    tokens_out = point.get("tokens_out", row.get("tokens_out"))
    if e2e_ms is None or ttft_ms is None or tokens_out is None or tokens_out <= 1:
        return None
    left = (e2e_ms - ttft_ms) / (tokens_out - 1)
    return left if left > 0 else None


def _monotone(profile: Profile, row: Row) -> Iterator[Finding]:
    def lengths(point: Row) -> tuple[float, float, bool]:
        tokens_in = point.get("tokens_in", row.get("tokens_in", 0))
        return tokens_in, point.get("tokens_out", row.get("tokens_out", 0)), "tok_s" in point

    points = sorted(row["points"], key=lambda point: (*lengths(point), _at(point)))
    for _, group in groupby(points, key=lengths):
        same = list(group)
        for low, high in pairwise(same):
            before, after = (p.get("tok_s") or p["mix_tok_s"] for p in (low, high))
            ok = after >= before * DIP
            note = f"{_where(low)} to {_at(high):g}: {before:,.4g} to {after:,.4g} tok/s"
            yield Finding(profile.id, profile.source, "monotone", ok, after, before, note)


# -- warnings --------------------------------------------------------------------------------------


def _price_age(
    profile: Profile, fleets: Iterable[Fleet], listed: Price | None, today: date, limit: int
) -> Iterator[Finding]:
    """Age every price that the profile is turned into money by: its fleets', else the listed."""
    used: dict[Price, str] = {}
    for fleet in fleets:
        for tranche in fleet.tariff.tranches:
            if tranche.price is not None:
                used[tranche.price] = f"fleet {fleet.id}: "
                continue
            note = f"fleet {fleet.id}: no {tranche.option} price of {fleet.instance} in "
            yield _warning(profile, profile.source, note + fleet.region)
    if not used and listed is not None:
        used[listed] = ""
    for price, whose in used.items():
        note = f"{whose}${price.usd_per_hour:g}/h"
        if not price.as_of:
            yield _warning(profile, price.source, f"{note} has no date ({price.source})")
            continue
        age = (today - date.fromisoformat(price.as_of)).days
        note = f"{note} is {age} days old, {limit} allowed"
        yield Finding(
            profile.id,
            price.source,
            "price_age",
            True,
            float(age),
            float(limit),
            note,
            warning=age > limit,
        )


def _warning(profile: Profile, source: str, note: str) -> Finding:
    return Finding(profile.id, source, "price_age", True, None, None, note, warning=True)


def _extrapolation(profile: Profile, fleets: Iterable[Fleet]) -> Iterator[Finding]:
    highest = profile.surface.levels[-1][0]
    for fleet in fleets:
        wanted = fleet.replicas.concurrency_each
        beyond = wanted > highest + 1
        note = f"fleet {fleet.id}: {wanted} streams a replica, measured up to {highest:g}"
        if beyond and len(profile.surface.levels) == 1:
            note += "; throughput beyond is assumed to stay the same"
        elif beyond:
            note += "; the rest is taken to wait"
        yield Finding(
            profile.id,
            profile.source,
            "extrapolation",
            True,
            float(wanted),
            highest,
            note,
            warning=beyond,
        )


# -- points as the source has them -----------------------------------------------------------------


def _as_stated(row: Row) -> Iterator[Row]:
    """Return the points; figures beside them are those of the first one."""
    stated = row.get("stated", {})
    for i, point in enumerate(row["points"]):
        beside = {}
        if i == 0:
            beside = {key: row[key] for key in ("itl_ms", "ttft_ms") if key in row}
            if "e2e_ms" in stated:
                beside["e2e_ms"] = stated["e2e_ms"]
        yield {**beside, **point}


def _at(point: Row) -> float:
    return float(point.get("concurrency") or point["column"])


def _where(point: Row) -> str:
    return f"concurrency {_at(point):g}"


def _p50(latency: float | Mapping[str, float] | None) -> float | None:
    if isinstance(latency, Mapping):
        return latency.get("p50", latency.get("mean"))
    return latency
