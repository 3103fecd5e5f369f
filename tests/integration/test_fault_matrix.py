"""Every fault of an emulated fleet against every kind of request: what the caller sees, what the
receipt says, what the ledger charges, and that nothing is left behind.

MATRIX is the table of docs/resilience.md; `make matrix` prints it with what came of each cell.
Real emulators, a real router, the official SDK; each cell has fleets and a budget of its own.
"""

import asyncio
import json
import sys
from pathlib import Path

import openai
import pytest
from fault_cells import SPARE, Cell, Played, connections, descriptors, error_in, in_flight, play
from support import process, wait_until

# The fault as `POST /<fleet>/faults` takes it | when it strikes: before the first content token, or
# mid-answer | what the receipt calls the attempt | what is charged for it | what the caller sees of
# a stream and of a plain answer, with another lane left and with none.
#
#   nothing   no row at all                      whole   the fleet's answer, once, to its end
#   seen      the prompt and what was sent on    next    the other lane's answer, once, to its end
#   told      the fleet's own count              cut     a part, then an error event; no [DONE]
#   counted   no count to believe: estimated     503 ... this status with this code
MATRIX = """
| fault                         | when   | attempt       | charged | stream, a lane left | stream, none           | plain, a lane left | plain, none            |
|-------------------------------|--------|---------------|---------|---------------------|------------------------|--------------------|------------------------|
| delay ms=100                  | before | ok            | told    | whole               | whole                  | whole              | whole                  |
| delay ms=60000                | before | timed_out     | seen    | next                | 504 upstream_timed_out | next               | 504 upstream_timed_out |
| hang after=0                  | before | timed_out     | seen    | next                | 504 upstream_timed_out | next               | 504 upstream_timed_out |
| hang after=3                  | mid    | timed_out     | seen    | cut                 | cut                    | next               | 504 upstream_timed_out |
| reset after=0                 | before | broken        | seen    | next                | 502 upstream_failed    | next               | 502 upstream_failed    |
| reset after=3                 | mid    | broken        | seen    | cut                 | cut                    | next               | 502 upstream_failed    |
| status code=429               | before | overloaded    | nothing | next                | 503 overloaded         | next               | 503 overloaded         |
| status code=429 retry_after=9 | before | overloaded    | nothing | next                | 503 overloaded         | next               | 503 overloaded         |
| status code=500               | before | server_failed | seen    | next                | 502 upstream_failed    | next               | 502 upstream_failed    |
| status code=500 retry_after=9 | before | server_failed | seen    | next                | 502 upstream_failed    | next               | 502 upstream_failed    |
| status code=502               | before | server_failed | seen    | next                | 502 upstream_failed    | next               | 502 upstream_failed    |
| status code=503               | before | overloaded    | nothing | next                | 503 overloaded         | next               | 503 overloaded         |
| status code=503 retry_after=9 | before | overloaded    | nothing | next                | 503 overloaded         | next               | 503 overloaded         |
| status code=504               | before | server_failed | seen    | next                | 502 upstream_failed    | next               | 502 upstream_failed    |
| status code=529               | before | overloaded    | nothing | next                | 503 overloaded         | next               | 503 overloaded         |
| status code=529 retry_after=9 | before | overloaded    | nothing | next                | 503 overloaded         | next               | 503 overloaded         |
| garbage kind=http             | before | garbled       | seen    | next                | 502 upstream_failed    | next               | 502 upstream_failed    |
| garbage kind=json             | before | garbled       | seen    | next                | 502 upstream_failed    | next               | 502 upstream_failed    |
| garbage kind=html             | before | garbled       | seen    | next                | 502 upstream_failed    | next               | 502 upstream_failed    |
| garbage kind=utf8             | before | garbled       | seen    | next                | 502 upstream_failed    | next               | 502 upstream_failed    |
| drip ms=0.1                   | before | ok            | told    | whole               | whole                  | whole              | whole                  |
| drip ms=20                    | before | timed_out     | seen    | next                | 504 upstream_timed_out | next               | 504 upstream_timed_out |
| drip ms=4                     | mid    | timed_out     | seen    | cut                 | cut                    | -                  | -                      |
| usage kind=missing            | mid    | ok            | counted | whole               | whole                  | whole              | whole                  |
| usage kind=doubled            | mid    | ok            | told    | whole               | whole                  | whole              | whole                  |
| usage kind=twice              | mid    | ok            | told    | whole               | whole                  | whole              | whole                  |
| usage kind=negative           | mid    | ok            | counted | whole               | whole                  | whole              | whole                  |
| usage kind=huge               | mid    | ok            | counted | whole               | whole                  | whole              | whole                  |
| cold seconds=60               | before | overloaded    | nothing | next                | 503 overloaded         | next               | 503 overloaded         |
| interrupt notice=60 away=60   | before | overloaded    | nothing | next                | 503 overloaded         | next               | 503 overloaded         |
| interrupt notice=60 away=60   | mid    | ok            | told    | whole               | whole                  | whole              | whole                  |
| interrupt notice=0 away=60    | before | broken        | seen    | next                | 502 upstream_failed    | next               | 502 upstream_failed    |
| interrupt notice=0 away=60    | mid    | broken        | seen    | cut                 | cut                    | next               | 502 upstream_failed    |
"""  # noqa: E501  (a table is read as one)

ATTEMPTS = 3  # `limits.attempts` of the policy here
# A long answer takes seconds, so that a fault can begin in its middle, and a slow one its deadline.
# One that is cut in its middle may be longer still: on a busy machine the fault comes late.
SHORT, LONG, LONGER = 12, 900, 3600
DOUBLED = 2
ROUNDS = 4  # in which what is left behind would add up
DOCS = Path(__file__).parents[2] / "docs" / "resilience.md"

FLEET = (
    "  - {{id: {id}, model: llama-4-scout, lane: {id}, engine: emulated, kind: emulated, "
    'url: "{url}/{id}/v1", instance: p5.48xlarge, region: us-east-1, '
    "replicas: {{min: 1, max: 1, concurrency_each: 64}}, profile: p5.48xlarge/llama-4-scout}}\n"
)
POLICY = """
version: 1
name: matrix
baseline: llama-4-scout@spare
defaults:
  quality_floor: 0
  slo: {{ttft_p95_ms: null, e2e_p95_ms: null}}
  limits: {{deadline_ms: 12000, ttft_timeout_ms: 4000, inter_chunk_timeout_ms: 4000,
            attempts: {attempts}, breaker: {{failures: 100, open_ms: 1000}}}}
rules:
{rules}
budgets:
  - {{id: each, match: {{tags: {{cell: "*"}}}}, usd: 1, per: month, when_spent: reject}}
"""


def rows():
    return [
        [word.strip() for word in line.strip("|").split("|")]
        for line in MATRIX.strip().splitlines()[2:]
    ]


def cells_of(rows):
    found = []
    for number, (fault, when, outcome, charged, *ways) in enumerate(rows):
        for place, expected in enumerate(ways):
            stream, left = place < 2, place % 2 == 0
            fleet = f"f{number:02}-{'stream' if stream else 'plain'}-{'left' if left else 'none'}"
            tokens = SHORT
            if when == "mid" and fault.startswith(("interrupt", "drip")):
                tokens = LONGER if fault.startswith("interrupt notice=0") else LONG
            if expected != "-":
                found.append(
                    Cell(fault, when, outcome, charged, stream, left, expected, fleet, tokens)
                )
    return found


CELLS = cells_of(rows())
each_cell = pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)


@pytest.fixture(scope="module")
def arena(tmp_path_factory, start_shared_router):
    """Two real emulators, one with the spare lane alone, and a real router before them."""
    folder = tmp_path_factory.mktemp("matrix")
    head = "version: 1\nmodels: [{id: llama-4-scout, context_tokens: 100000}]\nfleets:\n"
    names = [cell.fleet for cell in CELLS] + ["worn"]

    def emulating(name, fleets):
        path = folder / f"{name}.yaml"
        path.write_text(
            head + "".join(FLEET.format(id=f, url="http://127.0.0.1:1") for f in fleets)
        )
        command = [sys.executable, "-m", "backends.engines.emulator", "--port", "0"]
        return process(*command, "--fleets", path, "--time-scale", "0.2", log=folder / name)

    with emulating("first", names) as first, emulating("spare", [SPARE]) as spare:
        urls = [running.first_line.split()[-1] for running in (first, spare)]
        fleets = "".join(FLEET.format(id=name, url=urls[0]) for name in names)
        rule = "  - {{id: {0}, when: {{tags: {{cell: {0}}}}}, use: {{in_order: [{1}]}}}}\n"
        lanes = {c.fleet: f"{c.fleet}, {SPARE}" if c.left else c.fleet for c in CELLS}
        rules = "".join(rule.format(name, use) for name, use in {**lanes, "worn": "worn"}.items())
        router = start_shared_router(
            head + fleets + FLEET.format(id=SPARE, url=urls[1]),
            POLICY.format(rules=rules, attempts=ATTEMPTS),
            allowed_tags=("*",),
        )
        router.emulators = urls
        yield router


@pytest.fixture(scope="module")
def played(arena):
    asked, generating = asyncio.run(play(CELLS, arena, *arena.emulators))
    return Played(arena, {a.cell.fleet: a for a in asked}, generating)


@pytest.fixture
def asked(played, cell):
    return played.asked[cell.fleet]


# -- the cells -------------------------------------------------------------------------------------


@each_cell
def test_the_caller_sees_one_answer_or_an_honest_error(asked, cell):
    seen = asked.seen
    assert seen.ended_well  # the HTTP answer was whole, whatever it said
    if cell.expected in ("whole", "next"):
        fleet = cell.fleet if cell.expected == "whole" else SPARE
        assert (seen.status, seen.raised) == (200, None)
        assert seen.headers["x-sluice-fleet"] == fleet
        assert seen.text == asked.says[fleet]
        assert seen.raw.count(b"[DONE]") == cell.stream
    elif cell.expected == "cut":
        assert seen.status == 200
        assert seen.headers["x-sluice-fleet"] == cell.fleet
        whole = asked.says[cell.fleet]
        assert seen.text
        assert seen.text != whole
        assert whole.startswith(seen.text)
        *before, last = seen.events
        assert error_in(last)["code"] == "stream_broken"
        assert not any(b'"error"' in event for event in before)
        assert b"[DONE]" not in seen.raw
        assert b'"finish_reason":"' not in seen.raw
    else:
        status, code = cell.expected.split()
        error = json.loads(seen.raw)["error"]
        assert (seen.status, error["code"]) == (int(status), code)
        assert {reason["fleet"] for reason in error["reasons"]} == {cell.fleet}
        assert {reason["code"] for reason in error["reasons"]} == {cell.outcome}
        assert ("retry-after" in seen.headers) == (seen.status == 503)


@each_cell
def test_the_sdk_raises_what_the_router_said(asked, cell):
    raised = asked.seen.raised
    if cell.expected in ("whole", "next"):
        assert raised is None
    elif cell.expected == "cut":
        assert type(raised) is openai.APIError  # while it iterates: no status error, no end
        assert raised.code == "stream_broken"
    else:
        status, code = cell.expected.split()
        assert isinstance(raised, openai.InternalServerError)
        assert (raised.status_code, raised.code) == (int(status), code)


@each_cell
def test_the_receipt_names_every_attempt(played, asked, cell):
    attempts = [(a["fleet"], a["outcome"]) for a in played.receipt(asked)["attempts"]]
    served = [(SPARE, "ok")] if cell.expected == "next" else []
    failed = attempts[: len(attempts) - len(served)]
    assert attempts[len(failed) :] == served
    assert set(failed) == {(cell.fleet, cell.outcome)}
    alone = cell.expected[0].isdigit()  # nobody else was left, and no content had been sent
    assert len(failed) <= (ATTEMPTS if alone else 1)
    if asked.struck is not None:  # the emulator's own count
        assert len(failed) == asked.struck


@each_cell
def test_the_ledger_charges_every_attempt_once(played, asked, cell):
    receipt, rows = played.receipt(asked), played.rows(asked)
    attempts = [a for a in receipt["attempts"] if a["fleet"] == cell.fleet]
    at_the_fleet = [row for row in rows if row.fleet == cell.fleet]
    assert len(at_the_fleet) == (0 if cell.charged == "nothing" else len(attempts))
    assert len(rows) == len(at_the_fleet) + (cell.expected == "next")
    for row in at_the_fleet:
        assert row.outcome == cell.outcome
        assert row.estimated == (cell.charged != "told")
        assert row.tokens_out == tokens_of(cell, asked, row)
    total = sum(row.nano for row in rows)
    assert total == round(receipt["charge"].get("usd", 0) * 1e9)
    assert total == sum(round(a["usd"] * 1e9) for a in receipt["attempts"]) or over(rows)
    assert total <= round(receipt["reservation"]["usd"] * 1e9)
    scope = played.scope(asked)
    assert (scope.spent, scope.reserved) == (total, 0)
    if cell.expected in ("whole", "next"):
        assert asked.seen.usd == f"{total / 1e9:.9f}"
        assert total > 0


def tokens_of(cell, asked, row):
    """The tokens that the fleet's row has to charge."""
    if cell.charged == "told":
        return cell.max_tokens * (DOUBLED if "doubled" in cell.fault else 1)
    if cell.charged == "counted" and not cell.stream:  # nobody counted: as was expected
        assert 0 < row.tokens_out <= cell.max_tokens
        return row.tokens_out
    return asked.seen.content_events if cell.expected in ("cut", "whole") else 0


def over(rows):
    """Whether a hard budget cut the charge to what had been set aside."""
    return any(row.overrun_nano for row in rows)


@each_cell
def test_only_a_retry_after_closes_the_lane(asked, cell):
    refused = {c["fleet"]: c["refused"] for c in asked.route["candidates"]}[cell.fleet]
    if "retry_after" in cell.fault:
        assert refused["code"] == "open_circuit"
    else:
        assert refused is None


# -- what is left behind ---------------------------------------------------------------------------


def test_no_fleet_is_busy_afterwards(played, arena):
    wait_until(lambda: in_flight(arena) == [])
    assert played.generating == []  # and none generates for a caller who is gone


def test_no_connection_is_left_to_a_fleet_that_failed(played, arena):
    """One at most is kept to a fleet whose answers ended, none to one that broke off."""
    ended = [c for c in CELLS if c.outcome in ("ok", "overloaded", "server_failed")]
    to_first = connections(arena.process.pid, int(arena.emulators[0].rpartition(":")[2]))
    assert to_first <= len(ended)


def test_the_books_add_up_and_every_request_has_one_receipt(played):
    books, rows = played.books
    assert len(played.receipts) == len(CELLS)
    assert len({(row.request_id, row.n) for row in rows}) == len(rows)
    assert sum(scope.spent for scope in books.scopes.values()) == sum(row.nano for row in rows)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
@pytest.mark.parametrize("fault", ["reset after=0", "reset after=3", "hang after=3", "garbage"])
def test_what_fails_again_and_again_leaves_no_descriptor(played, arena, fault, stream):
    cell = Cell(fault, "", "", "", stream, left=False, expected="", fleet="worn", max_tokens=SHORT)

    def some():
        asyncio.run(play([cell] * ROUNDS, arena, *arena.emulators))
        wait_until(lambda: in_flight(arena) == [])
        arena.http.get("/healthz")
        return descriptors(arena.process.pid)

    before = some()
    wait_until(lambda: some() <= before)


def test_the_log_tells_of_no_bug(played, arena):
    assert "bug" not in arena.log()
    assert "Task" not in arena.log()  # asyncio's own word of one that was never awaited


def test_the_docs_have_this_table():
    assert MATRIX.strip() in DOCS.read_text("utf-8")


def test_the_docs_have_every_fault_of_an_emulated_fleet():
    from backends.engines.emulated_fault import FAULTS

    assert {cell.fault.split()[0] for cell in CELLS} == set(FAULTS)
