"""The solver writes nothing to standard output or error, in C either: those belong to kapelle's user."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
WAYS = {
    "the whole model": "assert solve_whole(draw_tight_problem(0, 12))[1] is not None",
    "a plan": "assert solve(draw_tight_problem(1, 30), time_limit_s=20.0, gap=1e-6).status == 'optimal'",
    "a plan that cannot be": (
        "explain_infeasible(replace(draw_problem(2, 12), limits=Limits(max_cost=0.1, max_seconds=0.1)), "
        "time_limit_s=20.0); solve_whole(draw_problem(2, 12, max_cost=0.1))"
    ),
    "a portfolio": (
        "from tests.allocation.test_portfolio import *; "
        "optimize_portfolio(two_graphs(), shared=OptimizationConstraints(agent_capacity={'cheap': 2}), "
        "optimizer=optimizer(CHEAP, ANYONE, EXPERT), time_limit_s=60)"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_solve_leaves_both_descriptors_empty(way: str) -> None:
    code = f"import sys\nfrom tests.allocation.test_solve import *\n{WAYS[way]}\nassert 'highspy' in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
