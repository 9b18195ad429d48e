"""Deadlines in real time: how often each planner is late, and how far behind one that knew the latencies."""

from __future__ import annotations

import gc
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from timing import fresh

from anytimenet.runtime.model import Model
from anytimenet.runtime.predictor import Predictor

NAME = "runtime-deadlines"
NET, SHAPE, BACKEND = "isresnext_47", (3, 32, 32), "onnxruntime"
ACCURACIES = (0.65, 0.70, 0.73, 0.75, 0.76, 0.77)
"""Of the stages: a curve that saturates, fixed before anything was measured. A late answer counts 0."""

VARIANTS = ("mean", "p95", "slowdown", "alert")
LOADS = {"idle": 0, "one competing": 1, "two competing": 2}
CALLS, ROUNDS = 2000, 9
LEARNING = 20  # calls of each planner that do not count, so that its slowdown is that of the load
STAGE_1_RUNS, FULL_RUNS, COST_RUNS = 200, 40, 15
PROFILE_MINUTES = 0.5

Costs = Mapping[tuple[int, int], float]
"""Milliseconds of the processor that each segment takes."""


def measure(rounds: int) -> dict[str, Any]:
    """One row for each load, deadline and planner; 2,000 calls of each at the usual nine rounds."""
    calls = max(CALLS * rounds // ROUNDS, 20)
    return {"net": NET, "backend": BACKEND, "accuracies": ACCURACIES, **fresh(_measure, calls)}


@dataclass(frozen=True)
class Call:
    """One prediction under a deadline.

    Attributes:
        deadline_ms: the deadline.
        wall_ms: from the request to the answer.
        cpu_ms: of it, what this thread ran.
        stage: that answered.
        path: the segments that ran.
        available_ms: what this thread could have run until the deadline.
    """

    deadline_ms: float
    wall_ms: float
    cpu_ms: float
    stage: int
    path: tuple[tuple[int, int], ...]
    available_ms: float

    @property
    def late(self) -> bool:
        """Whether the answer came after the deadline."""
        return self.wall_ms > self.deadline_ms

    @property
    def kept_waiting(self) -> bool:
        """Late, and descheduled for longer than its slack: what it ran itself would have been in time."""
        return self.late and self.wall_ms - self.cpu_ms > self.deadline_ms - self.cpu_ms > 0

    @property
    def accuracy(self) -> float:
        """What the answer is worth."""
        return 0.0 if self.late else ACCURACIES[self.stage - 1]

    def speed(self, costs: Costs) -> float:
        """What the segments that ran took of the processor, over what they cost."""
        return self.cpu_ms / sum(costs[segment] for segment in self.path)

    def knowing(self, costs: Costs, speed: float | None = None) -> float:
        """What a path had reached that knew when this call would be interrupted, and how fast it would run.

        It had `available_ms` of the processor, at the speed of the segments that ran, or the one that is
        given where not all that ran are whole segments.
        """
        speed = self.speed(costs) if speed is None else speed
        best, spent = 0.0, 0.0
        for stage, accuracy in enumerate(ACCURACIES, 1):
            spent = min(spent + costs[stage - 1, stage], costs[0, stage])
            if spent * speed <= self.available_ms:
                best = max(best, accuracy)
        return best


def _measure(calls: int) -> dict[str, Any]:
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    with tempfile.TemporaryDirectory() as folder:
        model, before = model_on(Path(folder), BACKEND), os.getloadavg()[1]
        return {"core": core, "load_average_before": before, **_measure_on(model, core, calls)}


def model_on(folder: Path, backend: str) -> Model:
    """The net with fresh weights, on the backend; times do not depend on what was learnt."""
    from anytimenet.bundle.bundle import Bundle
    from anytimenet.core.images.preprocessing import Preprocessing
    from anytimenet.export.folder import export
    from anytimenet.nets import create_net
    from anytimenet.runtime.exported.net import ExportedNet

    bundle = Bundle.create(
        create_net(NET, 100),
        class_names=[[f"class {number}" for number in range(100)]],
        preprocessing=Preprocessing(*SHAPE[1:], SHAPE[0], mean=(0.5,) * 3, std=(0.25,) * 3),
        val_accuracies=ACCURACIES,
    )
    export(bundle, folder / "net", format="native" if backend == "native" else "onnx")
    return ExportedNet.load(folder / "net", backend=backend)


def _measure_on(model: Model, core: int, calls: int) -> dict[str, Any]:
    from anytimenet.runtime.profiling.backend import profile_backend

    x = np.random.default_rng(0).standard_normal((1, *SHAPE)).astype(np.float32)
    table = profile_backend(model.backend, SHAPE, minutes=PROFILE_MINUTES)
    predictors = {variant: Predictor(model, table=table, variant=variant) for variant in VARIANTS}
    for predictor in predictors.values():
        predictor.warm_up()
    costs = {segment: processor_ms(model, x, *segment) for segment in sorted(model.backend.segments)}
    gc.collect()
    gc.freeze()  # what a long-running process has done once, too
    rows: list[dict[str, Any]] = []
    for load, others in LOADS.items():
        with competing(others, core):
            for name, deadline_ms in deadlines_under(predictors["alert"], x).items():
                print(f"  {load}, {name}: {deadline_ms:.1f} ms ..", flush=True)
                done = made_calls(predictors, x, deadline_ms, calls)
                head = {"load": load, "deadline": name, "deadline_ms": round(deadline_ms, 2)}
                rows += [head | {"planner": name} | row_of(found, costs) for name, found in done.items()]
    profiled = {f"{a}-{b}": round(each.median_ms, 2) for (a, b, _), each in sorted(table.entries.items())}
    return {"calls": calls, "profiled_ms": profiled, "rows": rows}


def deadlines_under(predictor: Predictor, x: np.ndarray) -> dict[str, float]:
    """From what leaves time for stage 1 under this load to what leaves time for the whole net."""
    stage_1 = [_timed(predictor, x, 1) for _ in range(STAGE_1_RUNS)]
    full = [_timed(predictor, x, len(ACCURACIES)) for _ in range(FULL_RUNS)]
    shortest = 1.5 * float(np.percentile(stage_1, 99, method="higher"))
    longest = max(1.2 * statistics.median(full), shortest)
    return {
        "1.5 x stage 1's p99": shortest,
        "midway": (shortest + longest) / 2,
        "1.2 x full": longest,
    }


def _timed(predictor: Predictor, x: np.ndarray, stage: int) -> float:
    begun = time.perf_counter()
    predictor.predict(x, stage=stage)
    return 1000 * (time.perf_counter() - begun)


def processor_ms(model: Model, x: np.ndarray, start: int, stop: int) -> float:
    """The median of what a segment takes of the processor."""
    backend, found = model.backend, []
    for _ in range(COST_RUNS):
        state = backend.begin(x)
        if start:
            state, _ = backend.run(0, start, state)
        begun = time.thread_time()
        state, _ = backend.run(start, stop, state)
        found.append(1000 * (time.thread_time() - begun))
        backend.release(state)
    return statistics.median(found)


def made_calls(
    predictors: Mapping[str, Predictor], x: np.ndarray, deadline_ms: float, calls: int
) -> dict[str, list[Call]]:
    """The calls of all planners in turn, so that a busy second of the machine falls on all of them."""
    names = list(predictors)
    done: dict[str, list[Call]] = {name: [] for name in names}
    for number in range(LEARNING + calls):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            call = _call(predictors[name], x, deadline_ms)
            if number >= LEARNING:
                done[name].append(call)
    return done


def _call(predictor: Predictor, x: np.ndarray, deadline_ms: float) -> Call:
    """One prediction; what is left of the time is spent, too, to know how much of the processor there was."""
    begun, ran = time.perf_counter(), time.thread_time()
    answer = predictor.predict(x, deadline_ms=deadline_ms)
    wall, cpu = 1000 * (time.perf_counter() - begun), 1000 * (time.thread_time() - ran)
    available = min(cpu, deadline_ms)  # of a late call no less than it had
    if wall <= deadline_ms:
        while 1000 * (time.perf_counter() - begun) < deadline_ms:
            pass
        available = 1000 * (time.thread_time() - ran)
    return Call(deadline_ms, wall, cpu, answer.stage, tuple(answer.path), available)


def row_of(calls: Sequence[Call], costs: Costs, speed: float | None = None) -> dict[str, Any]:
    """What is printed of one planner: the share kept waiting, and of the rest lateness and accuracy."""
    rest = [call for call in calls if not call.kept_waiting]
    accuracy, knowing = (
        _mean(call.accuracy for call in rest),
        _mean(call.knowing(costs, speed) for call in rest),
    )
    return {
        "calls": len(calls),
        "late_%": _percent(call.late for call in calls),
        "kept_waiting_%": _percent(call.kept_waiting for call in calls),
        "rest_late_%": _percent(call.late for call in rest),
        "rest_accuracy": round(100 * accuracy, 2),
        "rest_oracle": round(100 * knowing, 2),
        "behind": round(100 * (knowing - accuracy), 2),
        "accuracy": round(100 * _mean(call.accuracy for call in calls), 2),
        "mean_stage": round(_mean(call.stage for call in calls), 2),
        "segments": round(_mean(len(call.path) for call in calls), 2),
    }


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return statistics.fmean(found) if found else 0.0


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
