"""A bundle on this machine: how fast batches are, and what single images get under deadlines."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from anytimenet.bundle import Bundle
from anytimenet.core import checks
from anytimenet.core.files.writing import write_json, write_text
from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.costs.latency import torch_stamp
from anytimenet.evaluation.plots.bench_figure import plot_bench
from anytimenet.runtime import Backend, Predictor, profile_backend
from anytimenet.runtime.profiling.backend import backend_segments
from anytimenet.runtime.profiling.sweeps import (
    Bench,
    DeadlinePoint,
    batch_points,
    deadlines_of,
    sweep_deadlines,
)
from anytimenet.runtime.profiling.timing import time_segments
from anytimenet.workflows.on_backend import on_backend, on_preferred, placed, prepared_beforehand

_FIRST_CALLS = 20
"""Calls that tell what one takes beside its segments."""
_PREDICTED = ("classification", "hierarchical")


def bench(
    bundle: Bundle,
    *,
    backend: str | None = None,
    batch_sizes: Sequence[int] = (1, 2, 4, 8, 16),
    deadlines_ms: Sequence[float] = (),
    calls: int = 500,
    minutes: float = 2.0,
    threads: int = 1,
    dtype: str = "float32",
    device: str = "auto",
) -> Bench:
    """Sweeps batch sizes, then deadlines, on one backend; the bundle stays as it is.

    The first half of the time measures latencies, of every segment for one image and of the sub-networks for
    each batch size; the second asks for single images under each deadline, planned with these latencies.
    Images are in memory and of the net's size. Of nets that give no labels batches alone are swept.

    Args:
        bundle: from `fit` or `load`.
        backend: what runs the segments, as in `profile`.
        batch_sizes: images that run together.
        deadlines_ms: to try; by default eight from what stage 1 hardly needs to 1.2 times the full net,
            plus what a call takes beside its segments.
        calls: for each deadline; fewer (at least 20) if the time ends.
        minutes: time for everything.
        threads: threads that one run uses.
        dtype: number format.
        device: where it runs; "auto" as in `profile`.

    Raises:
        BackendError: if no backend of that name runs the bundle here.
        ValueError: for a number out of range.
    """
    checks.instance(bundle, Bundle, "bundle", "load(PATH)")
    backend = checks.optional(backend, "backend", checks.words)
    sizes = tuple(sorted({1, *checks.whole_numbers(batch_sizes, "batch_sizes", 1, 2**20)}))
    deadlines_ms = checks.numbers(deadlines_ms, "deadlines_ms", above=0)
    calls = checks.whole_number(calls, "calls", 1)
    minutes = checks.number(minutes, "minutes", above=0)
    threads = checks.whole_number(threads, "threads", 1, 1024)
    checks.choice(dtype, "dtype", ("float32", "float64", "bfloat16", "float16"))
    place = placed(backend, device, threads, dtype, bundle)
    model = on_preferred(bundle, place) if backend is None else on_backend(bundle, backend, place)
    machine = torch_stamp(place.device, model.backend.name)
    table = _table(bundle, model.backend, sizes, minutes / 2, machine)
    points: tuple[DeadlinePoint, ...] = ()
    if bundle.manifest.task_kind in _PREDICTED:
        alone = threads == 1 and place.device == "cpu"
        predictor = Predictor(model, table=table, policy=None)
        points = _under_deadlines(predictor, table, deadlines_ms, calls, minutes / 2, alone=alone)
    return Bench(table.key, batch_points(table), points)


def _table(
    bundle: Bundle, backend: Backend, sizes: Sequence[int], minutes: float, machine: Mapping[str, Any]
) -> CostTable:
    """Every segment for one image, which plans need, and the sub-networks for each batch size."""
    larger = [size for size in sizes if size > 1]
    share = minutes / 2 if larger else minutes
    shape = bundle.manifest.input_shape
    segments = prepared_beforehand(backend)
    table = profile_backend(
        backend, shape, specs=bundle.segment_specs(), segments=segments, minutes=share, machine=machine
    )
    if not larger:
        return table
    entries = time_segments(
        backend_segments(backend, shape),
        backend.num_stages,
        segments={(start, stop) for start, stop in backend.segments if start == 0},
        batch_sizes=larger,
        minutes=share,
    )
    return replace(table, entries={**table.entries, **entries})


def _under_deadlines(
    predictor: Predictor,
    table: CostTable,
    deadlines_ms: Sequence[float],
    calls: int,
    minutes: float,
    *,
    alone: bool,
) -> tuple[DeadlinePoint, ...]:
    """The sweep over an image of noise; `alone` says that the calling thread does all the work."""
    manifest = predictor.model.manifest
    channels, height, width = manifest.input_shape
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)
    predictor.warm_up()
    deadlines_ms = deadlines_ms or deadlines_of(table, beside_ms=_beside_segments(predictor, table, pixels))
    for deadline in deadlines_ms:
        predictor.predict(pixels, deadline_ms=deadline)
    return sweep_deadlines(
        lambda deadline: predictor.predict(pixels, deadline_ms=deadline),
        deadlines_ms,
        [record.val_accuracy for record in manifest.stages],
        calls=calls,
        minutes=minutes,
        cpu_clock=time.thread_time if alone else None,
    )


def _beside_segments(predictor: Predictor, table: CostTable, pixels: np.ndarray) -> float:
    """Milliseconds that a call usually takes beside the segment it runs."""
    stage = min(range(1, table.num_stages + 1), key=lambda stage: table.latency(0, stage).median_ms)
    whole_ms = [predictor.predict(pixels, stage=stage).elapsed_ms for _ in range(_FIRST_CALLS)]
    return max(float(np.median(whole_ms)) - table.latency(0, stage).median_ms, 0.0)


def write_bench(found: Bench, folder: Path | str, *, score: str = "accuracy") -> Path:
    """Writes bench.json, bench.csv, one row a point, and bench.png into `folder`; returns it."""
    checks.instance(found, Bench, "found", "bench(bundle)")
    folder = checks.path(folder, "folder")
    write_json(folder / "bench.json", found.to_dict())
    write_text(folder / "bench.csv", bench_csv(found))
    plot_bench(found.batches, found.deadlines, folder / "bench.png", score=score)
    return folder


def bench_csv(found: Bench) -> str:
    """Both sweeps as one table: a row a point, an empty cell where a column is of the other sweep."""
    rows = [{"sweep": "batch", **point.to_dict()} for point in found.batches]
    for point in found.deadlines:
        values = point.to_dict()
        shares = values.pop("shares")
        more = {f"share_{stage}": share for stage, share in enumerate(shares, 1)}
        rows.append({"sweep": "deadline", "batch": 1, **values, **more})
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
