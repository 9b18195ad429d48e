"""The simulator and the real server, engine threads and all, on one virtual clock: the same counts."""

from __future__ import annotations

import threading
import time
from collections import Counter

import numpy as np
import pytest
from tests.unit.runtime.fakes.clock import FakeClock
from tests.unit.runtime.fakes.tables import table_of
from tests.unit.runtime.fakes.toy import SHAPE, toy_images, toy_model

from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.serving.model_server import ModelServer
from anytimenet.serving.request import Done, Overloaded, Request, StageDone, Update
from anytimenet.serving.simulation.load import bursts, poisson
from anytimenet.serving.simulation.simulator import Site, simulate

STEP_MS, ALLOWED_S, ACCURACY = 20.0, 0.3, (0.5, 0.65, 0.75, 0.8)


def table(backend: str) -> CostTable:
    found = table_of({(a, b): STEP_MS * (b - a) for a in range(4) for b in range(a + 1, 5)})
    return CostTable("cpu", found.machine, "float32", 1, SHAPE, found.entries, backend=backend)


class Timeline:
    """Moves the clock on: by each segment that runs, and to the next request where nothing does."""

    def __init__(self, times: np.ndarray) -> None:
        self.clock, self.times = FakeClock(), times
        self.ends: Counter[str] = Counter()
        self.server: ModelServer | None = None
        self.running = False
        self.moving = threading.RLock()  # one thread at a time moves the clock

    def work(self, start: int, stop: int, batch: int) -> None:
        with self.moving:
            self.clock.advance((stop - start) * STEP_MS / 1000 * self.running)

    def come(self) -> None:
        assert self.server is not None
        now = self.clock()
        try:
            self.server.submit(toy_images(), Request(now, now + ALLOWED_S), self.told)
        except Overloaded:
            self.ends["refused"] += 1

    def told(self, update: Update) -> None:
        if isinstance(update, Done) and not update.timing.late:
            self.ends[f"stage {update.prediction.stage}"] += 1
        elif not isinstance(update, StageDone):
            self.ends["refused"] += 1

    def play(self, policy: str) -> Counter[str]:
        model = toy_model(validated=ACCURACY, work=self.work)
        with ModelServer(
            model, table=table("toy"), policy=policy, threads=1, clock=self.clock
        ) as self.server:
            self.running = True
            for when in self.times:
                self.clock.at(float(when), self.come)
            until = time.monotonic() + 60
            while sum(self.ends.values()) < len(self.times):
                assert time.monotonic() < until, self.ends
                with self.moving:
                    status = self.server.snapshot()
                    if status.waiting == status.paused == status.running == 0:
                        self.clock.wait(1.0)
                time.sleep(0.0002)
        return self.ends


@pytest.mark.parametrize("policy", ["anytime", "full_or_refuse"])
@pytest.mark.parametrize("load", [poisson, bursts])
def test_the_simulator_counts_what_the_server_does(policy, load):
    times = load(25.0, 8.0, 3)  # twice what the full net could serve
    real = Timeline(times).play(policy)
    report = simulate(Site(table("toy"), ACCURACY, policy=policy, spread=0.0), times, ALLOWED_S)
    simulated = Counter({f"stage {stage}": count for stage, count in report.stages.items()})
    simulated["refused"] = len(times) - sum(simulated.values())
    assert sum(real.values()) == len(times)
    # The server keeps time free for making answers, which the simulator does not know.
    for end in real.keys() | simulated.keys():
        assert abs(real[end] - simulated[end]) <= 0.05 * len(times), (real, simulated)
