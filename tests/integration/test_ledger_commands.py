"""`sluice ledger report | export | reconcile`, as typed, over files of rows and over the store."""

import csv
import gzip
import json
import os
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from decimal import Decimal

import pytest
from click.testing import CliRunner
from support import sluice

from router.cli.ledger import bill_file
from router.cli.main import cli
from router.finops.fleet_bill import costed
from router.finops.reconcile import Reconciliation
from router.finops.rows_file import entry_line, time_line
from router.ledger.port import Reserved
from router.ledger.sqlite import SqliteLedger
from tools.ledger_rows import CPU, START, TRN, entries, times

NANO = 10**9


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """300 requests of one day, and the fleets' time of its first hours."""
    path = tmp_path_factory.mktemp("ledger") / "rows.jsonl"
    made = [*map(entry_line, entries(300, seed=9, days=1)), *map(time_line, times(240, seed=9))]
    path.write_bytes(b"".join(made))
    return path


def ledger(command, *arguments, code=0, **more):
    """Run a command in a process of its own."""
    ran = sluice("ledger", command, *arguments, **more)
    assert ran.returncode == code, ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr
    return ran


def quickly(command, *arguments, code=0):
    """Run a command in this process: the same code, without its start."""
    ran = CliRunner().invoke(cli, ["ledger", command, *map(str, arguments)])
    assert ran.exit_code == code, ran.output
    return ran


def exact(text):
    return json.loads(text, parse_float=Decimal)


# -- report ----------------------------------------------------------------------------------------


def test_a_reports_totals_reconcile_to_the_nano_dollar(rows):
    found = exact(quickly("report", "--by", "team", "--rows", rows, "--json").stdout)
    totals = found["totals"]
    idle = sum(row["usd"] for row in found["idle"])
    variance = sum(row["usd"] for row in found["variance"])
    assert (idle, variance) == (totals["usd_idle"], totals["usd_variance"])
    assert totals["usd"] + idle + variance == totals["usd_bill"] + totals["usd_without_bill"]
    assert sum(row["usd"] for row in found["rows"]) == totals["usd"]
    assert totals["usd_saved_net"] == totals["usd_saved"] - idle - variance
    assert totals["usd_saved"] == (
        totals["usd_baseline"] - totals["usd"] - totals["usd_router"]
        + totals["baseline_unknown"]["usd"]
    )  # fmt: skip
    assert {row["fleet"] for row in found["fleets"] if row["emulated"]} == {"p5-demo"}


def test_a_report_says_what_its_figures_mean(rows):
    text = quickly("report", "--by", "fleet", "--rows", rows).stdout
    assert "the fleets' bill." in text
    assert "p5-demo" in text
    assert "emulated: no model runs there" in text
    assert "nobody recorded its time" in text
    assert "A loss needn't be one" in text
    assert "the baseline is unknown: their charges" in text


def test_half_a_day_and_the_other_half_are_the_day(rows):
    def usd(*period):
        arguments = ("--by", "key", "--rows", rows, "--tz", "Asia/Shanghai", "--json", *period)
        return exact(quickly("report", *arguments).stdout)["totals"]["usd"]

    noon = "2026-11-01T20:00"
    assert usd("--to", noon) + usd("--from", noon) == usd()
    assert usd("--from", "2026-11-01T08:00", "--to", noon) == usd("--to", noon)


def test_a_report_from_an_early_year_on_is_of_all_and_says_so(rows):
    def report(*period):
        return quickly("report", "--by", "team", "--rows", rows, *period).stdout

    whole = report()
    found = report("--from", "0001", "--to", "9999")
    assert "from 0001-01-01 00:00 up to 9999-01-01 00:00 (UTC)" in found
    assert found.splitlines()[1:] == whole.splitlines()[1:]


def test_a_row_on_the_bound_belongs_to_the_period_that_starts_there(tmp_path):
    row = replace(entries(1)[0], at="2026-11-02T00:00:00.000Z")
    path = tmp_path / "one.jsonl"
    path.write_bytes(entry_line(row))
    for period, n in (("--to", 0), ("--from", 1)):
        arguments = ("--by", "team", "--rows", path, "--json", period, "2026-11-02")
        assert exact(quickly("report", *arguments).stdout)["totals"]["requests"] == n


def test_the_baseline_is_the_one_that_the_kept_policy_states(rows, tmp_path):
    (tmp_path / "versions").mkdir()
    kept = tmp_path / "versions" / f"{'5f0e' * 4}.json"
    kept.write_text('{"baseline": "llama-4-scout@p5-scout"}')
    arguments = ("--by", "team", "--rows", rows, "--state", tmp_path)
    assert "Against llama-4-scout@p5-scout: saved" in quickly("report", *arguments).stdout
    kept.write_text("no policy")
    assert exact(quickly("report", *arguments, "--json").stdout)["baseline"] is None


def test_the_chart_is_drawn_and_has_the_days(rows, tmp_path):
    for suffix, begins in ((".svg", b"<?xml"), (".png", b"\x89PNG")):
        chart = tmp_path / f"chart{suffix}"
        ran = quickly("report", "--by", "team", "--rows", rows, "--chart", chart)
        assert f"drawn: {chart}" in ran.stderr
        assert chart.read_bytes().startswith(begins)
    assert "Saved per day against" in (tmp_path / "chart.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--by", "teams"], "unknown dimension `teams` (did you mean `team`?"),
        (["--by", "team", "--from", "2026-12", "--to", "2026-11"], "is not before"),
        (["--by", "team", "--tz", "Asia/Shangai"], "did you mean `Asia/Shanghai`?"),
        (["--by", "team", "--chart", "x.gif"], "a picture is .svg or .png"),
        (["--by", "team", "--chart", "no/where.svg"], "its folder doesn't exist"),
        (["--by", "team", "--from", "20270", "--chart", "x.svg"], "is no time"),
        (["--by", "team", "--from", "2027-01", "--chart", "x.svg"], "nothing to draw"),
    ],
)
def test_bad_input_of_a_report_is_told(rows, arguments, said):
    assert said in quickly("report", *arguments, "--rows", rows, code=3).stderr


def test_a_state_without_a_ledger_is_told(tmp_path):
    said = quickly("report", "--by", "team", "--state", tmp_path, code=3).stderr
    assert "no ledger here" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda row: row.pop("nano"), "lacks `nano`"),
        (lambda row: row.update(nano="7"), "`nano` must be int"),
        (lambda row: row.update(last=1), "`last` must be bool"),
        (lambda row: row.update(at="yesterday"), "yesterday"),
        (lambda row: row.update(kind="gift"), "`kind` must be one of charge"),
        (lambda row: row.update(row="x"), "`row` is neither"),
        (lambda row: row.update(tags=[]), "`tags` must be an object"),
        (lambda row: row.update(more=1), "unknown `more`"),
    ],
)
def test_a_row_that_cant_be_read_is_told_with_its_line(rows, tmp_path, change, said):
    lines = rows.read_bytes().splitlines()
    row = json.loads(lines[1])
    change(row)
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_bytes(b"\n".join([lines[0], json.dumps(row).encode(), b""]))
    error = quickly("report", "--by", "team", "--rows", wrong, code=3).stderr
    assert f"{wrong}:2: " in error
    assert said in error


# -- export ----------------------------------------------------------------------------------------


def test_focus_goes_out_as_csv_and_as_parquet_alike(rows, tmp_path):
    import pyarrow.parquet as pq

    out = tmp_path / "focus.parquet"
    quickly("export", "--format", "focus", "--rows", rows, "--out", out)
    text = ledger("export", "--format", "focus", "--rows", rows, "--out", "-").stdout
    lines = list(csv.DictReader(text.splitlines()))
    table = pq.read_table(out)
    assert table.column_names == list(lines[0])
    assert table.num_rows == len(lines) > 250
    for name in ("Tags", "SubAccountName", "ChargeClass"):
        assert [value or "" for value in table[name].to_pylist()] == [row[name] for row in lines]
    costs = [round(Decimal(row["BilledCost"]) * NANO) for row in lines]
    assert [round(value * NANO) for value in table["BilledCost"].to_pylist()] == costs
    start = table["ChargePeriodStart"][0].as_py()
    assert f"{start:%Y-%m-%dT%H:%M:%SZ}" == lines[0]["ChargePeriodStart"]
    assert table.schema.field("BilledCost").nullable is False


def test_focus_sums_up_to_the_report_less_the_emulated(rows):
    text = quickly("export", "--format", "focus", "--rows", rows, "--out", "-").stdout
    billed = sum(Decimal(row["BilledCost"]) for row in csv.DictReader(text.splitlines()))
    totals = exact(quickly("report", "--by", "team", "--rows", rows, "--json").stdout)["totals"]
    assert billed == totals["usd"] - totals["usd_emulated"]


def test_strict_names_leaves_out_what_only_the_validator_asks_for(rows):
    arguments = ("--format", "focus", "--rows", rows, "--out", "-")
    for more, there in (((), True), (("--strict-names",), False)):
        head = quickly("export", *arguments, *more).stdout.partition("\n")[0].split(",")
        assert ("ResourceID" in head) is there


def test_json_lines_are_read_back_as_they_were(rows, tmp_path):
    out = tmp_path / "again.jsonl"
    quickly("export", "--format", "jsonl", "--rows", rows, "--out", out)
    assert out.read_bytes() == rows.read_bytes()


def test_csv_has_every_entry_in_nano_dollars(rows):
    text = quickly("export", "--format", "csv", "--rows", rows, "--out", "-").stdout
    found = [(row["request_id"], int(row["nano"])) for row in csv.DictReader(text.splitlines())]
    assert found == [(row.request_id, row.nano) for row in entries(300, seed=9, days=1)]


def test_a_failed_export_leaves_the_old_file_and_nothing_else(rows, tmp_path):
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_bytes(rows.read_bytes().splitlines()[0] + b"\n{}\n")
    for name in ("old.csv", "old.parquet"):
        out = tmp_path / name
        out.write_text("old")
        quickly("export", "--format", "focus", "--rows", wrong, "--out", out, code=3)
        assert out.read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"wrong.jsonl", "old.csv", "old.parquet"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--format", "csv", "--out", "x.parquet"], "only `--format focus`"),
        (["--format", "focus", "--out", "."], "is a folder"),
        (["--format", "focus", "--out", "-", "--account", "123"], "a name that isn't a number"),
    ],
)
def test_bad_input_of_an_export_is_told(rows, arguments, said):
    assert said in quickly("export", *arguments, "--rows", rows, code=3).stderr


def test_an_export_never_goes_over_the_ledger_or_its_own_rows(rows, tmp_path):
    SqliteLedger(tmp_path).close()
    copy, linked, hard = tmp_path / "rows.jsonl", tmp_path / "link", tmp_path / "hard"
    copy.write_bytes(rows.read_bytes())
    linked.symlink_to(tmp_path / "sluice.db")
    hard.hardlink_to(tmp_path / "sluice.db")
    before = (tmp_path / "sluice.db").read_bytes()
    names = ["sluice.db", "sluice.db-wal", "sluice.db-shm", "../here/sluice.db", "link", "hard"]
    (tmp_path.parent / "here").symlink_to(tmp_path)
    for name in names:
        out = tmp_path / name
        arguments = ("--format", "csv", "--state", tmp_path, "--out", out)
        assert "that is the ledger itself" in quickly("export", *arguments, code=3).stderr
    assert (tmp_path / "sluice.db").read_bytes() == before
    for out in (copy, tmp_path.parent / "here" / "rows.jsonl"):
        arguments = ("--format", "csv", "--rows", copy, "--out", out)
        assert "that is what `--rows` reads" in quickly("export", *arguments, code=3).stderr
    assert copy.read_bytes() == rows.read_bytes()


def test_a_chart_is_never_drawn_over_the_ledger(tmp_path):
    SqliteLedger(tmp_path).close()
    chart = tmp_path / "chart.svg"
    chart.symlink_to(tmp_path / "sluice.db")
    arguments = ("--by", "team", "--state", tmp_path, "--chart", chart)
    assert "that is the ledger itself" in quickly("report", *arguments, code=3).stderr


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (["report", "--by", "team"], ["--ledger", "sqlite"]),
        (["export", "--format", "csv", "--out", "-"], ["--ledger", "dynamodb:sluice"]),
        (["export", "--format", "csv", "--out", "-"], ["--state", "."]),
        (["reconcile", "--bill", __file__], ["--ledger", "sqlite"]),
    ],
)
def test_rows_and_a_ledger_are_not_read_at_once(rows, command, option):
    said = quickly(*command, "--rows", rows, *option, code=3).stderr
    assert f"it goes without `{option[0]}`" in said


def test_a_mistyped_option_is_invalid_input(rows):
    said = ledger("export", "--format", "xml", "--rows", rows, "--out", "-", code=3).stderr
    assert "'xml' is not one of" in said


def without(tmp_path, *modules):
    """Return an environment in which these packages can't be imported."""
    for name in modules:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise ImportError('no {name}')")
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


def test_what_is_optional_says_so_where_it_lacks(rows, tmp_path):
    env = without(tmp_path, "pyarrow", "matplotlib")
    out = tmp_path / "x.parquet"
    export = ["export", "--format", "focus", "--rows", rows]
    assert "pip install pyarrow" in ledger(*export, "--out", out, code=2, env=env).stderr
    report = ["report", "--by", "team", "--rows", rows]
    chart = tmp_path / "x.svg"
    assert "pip install matplotlib" in ledger(*report, "--chart", chart, code=2, env=env).stderr
    ledger(*export, "--out", "-", env=env)
    ledger(*report, env=env)


# -- reconcile -------------------------------------------------------------------------------------

HEAD = "ChargePeriodStart,ChargePeriodEnd,ChargeCategory,BillingCurrency,EffectiveCost,Tags,"
HEAD += "PricingQuantity,PricingUnit,ServiceName\n"
TIMES = list(times(240, seed=9))


def expected(fleet):
    found = Reconciliation(lambda nano, _: nano)
    for row in costed(row for row in TIMES if row.fleet == fleet[0]):
        found.time(row)
    (row,) = found.rows(0)
    return row


def bill(*lines, currency="USD"):
    """Return the text of a bill: lines of (fleet or None, USD, hours) on the rows' day."""
    text = HEAD
    for fleet, usd, hours in lines:
        tags = "{}" if fleet is None else json.dumps({"user:sluice:fleet": fleet})
        cells = (
            "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z", "Usage", currency, usd,
            '"' + tags.replace('"', '""') + '"', hours, "Hrs", "Amazon EC2",
        )  # fmt: skip
        text += ",".join(map(str, cells)) + "\n"
    return text


def agreeing(factor=1.0, **more):
    lines = []
    for fleet in (CPU, TRN):
        row = expected(fleet)
        lines.append((fleet[0], f"{row.expected / NANO * factor:.9f}", float(row.replica_hours)))
    return bill(*lines, (None, 12.5, 1), **more)


def reconcile(text, rows, tmp_path, *more, code, name="bill.csv", run=quickly):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    arguments = ("--bill", path, "--rows", rows, "--state", tmp_path, *more)
    return run("reconcile", *arguments, code=code)


def test_a_bill_that_agrees_is_0_and_one_that_doesnt_is_1(rows, tmp_path):
    text = reconcile(agreeing(), rows, tmp_path, code=0).stdout
    assert "all within 5.0%" in text
    assert "1 lines without the tag sluice:fleet: $12.50 (Amazon EC2 $12.50)" in text
    assert "left out, emulated: p5-demo" in text
    dearer = reconcile(agreeing(1.06), rows, tmp_path, code=1, run=ledger).stdout
    assert dearer.count(" price\n") == 2
    reconcile(agreeing(1.06), rows, tmp_path, "--tolerance", "0.07", code=0)


def test_the_json_of_a_reconciliation_adds_up(rows, tmp_path):
    out = reconcile(bill((CPU[0], 9, 60)), rows, tmp_path, "--json", code=1).stdout
    found = exact(out)
    by_fleet = {row["fleet"]: row for row in found["rows"]}
    assert by_fleet[TRN[0]]["cause"] == "no lines"
    assert by_fleet[TRN[0]]["usd_bill"] is None
    row = by_fleet[CPU[0]]
    parts = [row[f"usd_by_{part}"] for part in ("price", "hours", "other_lines")]
    assert sum(parts) == row["usd_difference"] == row["usd_bill"] - row["usd_expected"]
    assert (found["lines"], found["ok"]) == (1, False)


def test_a_bill_may_be_packed_in_parts_or_in_parquet(rows, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    packed = gzip.compress(agreeing().encode())
    reconcile(packed, rows, tmp_path, code=0, name="bill.csv.gz")
    head, cpu, trn, *_ = agreeing().splitlines(keepends=True)
    (tmp_path / "second.csv").write_text(head + trn)
    reconcile(head + cpu, rows, tmp_path, "--bill", tmp_path / "second.csv", code=0)

    lines = list(csv.DictReader(agreeing().splitlines()))
    columns = {name: [row[name] for row in lines] for name in lines[0]}
    columns["Tags"] = pa.array(
        [list(json.loads(text).items()) for text in columns["Tags"]],
        pa.map_(pa.string(), pa.string()),
    )
    columns["EffectiveCost"] = [float(text) for text in columns["EffectiveCost"]]
    columns["ChargePeriodStart"] = pa.array([START.replace(tzinfo=None)] * 3, pa.timestamp("ms"))
    pq.write_table(pa.table(columns), tmp_path / "bill.parquet")
    arguments = ("--rows", rows, "--state", tmp_path)
    quickly("reconcile", "--bill", tmp_path / "bill.parquet", *arguments)
    env = without(tmp_path, "pyarrow")
    lacks = ledger(
        "reconcile", "--bill", tmp_path / "bill.parquet", *arguments, code=2, env=env
    ).stderr
    assert "pip install pyarrow" in lacks


def test_a_bill_is_read_once(rows, tmp_path):
    said = reconcile(agreeing(), rows, tmp_path, "--bill", tmp_path / "bill.csv", code=3).stderr
    assert "bill.csv` is given twice: its lines would count twice" in said
    (tmp_path / "link.csv").symlink_to(tmp_path / "bill.csv")
    said = reconcile(agreeing(), rows, tmp_path, "--bill", tmp_path / "link.csv", code=3).stderr
    assert "are the same file: its lines would count twice" in said


def test_another_currency_is_refused_or_converted_by_a_dated_rate(rows, tmp_path):
    yen = agreeing(1 / 0.14, currency="JPY")
    said = reconcile(yen, rows, tmp_path, code=3).stderr
    assert "the bill is in `JPY`, not USD" in said
    (tmp_path / "prices.yaml").write_text(
        "version: 1\ncurrency: USD\nprices: []\n"
        "exchange: [{currency: JPY, usd: 0.14, as_of: 2026-11-01, source: our treasury}]\n"
    )
    text = reconcile(yen, rows, tmp_path, code=0).stdout
    assert "JPY converted at 0.14 USD, the rate of 2026-11-01" in text


def test_wrong_lines_are_told_with_their_places_and_nothing_is_reported(rows, tmp_path):
    lines = agreeing().splitlines()
    text = "\n".join([lines[0], lines[1].replace("Usage", "Use"), lines[2], "", lines[1].replace(
        "2026-11-01T", "yesterday"), ""])  # fmt: skip
    ran = reconcile(text, rows, tmp_path, code=3)
    assert "bill.csv:2: `ChargeCategory` is `Use`" in ran.stderr
    assert "bill.csv:5: `ChargePeriodStart` is no time" in ran.stderr
    assert ran.stdout == ""


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("a,b\n1,2\n", "bill.csv", "no bill that can be read: as "),
        ("", "bill.csv", "no bill that can be read: as "),
        (agreeing() + "1,2\n", "bill.csv", "bill.csv:5: 2 cells where the header has 9"),
        (b"\xff\xfe\x00", "bill.csv", "UTF-8"),
        ("PAR0", "bill.parquet", "not a Parquet file"),
        ("no gzip", "bill.csv.gz", "gzip"),
        (gzip.compress(agreeing().encode())[:-12], "bill.csv.gz", "bill.csv.gz:"),
        (HEAD, "bill.csv", "the bill has no lines in this period"),
    ],
)
def test_a_file_that_is_no_bill_is_told(rows, tmp_path, text, name, said):
    assert said in reconcile(text, rows, tmp_path, code=3, name=name).stderr


def test_the_period_is_whole_days(rows, tmp_path):
    said = reconcile(agreeing(), rows, tmp_path, "--from", "2026-11-01T05:00", code=3).stderr
    assert "whole days of UTC" in said
    reconcile(agreeing(), rows, tmp_path, "--from", "2026-11-02", code=3)


def test_a_bill_ten_times_as_long_takes_no_more_memory(tmp_path):
    def peak(times):
        path = tmp_path / f"{times}.csv"
        head, *lines = agreeing().splitlines(keepends=True)
        path.write_text(head + "".join(lines) * times)
        found = Reconciliation(lambda nano, _: nano)
        tracemalloc.start()
        for line in bill_file.lines(path, "effective"):
            found.line(line)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert found.lines == 3 * times
        return most

    peak(1)  # what is imported and cached once
    assert peak(10_000) < 1.5 * peak(1_000)


# -- over the store --------------------------------------------------------------------------------


def test_the_store_gives_the_reports_that_its_rows_in_a_file_give(rows, tmp_path):
    """Settled through the store, request by request, and reported from its file."""
    store = SqliteLedger(tmp_path)
    of: dict[str, list] = {}
    for row in entries(300, seed=9, days=1):
        if row.kind == "charge":
            of.setdefault(row.request_id, []).append(row)
    for request_id, group in sorted(of.items(), key=lambda item: item[1][-1].at):
        now_s = 1_793_500_000.0
        worst = replace(group[-1], nano=sum(row.nano for row in group))
        held = store.reserve(worst, (), now_s, now_s + 60)
        assert isinstance(held, Reserved), request_id
        store.settle(held, sorted(group, key=lambda row: row.n), now_s)
    store.add_fleet_time(TIMES)
    store.close()

    copy = tmp_path / "copy.jsonl"
    quickly("export", "--format", "jsonl", "--state", tmp_path, "--out", copy)
    day = ("--from", "2026-11-01", "--to", "2026-11-02")
    arguments = ("report", "--by", "tag:project", "--json", *day)
    stored = quickly(*arguments, "--state", tmp_path).stdout
    assert stored == quickly(*arguments, "--rows", copy).stdout
    totals = exact(stored)["totals"]
    wanted = [row for group in of.values() for row in group if row.at < "2026-11-02"]
    assert totals["usd"] == Decimal(sum(row.nano for row in wanted)) / NANO
    assert totals["usd_bill"] == exact(
        quickly("report", "--by", "team", "--json", "--rows", rows).stdout
    )["totals"]["usd_bill"]  # fmt: skip


def test_a_store_that_is_no_database_is_told(tmp_path):
    (tmp_path / "sluice.db").write_bytes(b"no database at all" * 100)
    said = quickly("report", "--by", "team", "--state", tmp_path, code=1).stderr
    assert "the ledger can't be used" in said


def test_an_interpreter_that_only_lists_commands_imports_none_of_them():
    code = "import router.cli.ledger.export, router.cli.ledger.report, sys; "
    code += "print(*(name in sys.modules for name in ('pyarrow', 'matplotlib')))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False False"
