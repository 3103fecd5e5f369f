"""A report as the JSON of ``sluice ledger report --json``: exact decimals in USD. Pure."""

from collections.abc import Mapping
from typing import Any

import orjson

from router.finops.fleet_bill import FleetBill
from router.finops.money import usd_text
from router.finops.period import Period
from router.finops.report import Report, Totals
from router.finops.tally import Sums

Json = dict[str, Any]


def report_json(found: Report, over: Period, baselines: tuple[str, ...]) -> Json:
    """`usd...` are numbers with 9 decimals, null where nothing is known; `baseline` is null where
    policies of the period state several, or none is known.
    """
    billed = [fleet for fleet in found.fleets if fleet.bill is not None]
    return {
        "by": found.by,
        "from": over.start,
        "to": over.end,
        "baseline": baselines[0] if len(baselines) == 1 else None,
        "baselines": list(baselines),
        "rows": [{found.by: value, **sums_json(sums)} for value, sums in found.rows],
        "idle": [{"fleet": fleet.fleet, "usd": _usd(fleet.idle)} for fleet in billed],
        "variance": [{"fleet": fleet.fleet, "usd": _usd(fleet.variance)} for fleet in billed],
        "fleets": [_fleet(fleet) for fleet in found.fleets],
        "totals": totals_json(found.totals),
    }


def sums_json(sums: Sums) -> Json:
    return {
        "requests": sums.requests,
        "usd": _usd(sums.nano),
        "usd_marginal": _usd(sums.marginal) if sums.marginal_known else None,
        "usd_router": _usd(sums.router),
        "usd_baseline": _usd(sums.baseline) if sums.baseline_known else None,
        "usd_saved": _usd(sums.saved),
        "marginal_unknown": sums.marginal_unknown,
        "baseline_unknown": {"requests": sums.baseline_unknown, "usd": _usd(sums.unmatched)},
        "usd_emulated": _usd(sums.emulated),
    }


def totals_json(totals: Totals) -> Json:
    known: Mapping[str, int | None] = {
        "usd_idle": totals.idle,
        "usd_variance": totals.variance,
        "usd_bill": totals.bill if totals.idle is not None else None,
        "usd_without_bill": totals.without_bill,
        "usd_saved_net": totals.saved_net,
    }
    return {**sums_json(totals.sums), **{name: _usd(nano) for name, nano in known.items()}}


def _fleet(fleet: FleetBill) -> Json:
    return {
        "fleet": fleet.fleet,
        "emulated": fleet.emulated,
        "usd_bill": _usd(fleet.bill),
        "usd_allocated": _usd(fleet.allocated),
        "usd_busy": _usd(fleet.busy),
        "usd_idle": _usd(fleet.idle),
        "usd_variance": _usd(fleet.variance),
        "usd_bill_assumed": None if fleet.bill is None else _usd(fleet.assumed),
        "usd_busy_unknown": _usd(fleet.busy_unknown),
    }


def _usd(nano: int | None) -> orjson.Fragment | None:
    return None if nano is None else orjson.Fragment(usd_text(nano))
