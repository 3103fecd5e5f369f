"""One line of metrics a request, in CloudWatch's embedded metric format: no call, no agent. Pure.

Written by hand: the library that AWS has for it takes 0.12 s to import. A line holds figures and
names of the catalogue, never a caller's text. What is not known of a request is left out.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import orjson

Unit = Literal["Count", "Milliseconds", "None"]
UNITS: Final[Mapping[str, Unit]] = {
    "Requests": "Count",
    "Refusals": "Count",
    "Errors": "Count",
    "TtftMs": "Milliseconds",
    "E2eMs": "Milliseconds",
    "UsdCharged": "None",
    "UsdSaved": "None",
    "Overrun": "Count",
    "Unsettled": "Count",
    "ReceiptsLost": "Count",
    "PolicyStale": "None",
    "ProfileWrong": "None",
}
STAGE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
DIMENSIONS: Final = ("stage", "fleet")  # beside the stage: by each figure and fleet one more metric
SERVER_ERROR: Final = 500


@dataclass(slots=True)
class Numbers:
    """What is measured of one request; None is unknown, and `fleet` "" nobody was asked."""

    fleet: str = ""
    ttft_ms: float | None = None
    e2e_ms: float | None = None
    usd: float | None = None
    usd_saved: float | None = None
    overrun: bool = False
    broken: bool = False  # its stream broke off, after a 200
    profile_wrong: bool | None = None


@dataclass(frozen=True, slots=True)
class Process:
    """What is so of the router: settlements and receipts that failed since the last line."""

    unsettled: int = 0
    receipts_lost: int = 0
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Form:
    """`by_fleet`: every figure is counted by fleet too, beside the stage's."""

    namespace: str
    stage: str
    by_fleet: bool = False

    def line(self, at_ms: int, status: int | None, numbers: Numbers, process: Process) -> bytes:
        """Return the line of a request that was answered so (None: its caller left), without end.

        `Refusals` were answered without asking a fleet; `Errors` are answers of 500 and above, and
        streams that broke off.
        """
        refused = status is not None and status >= 400 and not numbers.fleet  # noqa: PLR2004  (4xx)
        failed = numbers.broken or (status is not None and status >= SERVER_ERROR)
        figures: dict[str, float | None] = {
            "Requests": 1,
            "Refusals": int(refused),
            "Errors": int(failed),
            "TtftMs": numbers.ttft_ms,
            "E2eMs": numbers.e2e_ms,
            "UsdCharged": numbers.usd,
            "UsdSaved": numbers.usd_saved,
            "Overrun": int(numbers.overrun),
            "Unsettled": process.unsettled,
            "ReceiptsLost": process.receipts_lost,
            "PolicyStale": int(process.stale),
            "ProfileWrong": None if numbers.profile_wrong is None else int(numbers.profile_wrong),
        }
        known = {name: value for name, value in figures.items() if value is not None}
        dimensions, of = [["stage"]], {"stage": self.stage}
        if self.by_fleet and numbers.fleet:
            dimensions.append(["stage", "fleet"])
            of["fleet"] = numbers.fleet
        directive = {
            "Namespace": self.namespace,
            "Dimensions": dimensions,
            "Metrics": [{"Name": name, "Unit": UNITS[name]} for name in known],
        }
        head = {"_aws": {"Timestamp": at_ms, "CloudWatchMetrics": [directive]}}
        return orjson.dumps(head | of | known)


def form(namespace: str, environment: Mapping[str, str]) -> Form:
    """Return how lines are written, by SLUICE_STAGE and SLUICE_METRIC_DIMENSIONS. ValueError."""
    stage = environment.get("SLUICE_STAGE", "")
    if not STAGE.fullmatch(stage):
        raise ValueError(
            f"`--metrics emf:{namespace}` counts by stage: set SLUICE_STAGE (1 to 64 letters, "
            "digits, `_`, `.` and `-`)"
        )
    asked = environment.get("SLUICE_METRIC_DIMENSIONS", "stage")
    if asked not in DIMENSIONS:
        raise ValueError(
            f"SLUICE_METRIC_DIMENSIONS `{asked[:60]}` is none (valid: {', '.join(DIMENSIONS)})"
        )
    return Form(namespace, stage, by_fleet=asked == "fleet")
