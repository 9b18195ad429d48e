"""What a net does without a server: the time of its stages, and the label of every stage for every image.

python benchmarks/serving/own.py EXPORT IMAGES.npz OUT.json
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from anytimenet.runtime import ExportedNet
from anytimenet.serving.http.pictures import prepared

TIMED = 40
MOST_PIXELS = 2**20


def main() -> None:
    """Reads images as a server gets them; times the image and the net apart, the median of each."""
    export, images, out = sys.argv[1:4]
    net = ExportedNet.load(export)
    look, backend, stages = net.manifest.preprocessing, net.backend, net.manifest.num_stages
    names = net.manifest.class_names[0]
    with np.load(images) as kept:
        joined, ends = kept["joined"].tobytes(), [int(end) for end in kept["ends"]]
    contents = [joined[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]
    for start in range(stages):
        backend.prepare(start, start + 1)
    labels, preparing = [], []
    times: list[list[float]] = [[] for _ in range(stages)]
    for number, content in enumerate(contents):
        begun = time.perf_counter()
        x = prepared(content, look, MOST_PIXELS)
        preparing.append(1000 * (time.perf_counter() - begun))
        state, told = backend.begin(x), []
        for stage in range(stages):
            state, output = backend.run(stage, stage + 1, state)
            told.append(names[int(output[0][0].argmax())])
        backend.release(state)
        labels.append(told)
        if number < TIMED:
            for stage in range(1, stages + 1):
                begun = time.perf_counter()
                state, _ = backend.run(0, stage, backend.begin(x))
                times[stage - 1].append(1000 * (time.perf_counter() - begun))
                backend.release(state)
    result = {
        "prepare_ms": statistics.median(preparing),
        "stage_ms": [statistics.median(each) for each in times],
        "labels": labels,
    }
    Path(out).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
