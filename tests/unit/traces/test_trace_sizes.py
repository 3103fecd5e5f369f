"""Large traces: read as a stream, in columns, with what many share standing once."""

import subprocess
import sys

import pytest

MB = 1 << 20
MEASURED = """
import resource, sys
from router.traces.opening import open_trace
trace = open_trace(sys.argv[1])
print(len(trace), len(trace.kinds), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def opened(text):
    """Open a trace in a process of its own; return its requests, its kinds, its bytes of memory."""
    command = [sys.executable, "-c", MEASURED, str(text)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return [int(figure) for figure in run.stdout.split()]


@pytest.fixture(scope="module")
def empty_bytes():
    return opened("gen:poisson?rate=1&seconds=10")[2]


def test_two_hundred_thousand_lines_take_tens_of_megabytes(tmp_path, empty_bytes):
    path = tmp_path / "long.csv"
    with path.open("w") as file:
        file.write("TIMESTAMP,ContextTokens,GeneratedTokens\n")
        for n in range(200_000):
            file.write(f"2024-05-10 {n // 60 // 60 % 24:02}:{n // 60 % 60:02}:{n % 60:02},{n},9\n")
    requests, kinds, most_bytes = opened(path)
    assert requests == 200_000
    assert kinds < 5_000
    assert most_bytes - empty_bytes < 50 * MB


def test_as_many_tenants_as_requests_stay_within_a_gigabyte_for_a_million(tmp_path, empty_bytes):
    path = tmp_path / "tenants.jsonl"
    form = (
        '{"id":"r","facts":{"at":"2026-01-05T12:00:00.123Z","tenant":"tenant-%d","team":"t",'
        '"key":"key-%d","tags":{},"task":"code","tier":"heavy","complexity":0.5,"p_small":0.5,'
        '"language":"en","tokens_in":5,"tokens_out":5},"charge":{}}\n'
    )
    with path.open("w") as file:
        for n in range(60_000):
            file.write(form % (n, n))
    requests, kinds, most_bytes = opened(path)
    assert (requests, kinds) == (60_000, 60_000)
    assert most_bytes - empty_bytes < 60 * MB
