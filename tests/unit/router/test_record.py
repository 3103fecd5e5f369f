import os

import pytest

from router.metrics import Metrics
from router.record import Receipts
from router.runtime import Runtime


def test_receipts_go_to_the_file_of_their_day(tmp_path):
    receipts = Receipts(tmp_path)
    receipts.append("2026-01-01T23:59:59.999Z", b"a")
    receipts.append("2026-01-02T00:00:00.000Z", b"b")
    receipts.append("2026-01-02T00:00:00.001Z", b"c")
    receipts.close()
    found = {path.name: path.read_bytes() for path in (tmp_path / "receipts").iterdir()}
    assert found == {"2026-01-01.jsonl": b"a\n", "2026-01-02.jsonl": b"b\nc\n"}


def test_a_restart_appends(tmp_path):
    for line in (b"a", b"b"):
        receipts = Receipts(tmp_path)
        receipts.append("2026-01-01T00:00:00.000Z", line)
        receipts.close()
    assert (tmp_path / "receipts" / "2026-01-01.jsonl").read_bytes() == b"a\nb\n"


def test_a_full_disk_costs_the_receipt_is_counted_and_not_the_request(tmp_path, caplog):
    receipts = Receipts(tmp_path)
    receipts._folder = type(tmp_path)("/dev/full/nowhere")  # what can't be written to
    metrics = Metrics()
    runtime = Runtime(None, metrics, receipts, lambda: 0.0, {})
    runtime.record("2026-01-01T00:00:00.000Z", b"a secret")
    assert b"sluice_receipts_lost_total 1.0" in metrics.text()
    assert "could not be written" in caplog.text
    assert "secret" not in caplog.text


def test_a_file_that_was_open_is_not_written_after_close(tmp_path):
    receipts = Receipts(tmp_path)
    receipts.close()
    receipts.append("2026-01-01T00:00:00.000Z", b"a")
    receipts.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(receipts._file)
