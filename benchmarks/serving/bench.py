"""What the runs of one net share: its requests, its own time, and a generator that is quick enough."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from serving.arrivals import SHAPES
from serving.generator import Run, save_plan
from serving.goodput import MOST_LAG, Score, score
from serving.servers import Kind, settle

HERE = Path(__file__).parent
SERVER_CORE, GENERATOR_CORE = (os.cpu_count() or 2) - 1, 0
TIMES_FULL = 5.0
TRIES = 3


@dataclass(frozen=True)
class Images:
    """The different requests, and what is right."""

    contents: list[bytes]
    labels: list[str]


@dataclass(frozen=True)
class Bench:
    """What the runs of one net share.

    Attributes:
        images: to send.
        deadline_s: of each request.
        seconds: of a run.
        work: a folder for plans.
        priority: command before the generator's.
    """

    images: Images
    deadline_s: float
    seconds: float
    work: Path
    priority: tuple[str, ...]

    def drive(
        self,
        address: tuple[str, int],
        kind: Kind,
        intended: np.ndarray,
        seed: int,
        clients: int | None = None,
    ) -> tuple[Run, list[str]]:
        """One run in a process of its own, and the right labels of its requests.

        With `clients` it is a closed loop: so many, who wait for their answer for a minute.
        """
        draws = np.random.default_rng(seed).integers(len(self.images.contents), size=len(intended))
        requests = [kind.request(content) for content in self.images.contents]
        plan, result = self.work / "plan.npz", self.work / "run.npz"
        patience_s = 60.0 if clients else max(1.0, 4 * self.deadline_s)
        save_plan(plan, address, requests, draws, intended, patience_s, clients)
        command = ("taskset", "-c", str(GENERATOR_CORE), sys.executable, str(HERE / "generator.py"))
        subprocess.run((*self.priority, *command, str(plan), str(result)), check=True)
        return Run.load(result), [self.images.labels[draw] for draw in draws]

    def lasting(self, seconds: float) -> Bench:
        """The same with runs of another length."""
        return replace(self, seconds=seconds)

    def open_loop(self, address: tuple[str, int], kind: Kind, shape: str, rate_hz: float, seed: int) -> Score:
        """A run that counts: another try where the generator was late."""
        intended = SHAPES[shape](rate_hz, self.seconds, seed)
        for _ in range(TRIES):
            run, labels = self.drive(address, kind, intended, seed)
            found = score(run, labels, self.deadline_s)
            time.sleep(0.1)
            if found.counts:
                break
        return found

    def saturation_hz(self, address: tuple[str, int], kind: Kind, expected_hz: float) -> float:
        """Answers a second to four clients of which each asks again as soon as it has its answer."""
        count = max(40, int(1.5 * expected_hz))
        run, _ = self.drive(address, kind, np.zeros(count), 0, clients=4)
        if (run.status != 200).any():
            raise RuntimeError(f"{kind.name}: {(run.status != 200).sum()} of {count} were not answered")
        return float(count / np.nanmax(run.answered))

    def overheads_ms(self, address: tuple[str, int], kind: Kind, prepare_ms: float) -> np.ndarray:
        """Of requests that come one at a time: what they wait beside the net's segments and their image."""
        pause_s = max(0.03, 3 * self.deadline_s / TIMES_FULL)
        run, _ = self.drive(address, kind, np.arange(100) * pause_s, 0)
        answered = np.flatnonzero(run.status == 200)
        ran = np.array([json.loads(run.bodies[at])["timings"]["run_ms"] for at in answered])
        return 1000 * run.latency[answered] - ran - prepare_ms

    def alone_ms(self, address: tuple[str, int], kind: Kind) -> float:
        """Median latency of one request at a time."""
        run, _ = self.drive(address, kind, np.arange(60) * max(0.03, 1.2 * self.deadline_s / TIMES_FULL), 0)
        return float(1000 * np.nanmedian(run.latency))


def null_run(bench: Bench, top_hz: float) -> dict[str, Any]:
    """The generator against a handler that does nothing, at 1.5 times the top rate."""
    command = (sys.executable, str(HERE / "null_server.py"), "0")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        os.sched_setaffinity(process.pid, {SERVER_CORE})
        assert process.stdout is not None
        address = "127.0.0.1", int(process.stdout.readline())
        kind = Kind("null", (), {}, False, "/")
        intended = SHAPES["poisson"](1.5 * top_hz, bench.seconds, 0)
        run, labels = bench.drive(address, kind, intended, 0)
    finally:
        process.kill()
        process.wait()
    found = score(run, labels, bench.deadline_s)
    sustained = found.in_time >= 0.99 and found.counts
    return {
        "rate_hz": round(1.5 * top_hz, 1),
        "in_time": round(found.in_time, 4),
        "p99_ms": round(found.p99_ms, 3),
        "lag_ms": round(found.lag_ms, 3),
        "most_lag_ms": round(1000 * MOST_LAG * bench.deadline_s, 3),
        "sustained": sustained,
    }


def own_of(export: Path, images: Path, work: Path) -> dict[str, Any]:
    out = work / "own.json"
    command = ("taskset", "-c", str(SERVER_CORE), sys.executable, str(HERE / "own.py"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        (*command, str(export), str(images), str(out)), env=environment, start_new_session=True
    )
    settle(process.pid, SERVER_CORE)
    if process.wait():
        raise RuntimeError("own.py failed")
    own: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return own


def images_in(path: Path) -> Images:
    with np.load(path) as kept:
        joined, ends = kept["joined"].tobytes(), [int(end) for end in kept["ends"]]
        contents = [joined[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]
        return Images(contents, [str(label) for label in kept["labels"]])
