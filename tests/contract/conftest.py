"""`pytest tests/contract/test_backend_kinds.py --table` prints kinds x cases: `make contract`.

A case is a test; a kind is what its fixture `way` was asked for. A cell counts the variants that
passed (event loops, plain and stream, statuses), or says how many did not.
"""

from collections import Counter, defaultdict

import pytest


def pytest_addoption(parser):
    parser.addoption("--table", action="store_true", help="print backend kinds x cases")


def pytest_configure(config):
    if config.getoption("--table", default=False):  # not there where other folders are run too
        config.pluginmanager.register(Table(), "kinds-x-cases")


class Table:
    def __init__(self):
        self._of = {}
        self._cells = defaultdict(Counter)

    def pytest_collection_modifyitems(self, items):
        for item in items:
            parameters = getattr(getattr(item, "callspec", None), "params", {})
            if "way" in parameters:
                case = item.originalname.removeprefix("test_").replace("_", " ")
                if "name" in parameters:
                    case = (
                        f"{case.removesuffix(' is an error with its name')}: {parameters['name']}"
                    )
                self._of[item.nodeid] = case, parameters["way"]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        report = yield
        if item.nodeid in self._of and (report.when == "call" or not report.passed):
            self._cells[self._of[item.nodeid]][report.outcome] += 1
        return report

    def pytest_terminal_summary(self, terminalreporter):
        kinds = list(dict.fromkeys(kind for _, kind in self._cells))
        cases = list(dict.fromkeys(case for case, _ in self._cells))
        wide = max(map(len, cases), default=0)
        rows = [f"{'':{wide}}  " + "  ".join(f"{kind:>12}" for kind in kinds)]
        for case in cases:
            cells = [shown(self._cells.get((case, kind))) for kind in kinds]
            rows.append(
                f"{case:{wide}}  "
                + "  ".join(
                    f"{cell:>{max(12, len(kind))}}" for kind, cell in zip(kinds, cells, strict=True)
                )
            )
        terminalreporter.section("kinds x cases")
        for row in rows:
            colour = {"red": True} if "FAILED" in row else {"green": True}
            terminalreporter.write_line(row, **colour)


def shown(cell):
    if cell is None:
        return "-"
    if cell["failed"]:
        return f"FAILED {cell['failed']}"
    return f"ok {cell['passed']}" + (f" ({cell['skipped']} not)" if cell["skipped"] else "")
