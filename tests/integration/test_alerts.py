"""Budget alerts on their way: taken, refused, waited for, given up."""

import asyncio
import json
import logging
import subprocess
import sys
import threading
from dataclasses import replace

import boto3
import pytest
from moto.server import ThreadedMotoServer
from support import catalogue, fleet, plain, policy, sluice, wait_until

from router import sns
from router.alerts import TRIES, WAITING, Alerts, target_of
from router.ledger.port import Alert

ALERT = Alert(
    "team-month", "team=search", "2026-11", "2026-12-01T00:00:00Z", 0.8, 8 * 10**9, 10**10
)
MESSAGE = {
    "budget": "team-month",
    "value": "team=search",
    "period": "2026-11",
    "ends": "2026-12-01T00:00:00Z",
    "share": 0.8,
    "spent_usd": 8.0,
    "usd": 10.0,
}


async def told(target, *alerts, until=lambda: True, first_wait_s=0.01, close_s=5.0):
    """Tell these, wait until it is so, and end."""
    opened = Alerts(target, first_wait_s=first_wait_s, close_s=close_s)
    opened.start()
    opened(alerts)
    await asyncio.to_thread(wait_until, until)
    await opened.aclose()


def hook(upstream):
    return target_of(upstream.url)


def answers(upstream, *statuses):
    left = list(statuses)
    upstream.script = lambda body, send, gone: send(plain({}, left.pop(0)))


@pytest.mark.parametrize(("nano", "said"), [(100_000, "$0.0001"), (1, "$0.000000001")])
def test_the_log_tells_a_small_limit_in_full(caplog, nano, said):
    asyncio.run(told(None, replace(ALERT, soft_nano=nano)))
    assert f"budget team-month (team=search, 2026-11): 80 % of {said} is spent" in caplog.text


# -- a webhook -------------------------------------------------------------------------------------


def test_a_webhook_that_fails_is_told_again(upstream, caplog):
    answers(upstream, 500, 200)
    asyncio.run(told(hook(upstream), ALERT, until=lambda: len(upstream.bodies) == 2))
    assert upstream.bodies == [MESSAGE, MESSAGE]
    assert "could not be sent" not in caplog.text


def test_a_webhook_that_keeps_failing_is_given_up_and_the_next_alert_is_tried(upstream, caplog):
    answers(upstream, *[503] * TRIES, 204)
    both = (ALERT, Alert(**{name: getattr(ALERT, name) for name in ALERT.__slots__} | {"share": 1}))
    asyncio.run(told(hook(upstream), *both, until=lambda: len(upstream.bodies) == TRIES + 1))
    assert [body["share"] for body in upstream.bodies] == [0.8] * TRIES + [1]
    (error,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    said = "the alert of budget team-month could not be sent: it answered 503"
    assert error.getMessage() == said


def test_a_webhook_that_is_not_there_is_logged_without_its_address(closed_port, caplog):
    url = f"http://127.0.0.1:{closed_port}/secret-path"
    given_up = lambda: "could not be sent" in caplog.text  # noqa: E731 (said once)
    asyncio.run(told(target_of(url), ALERT, until=given_up, first_wait_s=0.001))
    assert "could not be sent: unreachable" in caplog.text
    assert "secret-path" not in caplog.text


def test_what_waits_for_another_try_when_the_router_ends_is_sent_once_more(upstream, caplog):
    answers(upstream, 500, 200)
    waiting = told(
        hook(upstream), ALERT, until=lambda: len(upstream.bodies) == 1, first_wait_s=1000
    )
    asyncio.run(waiting)
    assert upstream.bodies == [MESSAGE, MESSAGE]
    assert "could not be sent" not in caplog.text


def test_what_waits_when_the_router_ends_is_sent_once_each(upstream, caplog):
    answers(upstream, 500, 500, 500, 200)
    three = (ALERT, ALERT, ALERT)
    asyncio.run(told(hook(upstream), *three, first_wait_s=1000))
    assert len(upstream.bodies) in (3, 4)  # the first may have been tried before the end
    assert caplog.text.count("could not be sent: it answered 500") in (2, 3)


def test_a_webhook_that_hangs_does_not_keep_a_router_that_ends(upstream, caplog):
    upstream.script = lambda body, send, gone: gone()
    hanging = told(
        hook(upstream), ALERT, ALERT, until=lambda: len(upstream.bodies) == 1, close_s=0.05
    )
    asyncio.run(asyncio.wait_for(hanging, 60))
    assert len(upstream.bodies) == 1
    assert "2 alerts were not sent: the router ended" in caplog.text


def test_of_too_many_alerts_the_last_are_logged_only(upstream, caplog):
    release = threading.Event()

    def script(body, send, gone):
        release.wait(60)
        send(plain({}))

    upstream.script = script

    async def crowd():
        opened = Alerts(hook(upstream))
        opened.start()
        opened([ALERT])
        await asyncio.to_thread(wait_until, lambda: upstream.bodies)
        opened([ALERT] * (WAITING + 2))
        release.set()
        await opened.aclose()

    asyncio.run(crowd())
    assert len(upstream.bodies) == 1 + WAITING
    assert caplog.text.count("was not sent: too many wait") == 2
    assert caplog.text.count("is spent") == WAITING + 3


# -- an SNS topic ----------------------------------------------------------------------------------


@pytest.fixture
def aws(monkeypatch):
    """Run moto's server, and have boto3 find it and its keys as it finds AWS's: by environment."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    yield f"http://{host}:{port}"
    server.stop()


class Inbox:
    """A topic, and a queue that gets what is published to it."""

    def __init__(self):
        topics = boto3.client("sns", region_name="eu-west-1")
        self._queues = boto3.client("sqs", region_name="eu-west-1")
        self.arn = topics.create_topic(Name="budgets")["TopicArn"]
        self._url = self._queues.create_queue(QueueName="inbox")["QueueUrl"]
        queue = self._queues.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])
        queue_arn = queue["Attributes"]["QueueArn"]
        topics.subscribe(TopicArn=self.arn, Protocol="sqs", Endpoint=queue_arn)
        topics.close()

    def take(self):
        got = self._queues.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10)
        found = [json.loads(message["Body"]) for message in got.get("Messages", ())]
        return [(message["Subject"], json.loads(message["Message"])) for message in found]

    def close(self):
        self._queues.close()


@pytest.fixture
def inbox(aws):
    opened = Inbox()
    yield opened
    opened.close()


def test_a_topic_gets_a_subject_and_the_same_fields(inbox):
    asyncio.run(told(target_of(inbox.arn), ALERT))
    ((subject, message),) = inbox.take()
    assert subject == "sluice: budget team-month has spent 80% (team=search)"
    assert message == MESSAGE


def test_a_subject_is_what_sns_takes_whatever_the_value_is(inbox):
    long = {name: getattr(ALERT, name) for name in ALERT.__slots__} | {
        "value": "team=搜索" + "x" * 200
    }
    asyncio.run(told(target_of(inbox.arn), Alert(**long)))
    ((subject, message),) = inbox.take()
    assert subject.startswith("sluice: budget team-month has spent 80% (team=??xxx")
    assert len(subject) == 100
    assert message["value"] == long["value"]


def test_a_topic_that_is_not_there_is_given_up_with_the_reason(aws, caplog):
    gone = target_of("arn:aws:sns:eu-west-1:123456789012:nobody")
    given_up = lambda: "could not be sent" in caplog.text  # noqa: E731 (said once)
    asyncio.run(told(gone, ALERT, until=given_up, first_wait_s=0.001))
    assert "the alert of budget team-month could not be sent: NotFound" in caplog.text


def test_a_topic_without_anybody_to_call_as_is_given_up_with_the_reason(aws, monkeypatch, caplog):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    given_up = lambda: "could not be sent" in caplog.text  # noqa: E731 (said once)
    topic = target_of("arn:aws:sns:eu-west-1:123456789012:budgets")
    asyncio.run(told(topic, ALERT, until=given_up, first_wait_s=0.001))
    assert "could not be sent: NoCredentialsError" in caplog.text


def test_a_router_tells_a_topic(inbox, start_router, upstream):
    upstream.script = lambda body, send, gone: send(plain())
    budget = "  - {id: soft, match: {}, usd: 0.000000001, per: day, when_spent: alert}\n"
    text = policy("cpu") + "budgets:\n" + budget
    router = start_router(catalogue(fleet("one", upstream.url)), text, "--alerts", inbox.arn)
    assert router.chat("hi").status_code == 200
    got = []
    wait_until(lambda: got.extend(inbox.take()) or got)
    ((subject, message),) = got
    assert subject == "sluice: budget soft has spent 100% (all)"
    assert (message["budget"], message["usd"]) == ("soft", 1e-9)
    assert message["spent_usd"] > message["usd"]


@pytest.mark.parametrize(
    ("arn", "said"),
    [
        ("arn:aws:sqs:eu-west-1:123456789012:budgets", "is no ARN of an SNS topic"),
        ("arn:aws:sns:eu-west-1:1234:budgets", "the account 12 digits"),
        ("arn:aws:sns::123456789012:budgets", "is no ARN of an SNS topic"),
        ("arn:aws:sns:eu-west-1:123456789012:budgets:sub", "is no ARN of an SNS topic"),
        ("arn:aws:sns:eu-west-1:123456789012:budgets.fifo", "is a FIFO topic"),
        ("arn:aws:sns:eu-west-1:123456789012:bud.gets", "is no topic's name"),
    ],
)
def test_what_is_no_topic_is_told_at_the_start(arn, said, tmp_path):
    done = sluice("serve", "--alerts", arn, "--state", tmp_path, "--port", "0")
    assert done.returncode == 3
    assert said in done.stderr
    with pytest.raises(ValueError, match=said.split(" ")[0]):
        target_of(arn)


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_topics_of_every_partition_are_taken(partition):
    assert sns.objection(f"arn:{partition}:sns:cn-north-1:123456789012:budgets") is None


WITHOUT_BOTO3 = """
import sys
sys.modules["boto3"] = None
from router.cli import main
sys.argv = ["sluice", "serve", "--port", "0", "--auth", "none", *sys.argv[1:]]
main()
"""


def test_a_topic_without_boto3_is_told_at_the_start(tmp_path):
    command = [sys.executable, "-c", WITHOUT_BOTO3, "--state", tmp_path, "--alerts"]
    done = subprocess.run(
        [*command, "arn:aws:sns:eu-west-1:123456789012:budgets"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "needs the extra `aws`: install `sluice[aws]`" in done.stderr


def test_nobody_imports_boto3_who_has_no_topic():
    asked = "import sys, router.cli.serve; sys.exit('boto3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0
