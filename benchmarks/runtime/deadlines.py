"""Deadlines in real time: how often each planner is late, and how far behind one that knew the latencies."""

from __future__ import annotations

import gc
import multiprocessing
import os
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from timing import fresh

from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.runtime.backends.backend import Backend
from anytimenet.runtime.planning.plan_table import PlanTable
from anytimenet.runtime.planning.planner import Planner

NAME = "runtime-deadlines"
NET, SHAPE = "isresnext_47", (3, 32, 32)
ACCURACIES = (0.65, 0.70, 0.73, 0.75, 0.76, 0.77)
"""Of the stages: a curve that saturates, fixed before anything was measured. No answer in time counts 0."""

VARIANTS = ("mean", "p95", "slowdown", "alert")
LOADS = {"idle": 0, "one competing": 1, "two competing": 2}
CALLS, ROUNDS = 2000, 9
LEARNING = 20  # calls of each planner that do not count, so that its slowdown is that of the load
STAGE_1_RUNS, FULL_RUNS = 200, 40


def measure(rounds: int) -> dict[str, Any]:
    """One row for each load, deadline and variant; 2,000 calls of each at the usual nine rounds."""
    calls = max(CALLS * rounds // ROUNDS, 20)
    return {"net": NET, "accuracies": ACCURACIES, "calls": calls, **fresh(_measure, calls)}


@dataclass(frozen=True)
class Call:
    """One prediction under a deadline.

    Attributes:
        wall_ms: from the request to the answer.
        cpu_ms: of it, what this thread ran.
        finished: stages, and when each was finished.
        path: the segments that ran.
        planning_ms: of it, what was spent on plans.
    """

    wall_ms: float
    cpu_ms: float
    finished: tuple[tuple[int, float], ...]
    path: tuple[tuple[int, int], ...]
    planning_ms: float

    def accuracy(self, deadline_ms: float) -> float:
        """What stands at the deadline."""
        return max((ACCURACIES[stage - 1] for stage, at in self.finished if at <= deadline_ms), default=0.0)

    def was_kept_waiting(self, deadline_ms: float) -> bool:
        """Late, and descheduled for longer than its slack: what it ran itself would have been in time."""
        return self.wall_ms > deadline_ms and self.wall_ms - self.cpu_ms > deadline_ms - self.cpu_ms > 0

    def knowing(self, deadline_ms: float, table: CostTable) -> float:
        """What a plan had reached that knew this call's speed and interruption: one jump to the best stage.

        Its time to stage k is the profiled one, times what the call's own segments took of the processor over
        what they take by the table, and what the call was descheduled for. A longer jump might have been
        interrupted more: this is generous to the one who knew.
        """
        profiled = sum(table.latency(*segment).median_ms for segment in self.path)
        speed, waited = self.cpu_ms / profiled, self.wall_ms - self.cpu_ms
        stages = range(1, len(ACCURACIES) + 1)
        in_time = [
            ACCURACIES[k - 1] for k in stages if table.latency(0, k).median_ms * speed + waited <= deadline_ms
        ]
        return max(in_time, default=0.0)


def _measure(calls: int) -> dict[str, Any]:
    from anytimenet.bundle.backends.eager import EagerBackend
    from anytimenet.nets import create_net
    from anytimenet.runtime.profiling.backend import profile_backend

    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    backend = EagerBackend(create_net(NET, 100), input_shape=SHAPE)
    for segment in sorted(backend.segments):
        backend.prepare(*segment)
    x = np.random.default_rng(0).standard_normal((1, *SHAPE)).astype(np.float32)
    table = profile_backend(backend, SHAPE, minutes=0.5)
    gc.collect()
    gc.freeze()  # what a long-running process has done once, too
    rows: list[dict[str, Any]] = []
    for load, others in LOADS.items():
        with competing(others, core):
            for name, deadline_ms in _deadlines(backend, x).items():
                print(f"  {load}, {name}: {deadline_ms:.1f} ms ..", flush=True)
                done = _calls(backend, x, table, deadline_ms, calls)
                rows += [
                    {"load": load, "deadline": name, "deadline_ms": round(deadline_ms, 2), "planner": variant}
                    | _row(found, deadline_ms, table)
                    for variant, found in done.items()
                ]
    profiled = {f"{a}-{b}": round(each.median_ms, 2) for (a, b, _), each in sorted(table.entries.items())}
    return {"backend": backend.name, "core": core, "profiled_ms": profiled, "rows": rows}


def _deadlines(backend: Backend, x: np.ndarray) -> dict[str, float]:
    """From what leaves time for stage 1 under this load to what leaves time for the whole net."""
    stage_1 = [_timed(backend, x, 1) for _ in range(STAGE_1_RUNS)]
    full = [_timed(backend, x, backend.num_stages) for _ in range(FULL_RUNS)]
    shortest = 1.5 * float(np.percentile(stage_1, 99, method="higher"))
    longest = max(1.2 * statistics.median(full), shortest)
    return {
        "1.5 x stage 1's p99": shortest,
        "midway": (shortest + longest) / 2,
        "1.2 x full": longest,
    }


def _timed(backend: Backend, x: np.ndarray, stage: int) -> float:
    begun = time.perf_counter()
    state, _ = backend.run(0, stage, backend.begin(x))
    elapsed = 1000 * (time.perf_counter() - begun)
    backend.release(state)
    return elapsed


def _calls(
    backend: Backend, x: np.ndarray, table: CostTable, deadline_ms: float, calls: int
) -> dict[str, list[Call]]:
    """The calls of all variants in turn, so that a busy second of the machine falls on all of them."""
    planners = {
        variant: PlanTable(Planner(table, ACCURACIES, segments=backend.segments, variant=variant))
        for variant in VARIANTS
    }
    done: dict[str, list[Call]] = {variant: [] for variant in VARIANTS}
    for number in range(LEARNING + calls):
        turn = number % len(VARIANTS)
        for variant in VARIANTS[turn:] + VARIANTS[:turn]:
            call = _call(backend, x, planners[variant], deadline_ms)
            if number >= LEARNING:
                done[variant].append(call)
    return done


def _call(backend: Backend, x: np.ndarray, planner: PlanTable, deadline_ms: float) -> Call:
    """Plans, runs the first segment, and plans again with the time that is left, until nothing more pays."""
    begun, ran = time.perf_counter(), time.thread_time()
    state, stage, planning = backend.begin(x), 0, 0.0
    finished: list[tuple[int, float]] = []
    path: list[tuple[int, int]] = []
    now = begun
    while True:
        plan = planner.plan(deadline_ms - 1000 * (now - begun), stage)
        planned = time.perf_counter()
        planning += planned - now
        if not plan.path:
            break
        start, stop = plan.path[0]
        state, _ = backend.run(start, stop, state)
        now = time.perf_counter()
        planner.observe(start, stop, 1000 * (now - planned))
        stage = stop
        path.append((start, stop))
        finished.append((stop, 1000 * (now - begun)))
    wall, cpu = time.perf_counter() - begun, time.thread_time() - ran
    backend.release(state)
    return Call(1000 * wall, 1000 * cpu, tuple(finished), tuple(path), 1000 * planning)


def _row(calls: Sequence[Call], deadline_ms: float, table: CostTable) -> dict[str, Any]:
    """What is printed of one variant: the share kept waiting, and of the rest lateness and accuracy."""
    rest = [call for call in calls if not call.was_kept_waiting(deadline_ms)]
    accuracy = _mean(call.accuracy(deadline_ms) for call in rest)
    knowing = _mean(call.knowing(deadline_ms, table) for call in rest)
    return {
        "calls": len(calls),
        "all_late_%": _percent(call.wall_ms > deadline_ms for call in calls),
        "kept_waiting_%": _percent(call.was_kept_waiting(deadline_ms) for call in calls),
        "rest_late_%": _percent(call.wall_ms > deadline_ms for call in rest),
        "accuracy": round(100 * accuracy, 2),
        "oracle": round(100 * knowing, 2),
        "points_behind": round(100 * (knowing - accuracy), 2),
        "mean_stage": round(_mean(max(stage for stage, _ in call.finished) for call in rest), 2),
        "segments": round(_mean(len(call.path) for call in rest), 2),
        "planning_us": round(1000 * statistics.median(call.planning_ms for call in calls)),
    }


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return statistics.fmean(found) if found else float("nan")


def _percent(values: Iterable[bool]) -> float:
    return round(100 * _mean(map(float, values)), 2)


@contextmanager
def competing(count: int, core: int) -> Iterator[None]:
    """Inside, so many other processes want the same core all the time."""
    context = multiprocessing.get_context("spawn")
    ready = [context.Event() for _ in range(count)]
    others = [context.Process(target=_compete, args=(core, event), daemon=True) for event in ready]
    try:
        for other, event in zip(others, ready, strict=True):
            other.start()
            event.wait(60)
        yield
    finally:
        for other in others:
            other.terminate()
            other.join()


def _compete(core: int, ready: Any) -> None:
    """Multiplies matrices that fit into the cache, for ever."""
    os.sched_setaffinity(0, {core})
    one = np.ones((128, 128), np.float32)
    ready.set()
    while True:
        one @ one
