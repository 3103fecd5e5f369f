"""What the tests of workers and routers on AWS share; and, below it, the matrix of faults.

`pytest tests/integration/test_fault_matrix.py --matrix` prints the matrix: `make matrix`.

A cell is green where everything that is held of it was so: what the caller saw, the receipt, the
ledger's rows.
"""

import itertools
from collections import defaultdict

import pytest
from ledger_support import dynamo_client, dynamo_server

from router.ledger.dynamo import DynamoLedger
from router.ledger.dynamo_table import definition

TABLES = itertools.count()


@pytest.fixture(scope="session")
def address():
    """Moto's: DynamoDB, and AWS's other services."""
    with dynamo_server() as served:
        yield served


@pytest.fixture
def ledger(address):
    """One in a table of its own."""
    name = f"sluice-{next(TABLES)}"
    dynamo_client(address).call("CreateTable", definition(name))
    return DynamoLedger(dynamo_client(address), name)


def pytest_addoption(parser):
    parser.addoption("--matrix", action="store_true", help="print faults x ways of asking")


def pytest_configure(config):
    if config.getoption("--matrix", default=False):  # not there where other folders are run too
        config.pluginmanager.register(Matrix(), "fault-matrix")


class Matrix:
    def __init__(self):
        self._of = {}
        self._cells = defaultdict(list)

    def pytest_collection_modifyitems(self, items):
        for item in items:
            cell = getattr(getattr(item, "callspec", None), "params", {}).get("cell")
            if cell is not None:
                self._of[item.nodeid] = cell

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        report = yield
        if item.nodeid in self._of and (report.when == "call" or not report.passed):
            self._cells[self._of[item.nodeid]].append(report.passed)
        return report

    def pytest_terminal_summary(self, terminalreporter):
        ways = list(dict.fromkeys(cell.way for cell in self._cells))
        terminalreporter.section("faults x ways of asking")
        terminalreporter.write_line(
            f"{'':38}" + "".join(f"{way:25}" for way in ways),
        )
        of_row = defaultdict(dict)
        for cell, passed in self._cells.items():
            of_row[f"{cell.fault}, {cell.when}"][cell.way] = (cell.expected, all(passed))
        for row, cells in of_row.items():
            terminalreporter.write(f"{row:38}")
            for way in ways:
                expected, passed = cells.get(way, ("-", True))
                shown = expected if passed else f"FAILED {expected}"
                terminalreporter.write(f"{shown:25}", green=passed, red=not passed)
            terminalreporter.write_line("")
        whole = [all(passed) for passed in self._cells.values()]
        terminalreporter.write_line(f"{sum(whole)} of {len(whole)} cells hold")
