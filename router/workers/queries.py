"""Saved queries of the lake, in Athena's SQL; each names the tables without their database.

All take the days from DAYS ago on, of the rows that came since, and leave out what was emulated.
Firehose delivers at least once: of rows that agree in what makes them the same
(router.workers.columns.UNIQUE) one counts. Money is in USD; what is unknown is null, never 0.
"""

# ruff: noqa: S608 (every part of these texts is ours)

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from router.workers.columns import FIRST, PARTITION, TABLE, UNIQUE

DAYS: Final = 31
_FROM = f"date_format(current_date - interval '{DAYS}' day, '%Y-%m-%d')"


def _once(table: str, at: str) -> str:
    """Return a query of the table's rows since then, each once; `at` dates them."""
    return f"""SELECT * FROM (
    SELECT *, row_number() OVER (
      PARTITION BY {", ".join(UNIQUE[table])} ORDER BY {FIRST[table]}
    ) AS delivery
    FROM {table}
    WHERE {PARTITION} >= {_FROM} AND {TABLE} = '{table}' AND "{at}" >= {_FROM} AND NOT emulated
  ) WHERE delivery = 1"""


_CHARGES = f"""charges AS (
  {_once("entries", "at")}
)"""
# A request as a whole: the attempts that it was charged for, and what took an expired one back.
_REQUESTS = f"""{_CHARGES}, requests AS (
  SELECT
    request_id,
    substr(min("at"), 1, 10) AS charged_on,
    min(tenant) AS tenant,
    min(team) AS team,
    sum(nano) AS nano,
    sum(nano_router) AS nano_router,
    sum(nano_baseline) AS nano_baseline,
    sum(tokens_in) AS tokens_in,
    sum(tokens_out) AS tokens_out
  FROM charges
  GROUP BY request_id
)"""

SPEND: Final = f"""-- What every team was charged, by day.
WITH {_REQUESTS}
SELECT
  charged_on,
  tenant,
  team,
  count(*) AS requests,
  sum(tokens_in) AS tokens_in,
  sum(tokens_out) AS tokens_out,
  sum(nano) / 1e9 AS usd,
  sum(nano_router) / 1e9 AS usd_router
FROM requests
GROUP BY charged_on, tenant, team
ORDER BY charged_on, usd DESC
"""

SAVINGS: Final = f"""-- What the requests would have cost on the baseline fleet alone, by day.
-- usd_saved leaves out the requests whose baseline is unknown (without_baseline).
WITH {_REQUESTS}
SELECT
  charged_on,
  count(*) AS requests,
  count_if(nano_baseline IS NULL) AS without_baseline,
  sum(nano) / 1e9 AS usd,
  sum(nano_router) / 1e9 AS usd_router,
  sum(nano_baseline) / 1e9 AS usd_baseline,
  sum(CASE WHEN nano_baseline IS NOT NULL THEN nano_baseline - nano - nano_router END) / 1e9
    AS usd_saved
FROM requests
GROUP BY charged_on
ORDER BY charged_on
"""

OUTCOMES: Final = f"""-- How the attempts on every fleet ended, and their time there, by day.
-- Attempts whose router was killed stand as `lost`; what corrected one of them is no attempt.
WITH {_CHARGES}
SELECT
  substr("at", 1, 10) AS charged_on,
  fleet,
  model,
  count(*) AS attempts,
  count_if(outcome = 'ok') AS ok,
  count_if(outcome = 'client_closed') AS client_closed,
  count_if(outcome NOT IN ('ok', 'client_closed')) AS failed,
  1e2 * count_if(outcome = 'ok') / count(*) AS ok_percent,
  approx_percentile(service_ms, 0.5) FILTER (WHERE outcome = 'ok') AS service_p50_ms,
  approx_percentile(service_ms, 0.95) FILTER (WHERE outcome = 'ok') AS service_p95_ms,
  sum(overrun_nano) / 1e9 AS usd_overrun
FROM charges
WHERE kind <> 'correction'
GROUP BY substr("at", 1, 10), fleet, model
ORDER BY charged_on, fleet
"""

BILL: Final = f"""-- What every fleet cost by day: busy, idle, and how much of it was observed.
-- Of one minute the observed time goes first; what was assumed fills only the rest of it.
WITH {_CHARGES}, minutes AS (
  {_once("fleet_time", "minute")}
), seconds AS (
  SELECT
    fleet,
    substr("minute", 1, 10) AS spent_on,
    source,
    replicas,
    nano_hour,
    CASE
      WHEN source = 'observed' THEN seconds
      ELSE greatest(0e0, seconds - coalesce(
        sum(CASE WHEN source = 'observed' THEN seconds END) OVER (PARTITION BY fleet, "minute"),
        0e0))
    END AS seconds
  FROM minutes
), bill AS (
  SELECT
    fleet,
    spent_on,
    sum(seconds * replicas * nano_hour) / 3600e9 AS usd_bill,
    sum(CASE WHEN source = 'observed' THEN seconds * replicas * nano_hour ELSE 0e0 END) / 3600e9
      AS usd_observed
  FROM seconds
  GROUP BY fleet, spent_on
), busy AS (
  SELECT
    fleet,
    substr("at", 1, 10) AS spent_on,
    sum(coalesce(service_ms * nano_hour / nullif(capacity, 0) / 36e5, nano)) / 1e9 AS usd_busy,
    sum(nano) / 1e9 AS usd_allocated
  FROM charges
  GROUP BY fleet, substr("at", 1, 10)
)
SELECT
  bill.spent_on,
  bill.fleet,
  bill.usd_bill,
  bill.usd_observed,
  coalesce(busy.usd_busy, 0e0) AS usd_busy,
  bill.usd_bill - coalesce(busy.usd_busy, 0e0) AS usd_idle,
  coalesce(busy.usd_allocated, 0e0) AS usd_allocated,
  coalesce(busy.usd_busy, 0e0) - coalesce(busy.usd_allocated, 0e0) AS usd_variance
FROM bill
LEFT JOIN busy ON busy.fleet = bill.fleet AND busy.spent_on = bill.spent_on
ORDER BY bill.spent_on, bill.usd_bill DESC
"""

QUERIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "spend-by-team-and-day": SPEND,
        "savings-against-the-baseline": SAVINGS,
        "outcomes-by-fleet": OUTCOMES,
        "bill-and-idle-by-fleet": BILL,
    }
)
"""By name; the first line of each, a comment, says what it tells."""
