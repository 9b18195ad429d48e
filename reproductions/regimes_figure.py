"""Accuracy of the regimes over the milliseconds that this machine takes for each stage, as a figure.

python reproductions/regimes_figure.py CSV --like RUN --scratch RUN --out FIGURE.png

CSV is that of `regimes.py`; `--like` a run or bundle of the same net, which is timed; `--scratch` a run on
the same images of a net without pretrained weights, timed and drawn with its own report. Milliseconds are
processor time of one thread at batch 1, the least of 60 interleaved runs of each stage through ONNX Runtime.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
import time
from pathlib import Path

import matplotlib
import numpy as np

import anytimenet as an
from anytimenet.evaluation import read_any_report
from anytimenet.runtime import load

matplotlib.use("Agg")
from matplotlib import pyplot as plt

RUNS = 60
LINES = {
    "mixed": ("heads, then all weights, then heads", "o-", "#0b6e4f"),
    "joint": ("all weights together", "s--", "#c06014"),
    "frozen": ("heads alone", "^:", "#4b6cb7"),
    "static 5": ("one predictor", "*", "#333333"),
}


def accuracies(path: Path, run: str) -> list[tuple[int, float, float]]:
    """Stage, mean and standard deviation over seeds, in %."""
    found: dict[int, list[float]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["run"] == run:
                found.setdefault(int(row["stage"]), []).append(100 * float(row["top1"]))
    return [
        (stage, statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0)
        for stage, values in sorted(found.items())
    ]


def milliseconds(bundle: an.Bundle) -> list[float]:
    """Of each stage from the image, through ONNX Runtime."""
    like = bundle.manifest.preprocessing
    shape = (1, like.channels, like.height, like.width)
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        an.export_bundle(bundle, Path(folder) / "net")
        backend = load(Path(folder) / "net").backend
        stages = range(1, bundle.num_stages + 1)
        least = dict.fromkeys(stages, float("inf"))
        for _ in range(RUNS):
            for stage in stages:
                started = time.process_time()
                backend.release(backend.run(0, stage, backend.begin(image))[0])
                least[stage] = min(least[stage], 1000 * (time.process_time() - started))
    return [least[stage] for stage in stages]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("csv", type=Path)
    parser.add_argument("--like", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    figure, axes = plt.subplots(figsize=(7.2, 3.9))
    taken_ms = milliseconds(an.load(given.like))
    for run, (label, style, colour) in LINES.items():
        points = accuracies(given.csv, run)
        x = [taken_ms[stage - 1] for stage, _, _ in points] if len(points) > 1 else [taken_ms[-1]]
        _, means, spread = zip(*points, strict=True)
        axes.errorbar(x, means, spread, fmt=style, color=colour, capsize=3, label=label)
    scratch_ms = milliseconds(an.load(given.scratch))
    stages = read_any_report(given.scratch).stages
    means = [100 * stage.top1 for stage in stages]
    axes.plot(scratch_ms, means, "D-", color="#8c8c8c", label="sliced net at 32 pixels, from scratch")
    axes.set(xscale="log", xlabel="milliseconds an image", ylabel="accuracy, %")
    axes.set_xticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
    axes.xaxis.set_minor_formatter("")
    axes.grid(alpha=0.3, which="both")
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(given.out, dpi=150)
    print("milliseconds", [round(ms, 2) for ms in taken_ms], [round(ms, 2) for ms in scratch_ms], means)


if __name__ == "__main__":
    main()
