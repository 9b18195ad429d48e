"""A camera at 30 frames a second, while others use the processor: python examples/camera_loop.py [FOLDER]

A thread plays the camera; only its newest frame waits. Each is answered within its period, by the stage that
fits: while other processes compete for the same core the answers come from earlier stages, and when these
stop they come from later ones again. Beside it the full net alone; both on the native engine where it is.
The net has random weights, for it is times that are shown here; its images are as large as lets the full net
use half a period of this machine at rest. Writes camera_loop.png into FOLDER. In C: examples/native/camera.c.
"""

from __future__ import annotations

import itertools
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

import anytimenet as an
from anytimenet.export import export
from anytimenet.native import library
from anytimenet.runtime import ExportedNet, StreamAnswer, StreamReport, StreamRunner, load
from anytimenet.runtime.profiling.exported import profile_exported

RATE = 30.0
Run = tuple[list[StreamAnswer], StreamReport]
Runs = dict[str, Run]


def make_model(net_name: str, side: int, folder: Path) -> Any:
    """A net that nobody trained, for `side` x `side` pixels; where the native engine is, in `folder`."""
    torch.manual_seed(0)
    net = an.create_net(net_name, num_classes=10).eval()
    preprocessing = an.Preprocessing(side, side, 3, mean=(0.5,) * 3, std=(0.25,) * 3)
    bundle = an.Bundle.create(net, class_names=[list("abcdefghij")], preprocessing=preprocessing)
    return load(export(bundle, folder, format="native")) if library.is_there() else bundle


def side_for(net_name: str, full_net_ms: float, folder: Path) -> int:
    """Pixels a side with which the full net uses about so much of the processor."""
    predictor, times = make_model(net_name, 32, folder).predictor(), []
    for _ in range(15):
        began = time.process_time()
        predictor.predict(np.zeros((32, 32, 3), np.uint8), stage=predictor.model.num_stages)
        times.append(1000 * (time.process_time() - began))
    return max(16, 8 * round(4 * math.sqrt(full_net_ms / statistics.median(times[5:]))))


def camera(seconds: float, side: int) -> Iterator[np.ndarray]:
    """Frames of noise, `RATE` a second."""
    frames = np.random.default_rng(0).integers(0, 256, (8, side, side, 3), np.uint8)
    began = time.perf_counter()
    for number in range(int(seconds * RATE)):
        time.sleep(max(0.0, began + number / RATE - time.perf_counter()))
        yield frames[number % len(frames)]


class Load:
    """Processes that compete for the core: one in the second quarter of the time, two in the third."""

    def __init__(self, seconds: float) -> None:
        self._quarter, self._busy = seconds / 4, list[subprocess.Popen[bytes]]()

    def set_for(self, elapsed: float) -> None:
        """Starts and stops processes."""
        wanted = {1: 1, 2: 2}.get(int(elapsed / self._quarter), 0)
        while len(self._busy) < wanted:
            self._busy.append(subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]))
        while len(self._busy) > wanted:
            process = self._busy.pop()
            process.kill()
            process.wait()


@contextmanager
def on_one_core() -> Iterator[None]:
    """Inside, this process and those that it starts share one core, where the system can do that."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else set()
    try:
        if cores:
            os.sched_setaffinity(0, {max(cores)})
        yield
    finally:
        if cores:
            os.sched_setaffinity(0, cores)


def watch(predict: Callable[[Any, float], an.Prediction], seconds: float, side: int) -> Run:
    """Answers the camera for so long, while the load comes and goes."""
    runner, load, answers = StreamRunner(predict, period_ms=1000 / RATE, reserve_ms=1), Load(seconds), []
    began = time.perf_counter()
    try:
        for answer in runner.run(camera(seconds, side)):
            answers.append(answer)
            load.set_for(time.perf_counter() - began)
    finally:
        load.set_for(2 * seconds)
    return answers, runner.report()


def draw(runs: Runs, seconds: float, path: Path) -> None:
    """Latency and stage of every answer over time; the load is the grey behind it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5.5), layout="constrained")
    axes = figure.subplots(2, len(runs), sharex=True, sharey="row", height_ratios=(3, 2))
    for (above, below), (name, (answers, report)) in zip(axes.T, runs.items(), strict=True):
        at = [answer.at - answers[0].at for answer in answers]
        above.scatter(at, [a.latency_ms for a in answers], s=7, c=["C3" if a.late else "C0" for a in answers])
        above.axhline(report.period_ms, color="black", linewidth=0.8, linestyle="--")
        above.set_title(f"{name}: {report.answers} of {report.frames} frames answered, {report.late} late")
        below.scatter(at, [getattr(answer.prediction, "stage", 0) for answer in answers], s=7)
        below.set_xlabel("seconds")
        for panel, (quarter, grey) in itertools.product((above, below), enumerate(("0.92", "0.84"), 1)):
            panel.axvspan(quarter * seconds / 4, (quarter + 1) * seconds / 4, color=grey, zorder=0)
    axes[0, 0].set(ylabel="ms from frame to answer\n(dashed: a period; red: late)", ylim=(0, None))
    axes[1, 0].set_ylabel("stage\n(grey: 1, then 2 others)")
    figure.savefig(path, dpi=110)


def main(folder: Path, net: str = "isresnext_47", seconds: float = 20, minutes: float = 0.3) -> Runs:
    """Watches the camera with the anytime net and with the full net alone; what was answered."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place, on_one_core():
        side = side_for(net, 500 / RATE, Path(place) / "small")
        model = make_model(net, side, Path(place) / "large")
        (profile_exported if isinstance(model, ExportedNet) else an.profile)(model, minutes=minutes)
        predictor, last = model.predictor(), model.manifest.num_stages
        runs = {
            "anytime": watch(lambda frame, ms: predictor.predict(frame, deadline_ms=ms), seconds, side),
            "full net": watch(lambda frame, ms: predictor.predict(frame, stage=last), seconds, side),
        }
    print(*(f"{name}: {report}" for name, (_, report) in runs.items()), sep="\n")
    draw(runs, seconds, folder / "camera_loop.png")
    return runs


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
