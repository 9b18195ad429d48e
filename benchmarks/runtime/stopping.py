"""Deadlines on the native engine: runs that the deadline stops at the next block, beside planned segments."""

from __future__ import annotations

import gc
import os
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from runtime.deadlines import (
    ACCURACIES,
    LOADS,
    NET,
    PROFILE_MINUTES,
    SHAPE,
    Call,
    Costs,
    competing,
    made_calls,
    model_on,
    processor_ms,
    row_of,
)
from timing import fresh

from anytimenet.runtime.backends.backend import Backend
from anytimenet.runtime.model import PreparedModel
from anytimenet.runtime.predictor import Predictor

NAME = "runtime-stopping"
BACKEND = "native"
CALLS, ROUNDS = 2000, 9
STOPPED, PLANNED = "stop flag", "alert"
SHARES = (0.3, 0.6, 1.2)
"""Deadlines, as shares of what the whole net takes of the processor, times the processes that share it."""


def measure(rounds: int) -> dict[str, Any]:
    """One row for each load, deadline and way to keep it; 2,000 calls of each at the usual nine rounds."""
    calls = max(CALLS * rounds // ROUNDS, 20)
    return {"net": NET, "backend": BACKEND, "accuracies": ACCURACIES, **fresh(_measure, calls)}


class Unstopped:
    """A backend without its stop flag: a segment that has begun runs to its end."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


def _measure(calls: int) -> dict[str, Any]:
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    with tempfile.TemporaryDirectory() as folder:
        model, before = model_on(Path(folder), BACKEND), os.getloadavg()[1]
        from anytimenet.runtime.profiling.backend import profile_backend

        x = np.random.default_rng(0).standard_normal((1, *SHAPE)).astype(np.float32)
        table = profile_backend(model.backend, SHAPE, minutes=PROFILE_MINUTES)
        planned = PreparedModel(model.manifest, Unstopped(model.backend))
        predictors = {STOPPED: Predictor(model, table=table), PLANNED: Predictor(planned, table=table)}
        for predictor in predictors.values():
            predictor.warm_up()
        costs = {each: processor_ms(model, x, *each) for each in sorted(model.backend.segments)}
        gc.collect()
        gc.freeze()  # what a long-running process has done once, too
        rows: list[dict[str, Any]] = []
        for load, others in LOADS.items():
            with competing(others, core):
                for share in SHARES:
                    name, deadline_ms = f"{share} x full", share * costs[0, len(ACCURACIES)] * (1 + others)
                    print(f"  {load}, {name}: {deadline_ms:.2f} ms ..", flush=True)
                    done = made_calls(predictors, x, deadline_ms, calls)
                    speed = _speed(done[PLANNED], costs)
                    head = {"load": load, "deadline": name, "deadline_ms": round(deadline_ms, 2)}
                    rows += [
                        head | {"planner": name} | row_of(found, costs, speed) for name, found in done.items()
                    ]
    profiled = {f"{a}-{b}": round(each.median_ms, 2) for (a, b, _), each in sorted(table.entries.items())}
    return {
        "core": core,
        "load_average_before": before,
        "calls": calls,
        "profiled_ms": profiled,
        "rows": rows,
    }


def _speed(calls: Sequence[Call], costs: Costs) -> float:
    """Of the processor, from the calls whose segments all ran to their end: a slice that was broken off is
    work that no segment tells."""
    return statistics.median(call.speed(costs) for call in calls)
