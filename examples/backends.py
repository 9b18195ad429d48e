"""Accuracy over latency of one trained net on every backend: python examples/backends.py BUNDLE [PICTURE]

Each stage is run alone on one image, on one thread, in rounds in which all backends take turns, so that a
busy moment of the machine falls on all of them; what counts is the time of the processor. Beside it stands
what it costs to stop at every stage on the way. Accuracies are those that the bundle was validated with.
Writes PICTURE, backends.png by default, and prints a table.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

import anytimenet as an
from anytimenet.runtime import Backend

BACKENDS = {
    "native": "native engine",
    "openvino": "OpenVINO",
    "onnxruntime": "ONNX Runtime",
    "eager": "PyTorch",
}
Segments = list[tuple[int, int]]
Times = dict[str, tuple[list[float], float]]


def run(backend: Backend, x: np.ndarray, path: Segments) -> float:
    """Milliseconds of the processor that a path takes."""
    began = time.process_time()
    state = backend.begin(x)
    for start, stop in path:
        state, _ = backend.run(start, stop, state)
    took = 1000 * (time.process_time() - began)
    backend.release(state)
    return took


def measure(bundle: an.Bundle, names: Sequence[str], rounds: int) -> Times:
    """Of each backend the median of every stage alone, and of all steps one after the other."""
    backends = {name: bundle.prepared(name).backend for name in names}
    stages = range(1, bundle.num_stages + 1)
    paths: list[Segments] = [[(0, stage)] for stage in stages] + [[(stage - 1, stage) for stage in stages]]
    x = np.random.default_rng(0).standard_normal((1, *bundle.manifest.input_shape)).astype(np.float32)
    found: dict[str, list[list[float]]] = {name: [[] for _ in paths] for name in names}
    for number in range(-3, rounds):  # the first ones prepare
        for name, backend in backends.items():
            for place, path in enumerate(paths):
                for start, stop in path:
                    backend.prepare(start, stop)
                run(backend, x, path)  # in the caches, as in a loop
                took = run(backend, x, path)
                if number >= 0:
                    found[name][place].append(took)
    medians = {name: [statistics.median(times) for times in rows] for name, rows in found.items()}
    return {name: (row[:-1], row[-1]) for name, row in medians.items()}


def print_table(times: Times, accuracies: list[float]) -> None:
    """A line a backend."""
    stages = "".join(f"  stage {stage:2}" for stage in range(1, len(accuracies) + 1))
    print(f"{'':14}{stages}  all steps   (milliseconds of the processor)")
    print(f"{'accuracy %':14}" + "".join(f"  {100 * accuracy:8.1f}" for accuracy in accuracies))
    for name, (alone, steps) in times.items():
        print(f"{BACKENDS[name]:14}" + "".join(f"  {ms:8.3f}" for ms in alone) + f"  {steps:9.3f}")


def draw(times: Times, accuracies: list[float], title: str, path: Path) -> None:
    """A line a backend; a cross where all steps one after the other end."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    colours = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
    for (name, (alone, steps)), colour in zip(times.items(), colours, strict=False):
        axes.plot(alone, [100 * one for one in accuracies], "o-", color=colour, label=BACKENDS[name])
        axes.plot([steps], [100 * accuracies[-1]], "x", color=colour, markersize=9, markeredgewidth=2)
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds of the processor for one image (cross: stopping at every stage on the way)")
    axes.set_ylabel("validation accuracy %")
    axes.set_title(title)
    axes.grid(True, which="both", color="0.9")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)


def main(folder: Path, picture: Path, *, rounds: int = 60, names: Sequence[str] = tuple(BACKENDS)) -> Times:
    """Measures, prints and draws."""
    torch.set_num_threads(1)
    bundle = an.load(folder)
    accuracies = [accuracy or 0.0 for accuracy in bundle.accuracies]
    times = measure(bundle, names, rounds)
    print_table(times, accuracies)
    net = "a net" if bundle.manifest.net is None else bundle.manifest.net.name
    draw(times, accuracies, f"{net}, {'x'.join(map(str, bundle.manifest.input_shape[1:]))} pixels", picture)
    return times


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "backends.png"))
