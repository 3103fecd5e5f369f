"""``POST /v1/feedback``: a caller's word on an answer, joined to what its receipt knew."""

import asyncio
import re
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from backends.quality import rests_on_p_small
from router import receipt_search, wire
from router.errors import Refusal
from router.identity import Key
from router.labels import Given, Labels
from router.request_id import made_ms
from router.world import World

AGE_S: Final = 7 * 86_400.0  # of the oldest request that may still be judged
AHEAD_S: Final = 60.0  # that the clock of the router that gave the id may be ahead
_LABEL: Final = re.compile(r"[a-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Said:
    """A checked feedback."""

    request_id: str
    acceptable: bool
    score: float | None
    label: str | None


@dataclass(frozen=True, slots=True)
class Feedback:
    """Takes feedback, one at a time, so that a flood of it is no flood of reading files.

    `kept_here`: the receipts that it is joined to are in the state folder.
    """

    state: Path
    labels: Labels
    kept_here: bool = True
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def take(self, said: Said, key: Key, world: World, now_s: float, at: str) -> bytes:
        """Keep the label and return what is answered; raise Refusal (400, 404, 409, 501, 503)."""
        if not self.kept_here:
            told = "this router's receipts go elsewhere: feedback can't be joined to them here"
            raise Refusal(501, told, "receipts_elsewhere")
        made = (made_ms(said.request_id) or 0) / 1000
        if not now_s - AGE_S <= made <= now_s + AHEAD_S:
            raise _unknown()
        async with self._one:
            try:
                return await asyncio.to_thread(self._take, said, key, world, made, at)
            except sqlite3.Error:
                told = "the label could not be kept: try again"
                raise Refusal(503, told, "label_not_kept") from None

    def _take(self, said: Said, key: Key, world: World, made_s: float, at: str) -> bytes:
        self._refuse_a_second(said.request_id, key)
        longest_s = max(rule.settings.limits.deadline_ms for rule in world.policy.rules) / 1000
        receipt = receipt_search.find(self.state, said.request_id, made_s, longest_s)
        if receipt is None or receipt["facts"]["key"] != key.id:
            raise _unknown()
        given = _given(said, receipt, world, at)
        if not self.labels.add(given):
            self._refuse_a_second(said.request_id, key)  # another router was quicker
        return orjson.dumps(
            {
                "request_id": given.request_id,
                "at": given.at,
                "task": given.task,
                "model": given.model,
                "fleet": given.fleet,
                "teaches_p_small": given.by_p_small,
            }
        )

    def _refuse_a_second(self, request_id: str, key: Key) -> None:
        first = self.labels.first(request_id)
        if first is None:
            return
        by, at = first
        if by != key.id:
            raise _unknown()
        told = f"this request has its feedback, given at {at}: it counts once"
        raise Refusal(409, told, "already_judged", "request_id", extra={"at": at})


def parse(raw: bytes) -> Said:
    """Return the checked feedback, or raise Refusal(400) naming the field."""
    body = wire.json_object(raw)
    unknown = sorted(body.keys() - FIELDS.keys())
    if unknown:
        known = ", ".join(f"`{name}`" for name in FIELDS)
        raise _wrong(unknown[0][:60], f"unknown field `{unknown[0][:60]}` (known: {known})")
    for name, (fits, wanted, required) in FIELDS.items():
        value = body.get(name)
        if value is None and required:
            raise _wrong(name, f"`{name}` is missing: it must be {wanted}")
        if value is not None and not fits(value):
            raise _wrong(name, f"`{name}` must be {wanted}")
    score = body.get("score")
    score = None if score is None else float(score)
    return Said(body["request_id"], body["acceptable"], score, body.get("label"))


Fits = Callable[[Any], bool]
FIELDS: Mapping[str, tuple[Fits, str, bool]] = {
    "request_id": (lambda v: isinstance(v, str), "the `x-sluice-request-id` of an answer", True),
    "acceptable": (lambda v: isinstance(v, bool), "true or false", True),
    "score": (
        lambda v: isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v <= 1,
        "a number from 0 to 1",
        False,
    ),
    "label": (
        lambda v: isinstance(v, str) and _LABEL.fullmatch(v) is not None,
        "1 to 64 of a-z, 0-9, `_`, `.` and `-`",
        False,
    ),
}
"""Known fields: does a value fit, what would, and must it be there. Null means left out."""


def _given(said: Said, receipt: Mapping[str, Any], world: World, at: str) -> Given:
    """Join what was said to the receipt of an answered request."""
    attempt = receipt["attempts"][-1] if receipt["attempts"] else None
    # A caller who hung up in a stream has seen the beginning of an answer.
    if attempt is None or not (
        attempt["outcome"] == "ok"
        or (attempt["outcome"] == "client_closed" and attempt["ttft_ms"] is not None)
    ):
        raise _wrong("request_id", "no answer was given to that request: there is none to judge")
    facts, fleet = receipt["facts"], attempt["fleet"]
    model = next(c["model"] for c in receipt["candidates"] if c["fleet"] == fleet)
    return Given(
        said.request_id,
        at,
        facts["key"],
        said.acceptable,
        said.score,
        said.label,
        facts["task"],
        float(facts["complexity"]),
        facts["tier"],
        facts["language"],
        facts["tokens_in"],
        float(facts["p_small"]),
        model,
        fleet,
        _by_p_small(world, fleet, model, facts["task"]),
    )


def _by_p_small(world: World, fleet: str, model: str, task: str) -> bool:
    """Tell whether p_small is this fleet's quality now; of one that is gone nobody knows."""
    found = world.catalogue.fleet(fleet)
    if found is None or found.model.id != model:
        return False
    baseline = world.baseline.fleet
    in_lane = found.lane == baseline.lane
    return rests_on_p_small(
        found.model.quality, baseline.model.quality, task, in_baseline_lane=in_lane
    )


def _unknown() -> Refusal:
    told = "no request of this key in the last 7 days has this id"
    return Refusal(404, told, "request_not_found", "request_id")


def _wrong(param: str, message: str) -> Refusal:
    return Refusal(400, message, "invalid_request", param)
