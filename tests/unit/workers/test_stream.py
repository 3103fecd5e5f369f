"""What the stream's worker makes of changes, and of services that take nothing.

The clients are boto3's, answered by botocore's stubber in AWS's own shapes.
"""

import json

import boto3
import pytest
from botocore.exceptions import BotoCoreError, ClientError
from botocore.stub import Stubber
from ledger_support import charge

from router.ledger.entry import entry_json
from router.workers.columns import entry_line
from router.workers.stream import AT_ONCE, BYTES, Stream, alerts_of, line_of

TOPIC = "arn:aws:sns:us-east-1:123456789012:alarms"
MINUTE = {"pk": "F#2026-11-21", "sk": "2026-11-21T10:00:00Z#a#observed", "seconds": 60,
          "replicas": 2, "nano_hour": 7, "emulated": False}  # fmt: skip
BUDGET = {"pk": "S#soft", "sk": "team=search#2026-11#0", "budget": "soft", "value": "team=search",
          "period": "2026-11", "ends": "2026-12-01T00:00:00Z", "spent": 600, "soft": 1000,
          "fired": "[0.5]"}  # fmt: skip


def client(service):
    return boto3.client(
        service, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )


class Stubbed:
    """A stream's worker between two stubs."""

    def __init__(self):
        firehose, sns = client("firehose"), client("sns")
        self.firehose, self.sns = Stubber(firehose), Stubber(sns)
        failures = (BotoCoreError, ClientError)
        self.stream = Stream(firehose, "rows", sns, TOPIC, failures)

    def takes(self, count, **failed):
        answers = [{"RecordId": "x"} for _ in range(count)]
        for number, code in failed.items():
            answers[int(number[1:])] = {"ErrorCode": code, "ErrorMessage": "no"}
        answer = {"FailedPutCount": len(failed), "RequestResponses": answers}
        self.firehose.add_response("put_record_batch", answer)

    def deliver(self, *records):
        with self.firehose, self.sns:
            found = self.stream.deliver(records)
            self.firehose.assert_no_pending_responses()
            self.sns.assert_no_pending_responses()
        return found


@pytest.fixture
def stubbed():
    return Stubbed()


def wire(item):
    """Return an item as DynamoDB writes it."""
    kinds = {str: "S", bool: "BOOL", int: "N", float: "N"}
    return {
        name: {kinds[type(value)]: value if isinstance(value, bool | str) else repr(value)}
        for name, value in item.items()
    }


def change(number, new, old=None, event="INSERT"):
    images = {"NewImage": wire(new)} | ({} if old is None else {"OldImage": wire(old)})
    return {"eventName": event, "dynamodb": {"SequenceNumber": str(number), **images}}


def charged(number):
    row = entry_json(charge(f"r{number}", 5)).decode()
    return change(number, {"pk": "E#2026-11-21#0", "sk": str(number), "entry": row})


def test_charges_and_minutes_become_lines_and_nothing_else_does(stubbed):
    stubbed.takes(2)
    other = change(3, {"pk": "R#r1", "sk": "R", "state": "open"})
    assert stubbed.deliver(charged(1), other, change(4, MINUTE)) == ({}, 0)


def test_a_charge_s_line_is_that_of_its_entry():
    row = charge("r1", 5)
    assert line_of({"pk": "E#2026-11-21#0", "entry": entry_json(row).decode()}) == entry_line(row)
    assert json.loads(line_of(MINUTE))["minute"] == "2026-11-21T10:00:00Z"


def test_rows_that_firehose_does_not_take_come_again_alone(stubbed):
    stubbed.takes(3, n1="ServiceUnavailableException")
    failed, _ = stubbed.deliver(charged(1), charged(2), charged(3))
    assert failed == {"2": "Firehose did not take it: ServiceUnavailableException"}


def test_a_batch_that_firehose_refuses_comes_again_whole_and_the_next_is_tried(stubbed):
    stubbed.firehose.add_client_error("put_record_batch", "ServiceUnavailableException", "secret")
    stubbed.takes(1)
    failed, _ = stubbed.deliver(*map(charged, range(AT_ONCE + 1)))
    assert len(failed) == AT_ONCE
    assert str(AT_ONCE) not in failed
    assert "secret" not in str(failed)


def test_a_batch_is_never_larger_than_firehose_takes(stubbed):
    row = entry_json(charge("r", 5, receipt="x" * (BYTES // 3))).decode()
    large = [change(n, {"pk": "E#d#0", "sk": str(n), "entry": row}) for n in range(4)]
    stubbed.takes(2)
    stubbed.takes(2)
    assert stubbed.deliver(*large) == ({}, 0)


def test_a_threshold_that_was_passed_is_told_in_the_alerts_own_shape(stubbed):
    name = '"budget":"soft","value":"team=search","period":"2026-11","ends":"2026-12-01T00:00:00Z"'
    published = {
        "TopicArn": TOPIC,
        "Subject": "sluice: budget soft has spent 50% (team=search)",
        "Message": f'{{{name},"share":0.5,"spent_usd":6e-7,"usd":1e-6}}',
    }
    stubbed.sns.add_response("publish", {"MessageId": "m"}, published)
    before = {**BUDGET, "spent": 400, "fired": "[]"}
    assert stubbed.deliver(change(1, BUDGET, before, "MODIFY")) == ({}, 1)


@pytest.mark.parametrize(
    ("before", "after", "shares"),
    [
        ("[]", "[0.5]", [0.5]),
        ("[]", "[0.5, 0.8]", [0.5, 0.8]),
        ("[0.5]", "[0.5, 0.8]", [0.8]),
        ("[0.5]", "[0.5]", []),
        ("[0.5]", "[]", []),  # what was told stays told
        (None, "[0.5]", [0.5]),  # the row is new
    ],
)
def test_only_thresholds_that_were_not_out_before_are_told(before, after, shares):
    old = {} if before is None else {**BUDGET, "fired": before}
    assert [alert.share for alert in alerts_of(old, {**BUDGET, "fired": after})] == shares


def test_an_alert_that_the_topic_does_not_take_comes_again(stubbed):
    stubbed.sns.add_client_error("publish", "ThrottledException", "secret")
    stubbed.takes(1)
    record = change(1, BUDGET, {**BUDGET, "fired": "[]"}, "MODIFY")
    failed, alerts = stubbed.deliver(record, charged(2))
    assert (failed, alerts) == ({"1": "the topic did not take an alert: ThrottledException"}, 0)


@pytest.mark.parametrize(
    "item",
    [
        {"pk": "E#2026-11-21#0", "sk": "1"},
        {"pk": "E#2026-11-21#0", "sk": "1", "entry": "the words of a caller"},
        {**MINUTE, "seconds": 61},
        {**BUDGET, "fired": "no json"},
    ],
)
def test_a_record_that_cannot_be_read_is_told_by_its_error_alone(stubbed, item):
    failed, _ = stubbed.deliver(change(1, item, {**BUDGET, "fired": "[]"}))
    assert list(failed) == ["1"]
    assert failed["1"].startswith("the record can't be read: ")
    assert "words" not in failed["1"]


def test_what_was_removed_is_no_news(stubbed):
    gone = {"eventName": "REMOVE", "dynamodb": {"SequenceNumber": "1", "OldImage": wire(MINUTE)}}
    assert stubbed.deliver(gone) == ({}, 0)
