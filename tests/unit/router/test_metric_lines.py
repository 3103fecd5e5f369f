"""Lines of metrics on their way out."""

import json
import subprocess
import sys
from types import SimpleNamespace

from router.emf import Form, Numbers
from router.metric_lines import Lines
from router.metrics import Metrics


def lines(write, stale=False):
    runtime = SimpleNamespace(metrics=Metrics(), stale=stale)
    return runtime, Lines(Form("Sluice", "dev"), runtime, lambda: 1_795_255_200.5, write)


def test_what_failed_is_told_once_by_the_next_line():
    out = []
    runtime, told = lines(out.append)
    runtime.metrics.unsettled.inc()
    runtime.metrics.receipts_lost.inc(2)
    told.tell(200, Numbers())
    told.tell(200, Numbers())
    first, second = map(json.loads, out)
    assert (first["Unsettled"], first["ReceiptsLost"]) == (1, 2)
    assert (second["Unsettled"], second["ReceiptsLost"]) == (0, 0)
    assert first["_aws"]["Timestamp"] == 1_795_255_200_500


def test_a_line_is_one_write_that_ends_it():
    out = []
    lines(out.append, stale=True)[1].tell(None, Numbers())
    (line,) = out
    assert (line.count(b"\n"), line[-1:]) == (1, b"\n")
    assert json.loads(line)["PolicyStale"] == 1


def test_an_output_that_can_t_be_written_costs_the_line_alone(caplog):
    def closed(_line):
        raise BrokenPipeError(32, "Broken pipe")

    runtime, told = lines(closed)
    told.tell(200, Numbers())
    told.tell(200, Numbers())
    assert caplog.text.count("lines of metrics can't be written: Broken pipe") == 1
    assert b"sluice_lines_lost_total 2.0" in runtime.metrics.text()


def test_an_output_that_nobody_reads_stops_nothing():
    """A pipe holds 64 kB: a router whose parent reads no further would wait there for ever."""
    script = (
        "import sys\n"
        "from router.metric_lines import to_stdout\n"
        "for n in range(200):\n"
        "    try:\n"
        "        to_stdout(b'x' * 999 + b'\\n')\n"
        "    except OSError as exc:\n"
        "        sys.exit(f'{n} {exc.strerror}')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        said = running.stderr.read()
        assert "nobody reads standard output" in said
        assert int(said.split()[0]) > 50
        assert len(running.stdout.read()) == 1000 * int(said.split()[0])
