"""The workers as the template has them: when they run, what they follow, where failures go."""

import json

import pytest

FUNCTIONS = ("observer", "sweeper", "prices", "stream", "validator")


def function(stacks, name):
    (found,) = (
        properties
        for _, properties in stacks.all("AWS::Lambda::Function")
        if properties.get("FunctionName") == f"{stacks.prefix}-{name}"
    )
    return found


def mapping(stacks):
    ((_, found),) = stacks.all("AWS::Lambda::EventSourceMapping")
    return found


def queue(stacks):
    ((logical_id, found),) = stacks.all("AWS::SQS::Queue")
    return logical_id, found


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_worker_runs_the_routers_bundle_with_a_log_that_ends(stacks, name):
    found = function(stacks, name)
    assert found["Handler"] == f"router.workers.{name}.handler"
    assert (found["Runtime"], found["Architectures"]) == ("python3.13", ["arm64"])
    assert found["MemorySize"] <= 512
    logs = {log["LogGroupName"]: log for _, log in stacks.all("AWS::Logs::LogGroup")}
    assert found["LoggingConfig"]["LogFormat"] == "JSON"
    assert logs[f"/sluice/{stacks.prefix.removeprefix('sluice-')}/{name}"]["RetentionInDays"] == 30


def test_workers_are_told_where_table_rows_and_topic_are(stacks):
    for name in ("observer", "sweeper", "prices", "stream"):
        told = function(stacks, name)["Environment"]["Variables"]
        assert told["SLUICE_TABLE"] == stacks.prefix
        assert told["SLUICE_ROWS"] == f"{stacks.prefix}-rows"
        assert told["SLUICE_TOPIC"].endswith(f":{stacks.prefix}-alarms")
        assert told["SLUICE_STAGE"] == stacks.prefix.removeprefix("sluice-")


def test_workers_run_when_they_should(stacks):
    schedules = {
        target["Arn"].rpartition("-")[2]: rule["ScheduleExpression"]
        for _, rule in stacks.all("AWS::Events::Rule")
        for target in rule["Targets"]
    }
    assert schedules == {
        "observer": "rate(1 minute)",
        "sweeper": "rate(1 minute)",
        "prices": "rate(1 day)",
    }


def test_a_run_ends_before_the_next_one_begins(stacks):
    assert function(stacks, "observer")["Timeout"] < 60
    assert function(stacks, "sweeper")["Timeout"] < 60


def test_prod_sets_a_place_aside_a_new_account_has_none_to_give(small, prod):
    def reserved(stacks):
        return [function(stacks, name).get("ReservedConcurrentExecutions") for name in FUNCTIONS]

    assert reserved(small) == [None] * 5
    assert reserved(prod) == [1, 1, 1, None, None]


def test_the_stream_is_read_from_its_beginning_and_a_bad_row_is_put_aside(stacks):
    found = mapping(stacks)
    assert found["EventSourceArn"].startswith(
        f"arn:aws:dynamodb:us-east-1:{stacks.world['account']}"
    )
    assert found["StartingPosition"] == "TRIM_HORIZON"
    assert found["BisectBatchOnFunctionError"] is True
    assert found["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert found["MaximumRetryAttempts"] == 5
    kept = found["DestinationConfig"]["OnFailure"]["Destination"]
    assert kept.endswith(f":{stacks.prefix}-failed")


def record(event, pk, **new):
    return {"eventName": event, "dynamodb": {"Keys": {"pk": {"S": pk}}, "NewImage": new}}


def passes(stacks, record):
    patterns = [json.loads(one["Pattern"]) for one in mapping(stacks)["FilterCriteria"]["Filters"]]
    return any(matches(pattern, record) for pattern in patterns)


def matches(pattern, value):
    """Compare as Lambda's filters do, for the words that ours use."""
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(
            name in value and matches(part, value[name]) for name, part in pattern.items()
        )
    return any(_one(word, value) for word in pattern)


def _one(word, value):
    if not isinstance(word, dict):
        return word == value
    ((name, of),) = word.items()
    return {"prefix": lambda: value.startswith(of), "anything-but": lambda: value not in of}[name]()


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (record("INSERT", "E#2026-11-21#3"), True),
        (record("INSERT", "F#2026-11-21"), True),
        (record("MODIFY", "F#2026-11-21"), True),  # more of the minute was seen
        (record("MODIFY", "S#search-team", fired={"S": "[0.5]"}), True),
        (record("MODIFY", "S#search-team", fired={"S": "[]"}), False),
        (record("INSERT", "S#search-team", fired={"S": "[]"}), False),
        (record("INSERT", "R#1"), False),
        (record("MODIFY", "LOAD"), False),
        (record("INSERT", "DAYS#E"), False),
        (record("REMOVE", "E#2026-11-21#3"), False),
    ],
)
def test_the_function_is_called_for_rows_and_alerts_alone(small, change, wanted):
    assert passes(small, change) is wanted


def test_what_failed_is_kept_encrypted_and_an_alarm_tells_of_it(stacks):
    logical_id, found = queue(stacks)
    assert found["SqsManagedSseEnabled"] is True
    assert found["MessageRetentionPeriod"] == 14 * 86400
    refused = [
        statement
        for _, policy in stacks.all("AWS::SQS::QueuePolicy")
        if logical_id in policy["Queues"]
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny"
    ]
    assert refused[0]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    alarms = {alarm.get("AlarmName"): alarm for _, alarm in stacks.all("AWS::CloudWatch::Alarm")}
    alarm = alarms[f"{stacks.prefix}-failed-work"]
    assert alarm["MetricName"] == "ApproximateNumberOfMessagesVisible"
    assert alarm["AlarmActions"]


def test_a_day_without_prices_is_tried_again_and_then_told(stacks):
    configs = {
        config["FunctionName"].rpartition("-")[2]: config
        for _, config in stacks.all("AWS::Lambda::EventInvokeConfig")
    }
    assert configs["prices"]["MaximumRetryAttempts"] == 2
    assert configs["prices"]["DestinationConfig"]["OnFailure"]["Destination"].endswith("-failed")
    assert configs["observer"]["MaximumRetryAttempts"] == 0
    assert configs["sweeper"]["MaximumRetryAttempts"] == 0


def test_the_observer_looks_from_where_the_fleets_are(small, prod):
    """Prod's catalogue has a fleet behind an internal name; the others need no network."""
    inside = {name: "VpcConfig" in function(prod, name) for name in FUNCTIONS}
    assert inside == {name: name == "observer" for name in FUNCTIONS}
    assert not any("VpcConfig" in function(small, name) for name in FUNCTIONS)
    services = {e["ServiceName"] for _, e in prod.all("AWS::EC2::VPCEndpoint")}
    assert any(name.endswith(".sagemaker.api") for name in services)


def test_the_topic_takes_what_comes_by_tls_from_this_accounts_alarms_and_budgets(stacks):
    ((_, policy),) = stacks.all("AWS::SNS::TopicPolicy")
    statements = policy["PolicyDocument"]["Statement"]
    allowed = {s["Principal"]["Service"]: s for s in statements if s["Effect"] == "Allow"}
    assert set(allowed) == {"cloudwatch.amazonaws.com", "budgets.amazonaws.com"}
    own = {"StringEquals": {"aws:SourceAccount": stacks.world["account"]}}
    assert all(s["Condition"] == own for s in allowed.values())
    refused = [s for s in statements if s["Effect"] == "Deny"]
    assert [s["Condition"] for s in refused] == [{"Bool": {"aws:SecureTransport": "false"}}]
    ((_, told),) = stacks.all("AWS::SNS::Subscription")
    assert (told["Protocol"], told["Endpoint"]) == ("email", "platform@example.com")
