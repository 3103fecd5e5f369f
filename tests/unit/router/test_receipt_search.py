"""A receipt is found by its id in a file that is ordered by the ends of requests."""

import os
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router import receipt_search
from router.receipt_search import BESIDES_S, BLOCK, FIRST_S, find
from router.request_id import made_ms, request_id

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
MADE_S = NOON.timestamp()
LONGEST_S = 100.0


def name_of(number, after_s=0.0):
    return request_id(MADE_S + after_s, f"{number:012x}")


def line(name, after_s, filler=0):
    at = (NOON + timedelta(seconds=after_s)).isoformat(timespec="milliseconds")[:-6] + "Z"
    return orjson.dumps({"id": name, "at": at, "facts": {"key": "k"}, "filler": "x" * filler})


def written(state, lines, day="2026-01-05"):
    (state / "receipts").mkdir(parents=True, exist_ok=True)
    (state / "receipts" / f"{day}.jsonl").write_bytes(b"".join(each + b"\n" for each in lines))
    return state


# -- ids -------------------------------------------------------------------------------------------


def test_an_id_tells_when_its_request_came_and_is_as_long_as_ever():
    made = request_id(MADE_S + 0.123, "0" * 12)
    assert len(made) == len("req_861e39ae2d5f1deb4cbfd848")
    assert made_ms(made) == int((MADE_S + 0.123) * 1000)
    assert request_id(MADE_S, "f" * 12) < request_id(MADE_S + 0.001, "0" * 12)


@pytest.mark.parametrize("text", ["", "req_", "req_" + "g" * 24, "req_" + "0" * 25, "x" * 28])
def test_what_is_no_id_tells_no_time(text):
    assert made_ms(text) is None


# -- finding ---------------------------------------------------------------------------------------

request = st.tuples(
    st.sampled_from([-300.0, -100.0, -5.0, 0.0, 0.0, 0.001, 1.0, 99.0, 300.0]),  # came
    st.sampled_from([0.0, 0.001, 4.0, 99.0, LONGEST_S + 30]),  # took
    st.sampled_from([0, 10, 400]),
)


@settings(max_examples=200)
@given(st.lists(request, max_size=30), st.sets(st.integers(0, 29), max_size=3))
def test_every_receipt_is_found_however_long_its_request_took(tmp_path_factory, drawn, torn):
    state = tmp_path_factory.mktemp("state")
    numbered = [(number, *each) for number, each in enumerate(drawn)]
    ends = sorted(numbered, key=lambda each: each[1] + each[2])
    lines = [line(name_of(n, came), came, filler) for n, came, _, filler in ends]
    for i, place in enumerate(sorted(torn)):
        lines.insert(min(place, len(lines)), [b'{"id":"req_', b"", b'{"id":"x","at":'][i])
    written(state, lines)
    for number, came, _, _ in numbered:
        found = find(state, name_of(number, came), MADE_S + came, LONGEST_S)
        assert found["id"] == name_of(number, came)
    assert find(state, name_of(99), MADE_S, LONGEST_S) is None


def test_only_the_lines_of_its_time_are_looked_through(tmp_path):
    lines = [line(name_of(i, i), float(i), 200) for i in range(-2000, 2000)]
    written(tmp_path, lines)
    file = os.open(tmp_path / "receipts" / "2026-01-05.jsonl", os.O_RDONLY)
    size = os.fstat(file).st_size
    for slack_s in (FIRST_S, LONGEST_S + BESIDES_S):
        start, end = (
            receipt_search._first_from(file, size, receipt_search._at(MADE_S + off))
            for off in (-slack_s, slack_s)
        )
        looked = os.pread(file, end - start, start).count(b"\n")
        assert 2 * slack_s - 1 <= looked <= 2 * slack_s + 1
    os.close(file)


def test_a_receipt_longer_than_what_is_read_at_once_is_found_whole(tmp_path):
    lines = [line(name_of(i, i), float(i), 2 * BLOCK) for i in range(4)]
    written(tmp_path, lines)
    assert len(find(tmp_path, name_of(2, 2), MADE_S + 2, LONGEST_S)["filler"]) == 2 * BLOCK


def test_receipts_of_the_time_before_ids_told_theirs_are_passed_by(tmp_path):
    old = [line(f"req_{'f' * 12}{i:012x}", i / 10) for i in range(50)]
    written(tmp_path, [*old[:25], line(name_of(7, 2.45), 2.45), *old[25:]])
    assert find(tmp_path, name_of(7, 2.45), MADE_S + 2.45, LONGEST_S) is not None


def test_a_request_that_was_decided_after_midnight_is_in_the_next_days_file(tmp_path):
    came = 12 * 3600 - 0.001
    name = name_of(1, came)
    written(tmp_path, [line(name, came + 0.01)], day="2026-01-06")
    assert find(tmp_path, name, MADE_S + came, LONGEST_S)["id"] == name


def test_a_torn_line_of_it_is_passed_by_for_the_whole_one(tmp_path):
    name = name_of(1)
    torn = b'{"id":"req_torn","at":"20' + line(name, 0.0)[:40]
    written(tmp_path, [torn, line(name, 0.0, 5)])
    assert find(tmp_path, name, MADE_S, LONGEST_S)["filler"] == "xxxxx"


def test_a_line_that_was_torn_off_is_no_receipt(tmp_path):
    name = name_of(1)
    written(tmp_path, [line(name, 0.0)[:60], line(name_of(2), 0.0)])
    assert find(tmp_path, name, MADE_S, LONGEST_S) is None


def test_without_a_file_of_its_day_there_is_no_receipt(tmp_path):
    assert find(tmp_path, name_of(1), MADE_S, LONGEST_S) is None
