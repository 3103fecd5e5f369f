"""Alarms, dashboard and AWS Budgets as the template has them, and what they cost."""

import json

import pytest

from router import emf

DOLLARS = {"metric": 0.10, "composite": 0.50}
FREE_ALARM_METRICS = 10  # of an account
BAND = 3  # metrics that an alarm on ANOMALY_DETECTION_BAND is billed as
OF_WORKERS = {"LedgerViolations", "ObserverLagMs", "FleetsDown", "PricesAgeDays", "BudgetAlerts"}
OURS = "Sluice"
IN_SMALL = {
    "errors", "refusals", "stale-policy", "failed-work", "ledger-invariant", "observer-silent",
    "profile-drift", "api-5xx",
}  # fmt: skip
IN_PROD = IN_SMALL | {
    "error-budget-fast", "error-budget-fast-60m", "error-budget-fast-5m", "error-budget-slow",
    "error-budget-slow-360m", "error-budget-slow-30m", "spend-anomaly", "overrun", "unsettled",
    "receipts-lost", "fleets-down", "old-prices", "ttftms-p95", "e2ems-p95", "lake-late",
    "ledger-throttled",
}  # fmt: skip
PARTS = ("-60m", "-5m", "-360m", "-30m")  # of a composite alarm, which tells for them


def alarms(stacks):
    """Return those with a name, by it without the prefix: the others undo a new version."""
    return {
        alarm["AlarmName"].removeprefix(f"{stacks.prefix}-"): alarm
        for alarm in every(stacks)
        if "AlarmName" in alarm
    }


def every(stacks):
    kinds = ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm")
    return [alarm for kind in kinds for _, alarm in stacks.all(kind)]


def metrics_of(alarm):
    """Return the metrics that an alarm is billed for; None: it is a composite one."""
    if "AlarmRule" in alarm:
        return None
    if "Metrics" not in alarm:
        return 1
    band = any("ANOMALY_DETECTION_BAND" in m.get("Expression", "") for m in alarm["Metrics"])
    return BAND if band else sum("MetricStat" in m for m in alarm["Metrics"])


def test_each_size_has_the_alarms_that_it_should(small, prod):
    assert set(alarms(small)) == IN_SMALL
    assert set(alarms(prod)) == IN_PROD


def test_all_alarms_tell_the_topic_when_they_begin_and_end(stacks):
    for name, alarm in alarms(stacks).items():
        told = alarm.get("AlarmActions", []), alarm.get("OKActions", [])
        if name.endswith(PARTS):
            assert told == ([], []), name
        else:
            topic = [f"arn:aws:sns:us-east-1:{stacks.world['account']}:{stacks.prefix}-alarms"]
            assert told == (topic, topic), name


def test_a_small_stage_has_a_handful_of_alarms_for_cents(small, prod):
    def dollars(stacks):
        billed = [metrics_of(alarm) for alarm in every(stacks)]
        metrics = sum(count for count in billed if count is not None)
        paid = max(0, metrics - FREE_ALARM_METRICS)
        return metrics, billed.count(None) * DOLLARS["composite"] + paid * DOLLARS["metric"]

    assert len(every(small)) <= 10
    assert dollars(small) == (12, pytest.approx(0.2))
    assert dollars(prod) == (32, pytest.approx(3.2))


def test_alarms_watch_metrics_that_somebody_writes(stacks):
    known = set(emf.UNITS) | OF_WORKERS
    for name, alarm in alarms(stacks).items():
        drawn = [m["MetricStat"]["Metric"] for m in alarm.get("Metrics", ()) if "MetricStat" in m]
        for watched in [alarm, *drawn]:
            if watched.get("Namespace") == OURS:
                assert watched["MetricName"] in known, name
                assert [d["Name"] for d in watched["Dimensions"]] == ["stage"], name


def test_silence_rings_where_it_means_that_nobody_looks_and_nowhere_else(stacks):
    breaching = {n for n, a in alarms(stacks).items() if a.get("TreatMissingData") == "breaching"}
    assert breaching == {"observer-silent"}


def test_the_budget_burns_fast_only_if_both_windows_say_so(prod):
    found = alarms(prod)
    rule = found["error-budget-fast"]["AlarmRule"]
    assert "error-budget-fast-60m" in rule
    assert "error-budget-fast-5m" in rule
    assert " AND " in rule
    assert found["error-budget-fast-60m"]["Threshold"] == pytest.approx(14.4 * 0.5)
    assert found["error-budget-slow-360m"]["Threshold"] == pytest.approx(6 * 0.5)


def test_spend_rings_only_upwards(prod):
    alarm = alarms(prod)["spend-anomaly"]
    assert alarm["ComparisonOperator"] == "GreaterThanUpperThreshold"
    assert any(
        m.get("MetricStat", {}).get("Metric", {}).get("MetricName") == "UsdCharged"
        for m in alarm["Metrics"]
    )


def board(stacks):
    ((_, found),) = stacks.all("AWS::CloudWatch::Dashboard")
    return found["DashboardBody"]


def test_a_small_stage_pays_for_no_dashboard(small):
    assert small.all("AWS::CloudWatch::Dashboard") == []


def test_there_is_one_dashboard_of_all_that_matters(prod):
    text = board(prod)
    for name in ("UsdCharged", "UsdSaved", "TtftMs", "E2eMs", "Requests", "FleetsDown", "Errors"):
        assert name in text
    assert '"p50"' in text
    assert '"p95"' in text


def test_a_dashboard_is_a_free_one_with_at_most_fifty_metrics(prod):
    drawn = sum(
        len(widget["properties"].get("metrics", ()))
        for widget in json.loads(board(prod))["widgets"]
    )
    assert 0 < drawn <= 50


def test_fleets_are_drawn_one_by_one(prod):
    assert "scout-inf2" in board(prod)


def test_aws_budgets_watches_what_carries_the_stages_tag(stacks):
    ((_, found),) = stacks.all("AWS::Budgets::Budget")
    budget = found["Budget"]
    stage = stacks.prefix.removeprefix("sluice-")
    assert budget["CostFilters"] == {"TagKeyValue": [f"user:sluice:stage${stage}"]}
    assert budget["BudgetLimit"]["Unit"] == "USD"
    assert budget["BudgetLimit"]["Amount"] in (50, 5000)
    told = found["NotificationsWithSubscribers"]
    assert [n["Notification"]["Threshold"] for n in told] == [80, 100, 100]
    for notification in told:
        (subscriber,) = notification["Subscribers"]
        assert subscriber["Address"].endswith(f":{stacks.prefix}-alarms")
