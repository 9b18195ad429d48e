"""What a session, a planner and a policy cost beside the segments, which do nothing here."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from timing import fresh

from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.manifest.cost_table import CostTable, Latency
from anytimenet.core.manifest.manifest import Manifest
from anytimenet.core.manifest.records import StageRecord
from anytimenet.runtime import ConfidencePolicy, Placement, PreparedModel, Session
from anytimenet.runtime.backends.backend import Output, State
from anytimenet.runtime.predictor import Predictor

NAME = "runtime-overhead"
STAGES = 8
CLASSES = 100
SHAPE = (3, 32, 32)
STEPS = [(k, k + 1) for k in range(STAGES)]
SEGMENT_MS = 0.2  # by the clock that the planner sees: a steady machine
REACH_US = 30
RUNS_A_ROUND = 300


def measure(rounds: int) -> dict[str, Any]:
    """Microseconds a step beside bare segments, and of a whole run in one jump."""
    return {"stages": STAGES, "classes": CLASSES, "rows": fresh(_measure, rounds * RUNS_A_ROUND)}


def _measure(runs: int) -> list[dict[str, Any]]:
    model, x = _model(), np.zeros((1, *SHAPE), np.float32)
    pixels = np.zeros((*SHAPE[1:], 3), np.uint8)
    policy = ConfidencePolicy("max_probability", (*[0.999] * (STAGES - 1), None))
    stepping = Predictor(model, table=_table(STEPS), segments=STEPS, policy=policy, clock=CLOCK)
    jump = [(0, STAGES)]
    jumping = Predictor(model, table=_table(jump), segments=jump, policy=None, clock=CLOCK)

    def bare(path: Sequence[tuple[int, int]]) -> None:
        state: State = model.backend.begin(x)
        for start, stop in path:
            state, _ = model.backend.run(start, stop, state)

    def stepped() -> None:
        session = Session(model, x)
        for _ in STEPS:
            session.step()

    works: dict[str, Callable[[], object]] = {
        "bare steps": lambda: bare(STEPS),
        "bare jump": lambda: bare(jump),
        "session begun": lambda: Session(model, x),
        "session stepped": stepped,
        "session's path": lambda: Session(model, x).run(STEPS),
        "predict, steps": lambda: stepping.predict(x, deadline_ms=1000.0),
        "predict, one jump": lambda: jumping.predict(x, deadline_ms=1000.0),
        "predict pixels, one jump": lambda: jumping.predict(pixels, deadline_ms=1000.0),
    }
    us = _interleaved(works, runs)
    begun, steps = us["session begun"], us["bare steps"]
    jumped = us["predict, one jump"] - us["bare jump"]
    one_step = (us["predict, steps"] - steps - jumped) / (STAGES - 1)
    return [
        {"what": "session.step()", "us": _a_step(us["session stepped"] - begun - steps)},
        {"what": "a segment of session.run(path)", "us": _a_step(us["session's path"] - begun - steps)},
        {"what": "a step of predict: session, planner and policy", "us": one_step, "reach": REACH_US},
        {"what": "Session(model, x)", "us": begun},
        {"what": "predict in one jump: all but the segment", "us": jumped},
        {"what": "the same of uint8 pixels", "us": us["predict pixels, one jump"] - us["bare jump"]},
    ]


def _a_step(us: float) -> float:
    return us / STAGES


def _interleaved(works: Mapping[str, Callable[[], object]], runs: int) -> dict[str, float]:
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(runs):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            found[name].append(1e6 * (time.perf_counter() - began))
    return {name: statistics.median(times) for name, times in found.items()}


class Steady:
    """A clock on which every segment takes as long as the cost table says."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


CLOCK = Steady()


class Idle:
    """A backend whose segments do nothing but move that clock, and give logits that were made before."""

    name, tolerance, num_stages, nbytes = "idle", 0.0, STAGES, 0
    placement = Placement()
    segments = frozenset((a, b) for a in range(STAGES) for b in range(a + 1, STAGES + 1))
    prepared: Mapping[tuple[int, int], int] = dict.fromkeys(segments, 0)
    logits: Output = (np.random.default_rng(0).standard_normal((1, CLASSES), dtype=np.float32),)

    def prepare(self, start: int, stop: int) -> None:
        pass

    def begin(self, x: np.ndarray) -> State:
        return EMPTY

    def run(self, start: int, stop: int, state: State) -> tuple[State, Output]:
        CLOCK.now += SEGMENT_MS / 1000
        return state, self.logits

    def save(self, state: State) -> dict[str, np.ndarray]:
        return {}

    def restore(self, stage: int, tensors: Mapping[str, np.ndarray]) -> State:
        return EMPTY

    def rows(self, state: State, index: Sequence[int]) -> State:
        return state

    def release(self, state: State) -> None:
        pass


class _Empty:
    stage, batch, nbytes = 0, 1, 0


EMPTY = _Empty()


def _model() -> PreparedModel:
    channels, height, width = SHAPE
    manifest = Manifest(
        net=None,
        class_names=(tuple(f"class {i}" for i in range(CLASSES)),),
        preprocessing=Preprocessing(height, width, channels, (0.5,) * 3, (0.5,) * 3),
        input_shape=SHAPE,
        stages=tuple(
            StageRecord(k, macs=k, full=k, params=k, val_accuracy=1 - 0.5 * 0.7**k)
            for k in range(1, STAGES + 1)
        ),
    )
    return PreparedModel(manifest, Idle())


def _table(segments: Iterable[tuple[int, int]]) -> CostTable:
    entries = {(a, b, 1): Latency(*[SEGMENT_MS] * 3, repeats=50) for a, b in segments}
    return CostTable("cpu", {"id": "made up"}, "float32", 1, SHAPE, entries, backend=Idle.name)
