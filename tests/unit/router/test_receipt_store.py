"""Which store receipts go to, and what of them is lost."""

import asyncio
import base64
import threading

import pytest

from router.aws_api import ApiError, ApiUnreachable
from router.faults import BadSetting
from router.firehose import MOST_BYTES, FirehoseReceipts
from router.receipt_store import STORES, open_receipts
from router.record import Receipts
from router.settings import receipts_at

KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}


class Sent:
    """An API that answers as it is told to, and keeps what came."""

    def __init__(self, *answers):
        self.came, self._answers = [], list(answers)

    def call(self, operation, body):
        self.came.append((operation, body))
        answer = self._answers.pop(0) if self._answers else {"RecordId": "1"}
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self):
        self.closed = True


async def appended(api, *lines):
    """Append these and return how many were lost once all are finished."""
    lost = []
    receipts = FirehoseReceipts(api, "decisions", lambda: lost.append(1))
    for line in lines:
        receipts.append("2026-11-21T10:00:00.000Z", line)
    await receipts.finished()
    await receipts.aclose()
    return len(lost)


def test_a_receipt_is_one_record_that_ends_its_line():
    api = Sent()
    assert asyncio.run(appended(api, b'{"id":"req_1"}')) == 0
    record = {"Data": base64.b64encode(b'{"id":"req_1"}\n').decode()}
    assert api.came == [("PutRecord", {"DeliveryStreamName": "decisions", "Record": record})]
    assert api.closed


@pytest.mark.parametrize(
    "fault",
    [
        ApiError("ServiceUnavailableException", "slow down", 500, {}),
        ApiUnreachable("https://firehose: no answer"),
    ],
)
def test_what_can_t_be_sent_is_lost_counted_and_told_and_the_next_is_sent(fault, caplog):
    api = Sent(fault)
    assert asyncio.run(appended(api, b'{"id":"secret text"}', b"{}")) == 1
    assert len(api.came) == 2
    assert "a receipt could not be sent to Firehose: " in caplog.text
    assert "secret text" not in caplog.text


def test_a_receipt_beyond_firehose_s_limit_is_not_sent_but_counted():
    api = Sent()
    assert asyncio.run(appended(api, b"x" * MOST_BYTES)) == 1
    assert api.came == []


def test_finished_waits_for_what_is_on_its_way():
    async def told():
        go, api = threading.Event(), Sent()
        api.call = lambda *_: go.wait(20)
        receipts = FirehoseReceipts(api, "decisions", lambda: None)
        receipts.append("", b"{}")
        waiting = asyncio.create_task(receipts.finished())
        done, _ = await asyncio.wait({waiting}, timeout=0.05)
        assert not done
        go.set()
        await waiting

    asyncio.run(told())


def test_the_stores_are_those_of_the_list(tmp_path):
    assert set(STORES) == {"jsonl", "firehose"}
    opened = open_receipts("jsonl", tmp_path, {}, lambda: None)
    assert isinstance(opened, Receipts)
    env = {**KEYS, "AWS_REGION": "eu-west-1"}
    assert isinstance(open_receipts("firehose:d", tmp_path, env, lambda: None), FirehoseReceipts)


@pytest.mark.parametrize(
    "setting", ["", "json", "jsonl:x", "firehose", "firehose:", "firehose:a b", "s3:bucket"]
)
def test_another_store_is_refused_with_those_that_are_valid(setting):
    with pytest.raises(ValueError, match=r"no store of receipts \(valid: `jsonl`, or `firehose:"):
        receipts_at(setting)


def test_a_missing_region_is_told_with_the_setting(tmp_path):
    with pytest.raises(BadSetting, match="receipts `firehose:d`: no region: set AWS_REGION"):
        open_receipts("firehose:d", tmp_path, KEYS, lambda: None)
