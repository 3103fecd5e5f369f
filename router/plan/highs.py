"""HiGHS behind the port ``program.Solver``. Imported only where a program is to be solved.

One thread and a fixed seed, and limits of nodes rather than of seconds: the same program has the
same solution, on a slow machine as on a fast one.
"""

from itertools import chain
from typing import Any

import highspy
import numpy as np

from router.plan.program import Limits, Program, Solution

SETTINGS: dict[str, Any] = {
    "output_flag": False,
    "threads": 1,
    "random_seed": 0,
    "mip_feasibility_tolerance": 1e-7,
}


class Highs:
    """Solves with HiGHS."""

    def solve(self, program: Program, limits: Limits) -> Solution:
        model = highspy.Highs()  # type: ignore[no-untyped-call]  # it has no types
        for name, value in SETTINGS.items():
            model.setOptionValue(name, value)
        model.setOptionValue("mip_rel_gap", limits.gap)
        model.setOptionValue("mip_max_nodes", limits.nodes)
        model.passModel(_lp(program))
        model.run()
        return _solution(model, mixed=any(program.whole))


def _lp(program: Program) -> Any:  # noqa: ANN401  (highspy has no types)
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(program.cost), len(program.rows)
    lp.col_cost_ = np.array(program.cost, dtype=float)
    lp.col_lower_ = np.array(program.lower, dtype=float)
    lp.col_upper_ = np.array(program.upper, dtype=float)
    lp.row_lower_ = np.array(program.low, dtype=float)
    lp.row_upper_ = np.array(program.high, dtype=float)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = np.cumsum([0, *map(len, program.rows)]).astype(np.int32)
    lp.a_matrix_.index_ = np.array(list(chain.from_iterable(program.rows)), dtype=np.int32)
    values = chain.from_iterable(row.values() for row in program.rows)
    lp.a_matrix_.value_ = np.array(list(values), dtype=float)
    if any(program.whole):
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        lp.integrality_ = [kinds[whole] for whole in program.whole]
    return lp


def _solution(model: Any, *, mixed: bool) -> Solution:  # noqa: ANN401  (as above)
    status, info = model.getModelStatus(), model.getInfo()
    found = highspy.HighsModelStatus
    if status in (found.kInfeasible, found.kUnboundedOrInfeasible):
        return Solution("infeasible")
    solution = model.getSolution()
    values = tuple(solution.col_value)
    if status != found.kOptimal and not _usable(info):
        return Solution("stopped", float("inf"), gap=float("inf"))
    gap = float(info.mip_gap) if mixed else 0.0
    duals = () if mixed else tuple(solution.row_dual)
    kind: Any = "optimal" if status == found.kOptimal else "stopped"
    return Solution(kind, float(info.objective_function_value), values, duals, gap)


def _usable(info: Any) -> bool:  # noqa: ANN401  (as above)
    return int(info.primal_solution_status) == int(highspy.SolutionStatus.kSolutionStatusFeasible)
