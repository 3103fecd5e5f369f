import sqlite3
import stat
from dataclasses import replace

import pytest

from router.labels import Given, Judged, Labels

GIVEN = Given(
    "req_1", "2026-01-05T12:00:00.000Z", "k1", True, None, None,
    "math", 0.5, "heavy", "zh-Hans", 12, 0.9, "small", "one", True,
)  # fmt: skip

JUDGED = Judged(
    "req_1", "2026-01-05T12:00:00.000Z", True, 0.75, False, 0.25,
    "math", 0.5, "heavy", "zh-Hans", 12, 0.9, "small", "one", "large", "judge",
)  # fmt: skip


@pytest.fixture
def labels(tmp_path):
    opened = Labels(tmp_path / "state")
    yield opened
    opened.close()


def test_a_label_is_kept_as_it_was_given(labels):
    other = replace(GIVEN, request_id="req_0", acceptable=False, score=0.25, label="off.topic")
    assert labels.add(GIVEN)
    assert labels.add(other)
    assert labels.all() == [other, GIVEN]
    assert type(labels.all()[0].acceptable) is bool


def test_the_first_label_of_a_request_stays(labels, tmp_path):
    second = Labels(tmp_path / "state")  # another router over the same state
    assert labels.add(GIVEN)
    assert not second.add(replace(GIVEN, at="2026-01-06T00:00:00.000Z", acceptable=False))
    assert second.first("req_1") == ("k1", GIVEN.at)
    assert labels.all() == [GIVEN]
    assert labels.first("req_2") is None
    second.close()


def test_the_file_is_its_owners_alone(labels, tmp_path):
    mode = (tmp_path / "state" / "sluice.db").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_what_shadow_judging_found_stands_beside_what_the_caller_said(labels):
    assert labels.add_judged(JUDGED)
    assert not labels.add_judged(replace(JUDGED, acceptable=False))
    assert labels.first("req_1") is None
    assert labels.add(GIVEN)
    assert labels.all_judged() == [JUDGED]
    assert labels.all() == [GIVEN]
    assert type(labels.all_judged()[0].strong_acceptable) is bool


def test_a_store_of_an_older_router_gets_its_place_for_them(labels, tmp_path):
    labels.add(GIVEN)
    db = sqlite3.connect(tmp_path / "state" / "sluice.db")
    db.execute("DROP TABLE shadow_labels")
    db.close()
    again = Labels(tmp_path / "state")
    assert again.all_judged() == []
    assert again.add_judged(JUDGED)
    assert again.all() == [GIVEN]
    again.close()
