"""What a plan costs: asked for the first time, and from the table of plans."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from timing import fresh

from anytimenet.core.manifest.cost_table import CostTable, Latency
from anytimenet.runtime.planning.plan_table import PlanTable
from anytimenet.runtime.planning.planner import Planner

NAME = "runtime-planning"
STAGES = (4, 8, 15)
CUTS = (0.0, 0.3)
PLANS_A_ROUND = 100
REACH_US = 50  # of a plan from the table, at 8 stages


def measure(rounds: int) -> dict[str, Any]:
    """One row for each number of stages, with a budget that is sure and one that may be cut."""
    return {"plans": rounds * PLANS_A_ROUND, "rows": fresh(_measure, rounds * PLANS_A_ROUND)}


def _measure(plans: int) -> list[dict[str, Any]]:
    return [_row(stages, cut, plans) for stages in STAGES for cut in CUTS]


def _row(stages: int, cut: float, plans: int) -> dict[str, Any]:
    """Deadlines anywhere from less than stage 1 takes to more than all steps do, all segments planned."""
    planner = Planner(_table(stages), [1 - 0.5 * 0.7**k for k in range(stages)], cut=cut)
    kept = PlanTable(planner)
    deadlines = np.random.default_rng(0).uniform(0.5, 1.5 * stages, plans).tolist()
    first = _microseconds(planner.plan, deadlines)
    for deadline in deadlines:
        kept.plan(deadline)
    again = _microseconds(kept.plan, deadlines)
    observed = _microseconds(lambda elapsed: kept.observe(0, 1, elapsed), [1.1, 1.2, 1.15] * (plans // 3))
    return {
        "stages": stages,
        "segments": len(planner.segments),
        "cut": cut,
        "from_table_us": round(statistics.median(again), 2),
        "reach_us": REACH_US,
        "first_us": round(statistics.median(first)),
        "first_p95_us": round(float(np.percentile(first, 95))),
        "observe_us": round(statistics.median(observed), 2),
    }


def _table(stages: int) -> CostTable:
    """Of a net that resumes: an equal step for each stage, and a little for each segment."""
    entries = {
        (a, b, 1): Latency(b - a + 0.2, 1.03 * (b - a + 0.2), 1.06 * (b - a + 0.2), repeats=50)
        for a in range(stages)
        for b in range(a + 1, stages + 1)
    }
    return CostTable("cpu", {"id": "made up"}, "float32", 1, (3, 32, 32), entries)


def _microseconds(call: Callable[[float], object], arguments: list[float]) -> list[float]:
    found = []
    for argument in arguments:
        begun = time.perf_counter()
        call(argument)
        found.append(1e6 * (time.perf_counter() - begun))
    return found
