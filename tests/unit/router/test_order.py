"""What the parent and a worker say to each other."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from router.order import CannotStart, Order, Ready, answer_line, answer_of, from_line, to_line
from router.settings import Settings

KEY = {"SECRET": "sk-of-a-fleet"}
ORDER = Order(Settings(environment=KEY), 1, 4, 7, 8, Path("state/counts"))


@pytest.mark.parametrize("name", [f.name for f in fields(Settings)])
def test_every_setting_arrives_as_it_was_given(name):
    given = {"port": 81, "environment": KEY, "ledger": "dynamodb:books", "host": "::1"}
    given |= {"auth": "none", "alerts": "https://a.example/hook", "router_on": "lambda"}
    given |= {"receipts": "firehose:decisions", "metrics": "emf:Sluice", "frozen": True}
    given |= {"queue": 7, "queue_s": 0.5, "in_flight": 9, "unready_s": 3, "drain_s": 4}
    given |= {"appconfig": "appconfig:a/b/c", "batch_window": "22:00-06:00@Asia/Shanghai"}
    given |= {"batch_at_once": 3, "batch_quota_mb": 5, "batch_keep_days": 6, "batches": "s3:ours"}
    value = given.get(name, Path("a folder") / name)
    settings = replace(ORDER.settings, **{name: value})
    order = replace(ORDER, settings=settings)
    arrived = from_line(to_line(order), KEY)
    assert arrived == order
    assert type(getattr(arrived.settings, name)) is type(value)


def test_an_order_is_one_line_without_the_environment():
    line = to_line(ORDER)
    assert line.count(b"\n") == 1
    assert b"sk-of-a-fleet" not in line


@pytest.mark.parametrize("answer", [Ready("p 1234", None), Ready("p", "x"), CannotStart("a\nb", 3)])
def test_an_answer_arrives_as_it_was_said(answer):
    assert answer_of(answer_line(answer)) == answer


@pytest.mark.parametrize("line", [b"", b'{"Ready": {"pol'])
def test_a_worker_that_ended_before_its_answer_has_said_nothing(line):
    assert answer_of(line) is None
