"""Our own receipts: read back they say the facts that were written."""

import gzip
import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.load import Load
from policies.model import SHADOW, Facts
from router.decide import decide
from router.receipt import Outcome, facts_from, receipt
from router.record import Receipts
from router.sources import Sources
from router.traces.opening import open_trace
from router.traces.receipts import Found, read, trace
from yamlfile import Invalid

WORLD = Sources(Path("nowhere")).load()
IDLE = [Load(committed=on.fleet.replicas.min) for on in WORLD.fleets]
TICKET = Facts(
    at="2026-01-05T12:00:00.123Z",
    tenant="acme",
    team=None,
    key="k",
    tags={"app": "desk"},
    task="classification",
    tier="simple",
    complexity=0.1,
    p_small=0.95,
    language="zh-Hans",
    tokens_in=40,
    tokens_out=4,
    tokens_in_bound=300,
)


def written(facts, **charge):
    line = receipt("req_1", WORLD, decide(WORLD, facts, IDLE), Outcome(charge=charge))
    return line.decode()


def changed(**facts):
    value = json.loads(written(TICKET))
    value["facts"] |= facts
    return json.dumps(value)


@pytest.fixture
def opened(tmp_path):
    def of(*lines, name="day.jsonl"):
        path = tmp_path / name
        path.write_text("".join(line + "\n" for line in lines), "utf-8")
        return open_trace(str(path))

    return of


def test_a_receipt_read_back_says_the_facts_that_were_written(opened):
    found = opened(written(TICKET, tokens_in=51, tokens_out=9))
    assert found.facts(0) == TICKET
    assert (list(found.tokens_out), list(found.counted)) == ([9], [51])
    assert not found.mixed
    assert "who asked what is what the receipts say; the trace's mix is not used" in (
        found.assumptions
    )


texts = st.sampled_from(["a", "b", "团队"])
facts = st.builds(
    Facts,
    at=st.integers(4_000_000_000_000 - 365 * 86_400_000, 4_000_000_000_000).map(
        lambda ms: (
            datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
            + f"{ms % 1000:03}Z"
        )
    ),
    tenant=texts,
    team=texts | st.none(),
    key=texts,
    tags=st.dictionaries(texts, texts, max_size=2),
    task=st.sampled_from(["code", "math"]),
    tier=st.sampled_from(["simple", "heavy"]),
    complexity=st.sampled_from([0.0, 0.1234, 1.0]),
    p_small=st.sampled_from([0.0, 0.98, 1.0]),
    language=st.sampled_from(["en", "zh-Hans"]),
    tokens_in=st.integers(0, 3),
    tokens_out=st.integers(1, 3),
    tokens_in_bound=st.integers(0, 3) | st.none(),
    max_tokens=st.integers(1, 3) | st.none(),
    n=st.integers(1, 2),
    needs=st.lists(texts, max_size=2).map(tuple),
    max_usd=st.sampled_from([None, 0.5]),
    slo_ttft_ms=st.sampled_from([None, 300.0]),
    lanes=st.sampled_from([None, (), ("cpu",)]),
    spread=st.sampled_from([None, 0.25]),
)


@given(st.lists(facts, min_size=1, max_size=6))
def test_whatever_the_facts_they_come_back_in_the_order_of_time(asked):
    lines = [json.dumps({"facts": asdict(each), "charge": {}}).encode() for each in asked]
    found = Found()
    read(found, "x", enumerate(lines, 1))
    back = trace("x", found, seed=0)
    assert [back.facts(i) for i in range(len(back))] == sorted(asked, key=lambda each: each.at)
    assert len(back.kinds) <= len(asked)
    assert all(json.loads(line)["facts"] for line in lines)
    assert [facts_from(json.loads(line)["facts"]) for line in lines] == asked


def test_a_request_that_was_refused_was_asked_too_and_its_answer_is_as_long_as_expected(opened):
    found = opened(written(replace(TICKET, n=3)), written(TICKET, tokens_in=5, tokens_out=1))
    assert list(found.tokens_out) == [12, 1]
    assert list(found.counted) == [40, 5]
    assert any("1 of 2 requests had no answer to count" in said for said in found.assumptions)


def test_the_same_seed_draws_the_same_and_whether_a_small_answer_would_do_follows_p_small(opened):
    lines = [written(replace(TICKET, p_small=p)) for p in (0.0, 1.0)] * 50
    assert list(opened(*lines).acceptable) == [0, 1] * 50


def test_a_state_is_opened_by_its_folder_and_packed_days_count(tmp_path):
    receipts = Receipts(tmp_path)
    for at in ("2026-01-05T23:59:59.999Z", "2026-01-06T00:00:00.000Z"):
        receipts.append(at, written(replace(TICKET, at=at)).encode())
    receipts.close()
    first = tmp_path / "receipts" / "2026-01-05.jsonl"
    packed = first.with_name(f"{first.name}.gz")
    packed.write_bytes(gzip.compress(first.read_bytes()))
    with pytest.raises(
        Invalid, match=r"the day is there twice: delete it or `2026-01-05\.jsonl\.gz`"
    ):
        open_trace(str(tmp_path))
    first.unlink()
    for folder in (tmp_path, tmp_path / "receipts"):
        found = open_trace(str(folder))
        assert [found.facts(i).at[:10] for i in range(2)] == ["2026-01-05", "2026-01-06"]


def test_a_folder_without_receipts_is_refused_with_what_would_be_valid(tmp_path):
    with pytest.raises(Invalid, match="a folder without receipts: give a file, a router's state"):
        open_trace(str(tmp_path))


def test_calls_of_shadow_judging_are_left_out_and_counted(opened):
    found = opened(written(replace(TICKET, tenant=SHADOW)), written(TICKET))
    assert len(found) == 1
    assert "1 receipts of shadow judging" in found.warnings[0]
    with pytest.raises(Invalid, match="no receipt of a caller's request is in it"):
        opened(written(replace(TICKET, tenant=SHADOW)))


def test_a_receipt_that_a_full_disk_cut_off_is_left_out_and_counted(opened):
    whole = written(TICKET)
    for lines in ((whole[:90], whole), (whole, whole[:90])):
        found = opened(*lines)
        assert len(found) == 1
        assert found.warnings == ("1 receipts are cut off (a disk was full): they are left out",)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "no JSON: each line of a file of receipts is one"),
        ("2023-11-16 18:17:03,5,6", "no JSON: each line of a file of receipts is one"),
        ("[]", "no receipt: an object with `facts` is due; one trace has one format"),
        ('{"timestamp": 0, "input_length": 1}', "one trace has one format"),
        ('{"facts": {}}', "`facts` lacks `at`, `tenant`, `team`"),
        (changed(at="noon"), "`facts.at` must be a time like 2026-01-05T08:00:00.000Z"),
        (changed(at="2026-01-05T08:00:00"), "`facts.at` must be a time like"),
        (changed(at="9999-01-05T08:00:00Z"), "`facts.at` must be a time like"),
        (changed(at=5), "`facts.at` must be a time like"),
        (changed(tokens_in=-1), "`facts.tokens_in` must be a whole number of tokens from 0 to"),
        (changed(tokens_out=10**10), "`facts.tokens_out` must be a whole number of tokens"),
        (changed(tokens_in_bound=1.5), "`facts.tokens_in_bound` must be a whole number of tokens"),
        (changed(complexity=1.1), "`facts.complexity` must be a number from 0 to 1"),
        (changed(p_small=None), "`facts.p_small` must be a number from 0 to 1"),
        (changed(spread=2), "`facts.spread` must be a number from 0 to 1, or null"),
        (changed(tenant=None), "`facts.tenant` must be a text"),
        (changed(team=1), "`facts.team` must be a text or null"),
        (changed(tags={"a": 1}), "`facts.tags` must be an object of texts"),
        (changed(needs="vision"), "`facts.needs` must be a list of texts"),
        (changed(lanes="cpu"), "`facts.lanes` must be a list of texts, or null"),
        (changed(n=0), "`facts.n` must be a whole number from 1 to 1,000"),
        (changed(max_usd=-1), "`facts.max_usd` must be a number, 0 or more, or null"),
        (changed(labels=None), "`facts.labels` must be a whole number"),
        (changed(mood="good"), "unknown fact `mood`"),
        (written(TICKET, tokens_out=-1), "`charge.tokens_out` must be a whole number of tokens"),
        (written(TICKET).replace('"charge":{}', '"charge":[1]'), "`charge` must be an object"),
    ],
)
def test_a_wrong_receipt_is_told_with_its_place_and_what_is_due(opened, line, message):
    with pytest.raises(Invalid) as caught:
        opened(written(TICKET), line)
    (problem,) = caught.value.problems
    assert problem.where.endswith("day.jsonl:2")
    assert message in problem.message


def test_a_receipt_without_a_time_is_told_even_where_its_like_came_before(opened):
    value = json.loads(written(TICKET))
    del value["facts"]["at"]
    with pytest.raises(Invalid, match=r"day\.jsonl:2: `facts` lacks `at`"):
        opened(written(TICKET), json.dumps(value))


def test_a_receipt_years_from_the_others_is_refused_with_its_line(opened):
    with pytest.raises(Invalid, match=r"day.jsonl:2: 2036-.* is more than 366 days after 2026-"):
        opened(written(TICKET), changed(at="2036-01-05T12:00:00.123Z"))
