"""`--from` and `--to`: the part of a trace by the clock."""

import json
from datetime import UTC, datetime

import pytest

from policies.model import SHADOW
from router.cli.window import window as asked
from router.traces.opening import open_trace
from router.traces.window import WHOLE, Window
from yamlfile import Invalid

FACTS = {
    "tenant": "t",
    "team": None,
    "key": "k",
    "tags": {},
    "task": "code",
    "tier": "heavy",
    "complexity": 0.5,
    "p_small": 0.5,
    "language": "en",
    "tokens_in": 5,
    "tokens_out": 5,
}
TIMES = [f"2026-11-17T{hour:02}:00:00.000Z" for hour in range(6)]


def seconds(text):
    return datetime.fromisoformat(text).astimezone(UTC).timestamp()


def receipt(at, **facts):
    return json.dumps({"id": "r", "facts": {"at": at, **FACTS, **facts}, "charge": {}})


def azure(path):
    lines = [f"{at[:10]} {at[11:19]},{i + 1},9" for i, at in enumerate(TIMES)]
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "\n".join(lines), "utf-8")


def receipts(path):
    lines = [receipt(at, tokens_in=i + 1) for i, at in enumerate(TIMES)]
    path.write_text("\n".join(lines), "utf-8")


DATED = pytest.mark.parametrize("written", [azure, receipts])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trace"


@DATED
@pytest.mark.parametrize(
    ("window", "kept"),
    [
        (WHOLE, [1, 2, 3, 4, 5, 6]),
        (Window(seconds(TIMES[1]), seconds(TIMES[3])), [2, 3]),  # its start is in it, its end not
        (Window(start_s=seconds("2026-11-17T12:30+08:00")), [6]),
        (Window(end_s=seconds(TIMES[1]) + 0.001), [1, 2]),
    ],
)
def test_the_requests_from_the_start_to_before_the_end_are_taken(path, written, window, kept):
    written(path)
    found = open_trace(str(path), window=window)
    assert list(found.tokens_in) == kept
    assert found.start_s == seconds(TIMES[kept[0] - 1])
    told = [line for line in found.assumptions if line.startswith("of the trace's 6 requests")]
    assert len(told) == (window != WHOLE)
    assert all(f"the {len(kept)} " in line for line in told)


@DATED
def test_a_window_without_requests_is_refused_with_what_the_trace_spans(path, written):
    written(path)
    window = Window(seconds("2026-11-18T00:00Z"), seconds("2026-11-19T00:00Z"))
    with pytest.raises(Invalid) as refused:
        open_trace(str(path), window=window)
    assert (
        "no request came in the time asked for, from 2026-11-18T00:00:00.000Z to before "
        "2026-11-19T00:00:00.000Z: the trace goes from 2026-11-17T00:00:00.000Z to "
        "2026-11-17T05:00:00.000Z" in str(refused.value)
    )


def test_gaps_outside_of_the_window_are_not_told(path):
    azure(path)
    assert open_trace(str(path)).warnings == ()
    late = path.read_text("utf-8") + "\n2026-11-19 00:00:00,7,9\n"
    path.write_text(late, "utf-8")
    assert "gaps of more than" in open_trace(str(path)).warnings[0]
    window = Window(end_s=seconds("2026-11-18T00:00Z"))
    assert open_trace(str(path), window=window).warnings == ()


def test_receipts_of_shadow_judging_are_no_requests_of_the_trace_outside_of_the_window_too(path):
    asked_for, judged = [receipt(at) for at in TIMES], [receipt(at, tenant=SHADOW) for at in TIMES]
    path.write_text("\n".join([*asked_for, *judged]), "utf-8")
    found = open_trace(str(path), window=Window(end_s=seconds(TIMES[2])))
    assert found.assumptions[0].startswith("of the trace's 6 requests the 2 ")
    assert found.warnings[0].startswith("2 receipts of shadow judging")


def test_receipts_of_years_are_read_in_parts(path):
    years = [receipt("2024-01-05T08:00:00.000Z"), receipt("2026-11-17T08:00:00.000Z")]
    path.write_text("\n".join(years), "utf-8")
    with pytest.raises(Invalid, match="more than 366 days"):
        open_trace(str(path))
    assert len(open_trace(str(path), window=Window(seconds("2026-11-01T00:00Z")))) == 1


def test_a_receipt_without_a_time_is_a_mistake_in_a_window_too(path):
    path.write_text("\n".join([receipt(TIMES[0]), receipt("soon")]), "utf-8")
    with pytest.raises(Invalid, match=r"trace:2: `facts.at` must be a time"):
        open_trace(str(path), window=Window(start_s=0.0))


@pytest.mark.parametrize("generated", [True, False])
def test_a_trace_without_dates_has_no_part_by_the_clock(path, generated):
    path.write_text('{"timestamp": 1, "input_length": 2, "output_length": 3}\n', "utf-8")
    text = "gen:poisson?rate=1&seconds=60" if generated else str(path)
    said = "is as long as asked for" if generated else "Mooncake's traces have none"
    with pytest.raises(Invalid, match=said) as refused:
        open_trace(text, window=Window(start_s=0.0))
    assert "`--from` and `--to` choose by the date" in str(refused.value)


def test_a_window_may_begin_in_any_year():
    found = asked("0001", "0999-01", "UTC")
    assert str(found) == "from 0001-01-01T00:00:00.000Z to before 0999-01-01T00:00:00.000Z"


def test_a_window_is_asked_for_by_the_second_and_below():
    found = asked("2026-11-17T09:00:30+08:00", "2026-11-17T01:00:30.250", "UTC")
    start_s = seconds("2026-11-17T01:00:30Z")
    assert found == Window(start_s, start_s + 0.25)
