"""Where it pays to let examples leave a batch: three modes by the share that leaves, and what tables say."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from timing import fresh

from anytimenet.bundle.backends.eager import EagerBackend
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.manifest.cost_table import CostTable, Latency
from anytimenet.core.manifest.machine import machine_stamp
from anytimenet.core.manifest.manifest import Manifest
from anytimenet.core.manifest.records import StageRecord
from anytimenet.nets import create_net
from anytimenet.runtime.backends.backend import Backend
from anytimenet.runtime.batches.costs import LEAVING_MODES, LeavingCosts
from anytimenet.runtime.batches.leaving import LeavingRun
from anytimenet.runtime.model import PreparedModel
from anytimenet.runtime.policies.policy import NOTHING, Memory

NAME = "runtime-leaving"
NET = "isresnext_small"
SHAPE = (3, 32, 32)
BATCH = 32
BATCHES = 4
PATH = ((0, 1), (1, 2), (2, 4))
SHARES = (0.03, 0.125, 0.25, 0.5, 0.75, 0.95)


def measure(rounds: int) -> dict[str, Any]:
    """A row for each share that leaves after stage 1, where nobody else leaves before the last."""
    return fresh(_measure, rounds)  # type: ignore[no-any-return]


def _measure(rounds: int) -> dict[str, Any]:
    model = _model()
    x = np.random.default_rng(0).standard_normal((BATCH * BATCHES, *SHAPE), dtype=np.float32)
    copy_ms = _copy_ms_per_mib(model.backend, x[:BATCH], rounds)
    costs = LeavingCosts(_table(model.backend, x, rounds), PATH, copy_ms)
    rows = []
    for share in SHARES:
        print(f"  {share:g} leave after stage 1 ..", flush=True)
        runs = {
            mode: LeavingRun(model, Some(share), path=PATH, mode=mode, batch=BATCH) for mode in LEAVING_MODES
        }
        runs["by the table"] = LeavingRun(
            model, Some(share), path=PATH, mode="compact", batch=BATCH, costs=costs
        )
        measured = _interleaved(runs, x, rounds)
        expected = costs.expected_ms((share, 0.0, 1 - share), BATCH)
        best = min(LEAVING_MODES, key=lambda mode: measured[mode])
        chosen = costs.cheapest((share, 0.0, 1 - share), BATCH)
        row: dict[str, Any] = {"leave": share}
        for mode, ms in measured.items():
            row[f"{mode} ms"] = round(ms, 2)
        for mode, ms in expected.items():
            row[f"{mode} expected"] = round(ms, 2)
        rows.append({**row, "best": best, "chosen": chosen, "chosen / best": _ratio(measured, chosen, best)})
    return {"net": NET, "batch": BATCH, "path": PATH, "copy_ms_per_mib": round(copy_ms, 3), "rows": rows}


class Some:
    """Lets a fixed share of the examples leave after stage 1: every so many-th."""

    num_stages = None

    def __init__(self, share: float) -> None:
        self.share = share

    def begin(self, batch: int) -> Memory:
        return NOTHING

    def leaves(self, stage: int, output: Any, memory: Memory) -> tuple[np.ndarray, Memory]:
        count = len(output[0])
        if stage > 1:
            return np.zeros(count, bool), memory
        return np.floor(np.arange(1, count + 1) * self.share) > np.floor(
            np.arange(count) * self.share
        ), memory


def _model() -> PreparedModel:
    net = create_net(NET, num_classes=10).eval()
    channels, height, width = SHAPE
    manifest = Manifest(
        net=None,
        class_names=(tuple("abcdefghij"),),
        preprocessing=Preprocessing(height, width, channels, (0.5,) * 3, (0.5,) * 3),
        input_shape=SHAPE,
        stages=tuple(StageRecord(k, macs=k, full=k, params=k) for k in range(1, net.num_stages + 1)),
    )
    return PreparedModel(manifest, EagerBackend(net, input_shape=SHAPE))


def _interleaved(runs: dict[str, LeavingRun], x: np.ndarray, rounds: int) -> dict[str, float]:
    """Median processor milliseconds of a batch in each run."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            gc.collect()
            began = time.process_time()
            for _ in run.answers(x):
                pass
            if number:
                found[name].append(1000 * (time.process_time() - began) / BATCHES)
    return {name: statistics.median(times) for name, times in found.items()}


def _table(backend: Backend, x: np.ndarray, rounds: int) -> CostTable:
    times: dict[tuple[int, int, int], list[float]] = {}
    sizes: list[int] = [0] * backend.num_stages
    for number in range(rounds + 1):
        for batch in (1, 2, 4, 8, 16, BATCH):
            state = backend.begin(x[:batch])
            for start, stop in PATH:
                began = time.process_time()
                state, _ = backend.run(start, stop, state)
                if number:
                    times.setdefault((start, stop, batch), []).append(1000 * (time.process_time() - began))
                sizes[stop - 1] = state.nbytes // batch
            backend.release(state)
    entries = {key: _latency(found) for key, found in times.items()}
    return CostTable(
        "cpu", machine_stamp(), "float32", 1, SHAPE, entries, backend="eager", state_bytes=tuple(sizes)
    )


def _latency(times: Sequence[float]) -> Latency:
    middle = statistics.median(times)
    return Latency(middle, max(times), max(times), repeats=len(times))


def _copy_ms_per_mib(backend: Backend, x: np.ndarray, rounds: int) -> float:
    def once() -> Iterator[float]:
        for _ in range(rounds + 1):
            state, _ = backend.run(0, 1, backend.begin(x))
            mib = state.nbytes / 2**20
            began = time.process_time()
            state = backend.rows(state, range(len(x)))
            yield 1000 * (time.process_time() - began) / mib
            backend.release(state)

    return statistics.median(list(once())[1:])


def _ratio(measured: dict[str, float], one: str, other: str) -> float:
    return round(measured[one] / measured[other], 3)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(measure(5))
