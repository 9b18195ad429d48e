"""Measures how long segments take on this machine, within a given number of minutes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from anytimenet.core.cost_table import CostTable, Latency
from anytimenet.core.machine import machine_stamp

Prepare = Callable[[int, int, int], Callable[[], object]]
"""`prepare(start, stop, batch)` returns a function that runs that segment once and waits for the result."""

_Key = tuple[int, int, int]
_FEWEST_REPEATS = 5  # even when the time is up: of fewer runs not even a median can be told


def profile_segments(
    prepare: Prepare,
    num_stages: int,
    *,
    input_shape: Sequence[int],
    device: str = "cpu",
    dtype: str = "float32",
    threads: int = 1,
    batch_sizes: Sequence[int] = (1,),
    minutes: float = 1.0,
    warmup: int = 5,
    repeats: int = 50,
    machine: Mapping[str, Any] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> CostTable:
    """Latency of every segment (a, b), 0 <= a < b <= K, measured as far as `minutes` reach.

    Order: (0, K); the steps and the other (0, k); (k, K); the rest. Each measurement is `warmup` runs that
    do not count, then `repeats` that do. One that would not fit into the time left is skipped, and its
    entry is marked estimated. An estimate is the smallest that is known to be enough: the cheapest chain of
    measured segments from a to b, or a measured (0, c) with c >= b, since a segment costs no more than
    either. For a batch size without such a measurement it is the next smaller one's latency in proportion
    to the images, or else the next larger one's as it is.

    Args:
        prepare: builds what is timed, on any backend; `torch_segments` makes one for a net.
        num_stages: K.
        input_shape: (C, H, W); recorded.
        device: recorded; the file name of the table in a bundle.
        dtype: recorded.
        threads: recorded, and PyTorch's number of threads until the end of the measurement; another
            backend sets its own in `prepare`.
        batch_sizes: batches to measure.
        minutes: time for everything; (0, K) is measured in any case.
        warmup: runs before the measurement.
        repeats: runs measured, fewer (at least 5) if the time ends among them.
        machine: stamp of the machine; by default this one's, with PyTorch's version and accelerator.
        clock: seconds, for tests.

    Raises:
        ValueError: if a number is out of range.

    >>> from anytimenet.nets import create_net
    >>> from anytimenet.costs import torch_segments
    >>> net = create_net("isresnext_tiny")
    >>> prepare = torch_segments(net, (3, 8, 8))
    >>> table = profile_segments(prepare, net.num_stages, input_shape=(3, 8, 8), minutes=0.1, repeats=5)
    >>> table.latency(0, 1).repeats, len(table.entries)
    (5, 6)
    """
    _check(num_stages, threads, batch_sizes, minutes, warmup, repeats)
    deadline = clock() + 60 * minutes
    measured: dict[_Key, Latency] = {}
    with torch_threads(threads):
        for key in _order(num_stages, sorted(set(batch_sizes))):
            expected = _estimate(key, measured).median_ms / 1000 if measured else 0
            if clock() + expected * (warmup + repeats) <= deadline or not measured:
                measured[key] = _measure(prepare(*key), warmup, repeats, clock, deadline)
    keys = _order(num_stages, sorted(set(batch_sizes)))
    return CostTable(
        device=device.replace(":", "-"),
        machine=machine if machine is not None else machine_stamp(_torch_extra(device)),
        dtype=dtype,
        threads=threads,
        input_shape=tuple(input_shape),
        entries={key: measured.get(key) or _estimate(key, measured) for key in sorted(keys)},
    )


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Inside, PyTorch runs an operator on `threads` threads; afterwards on as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _order(num_stages: int, batch_sizes: Sequence[int]) -> list[_Key]:
    """All segments and batches, the most useful first."""
    last = num_stages
    essential = [(0, last)]
    essential += [(0, stop) for stop in range(1, last)]
    essential += [(stop - 1, stop) for stop in range(2, last + 1)]
    to_the_end = [(start, last) for start in range(1, last - 1)]
    others = [(start, stop) for start in range(1, last) for stop in range(start + 2, last)]
    return [
        (start, stop, batch)
        for group in (essential, to_the_end, others)
        for batch in batch_sizes
        for start, stop in group
    ]


def _measure(
    run: Callable[[], object], warmup: int, repeats: int, clock: Callable[[], float], deadline: float
) -> Latency:
    for _ in range(warmup):
        run()
        if clock() > deadline:
            break
    times: list[float] = []
    while len(times) < repeats:
        start = clock()
        run()
        end = clock()
        times.append(1000 * (end - start))
        if end > deadline and len(times) >= _FEWEST_REPEATS:
            break
    # "higher": a quantile is a time that was really seen, never one below it.
    p95, p99 = (float(np.percentile(times, q, method="higher")) for q in (95, 99))
    return Latency(float(np.median(times)), p95, p99, repeats=len(times))


def _estimate(key: _Key, measured: Mapping[_Key, Latency]) -> Latency:
    """What segment `key` costs at most, from what was measured; see `profile_segments`."""
    start, stop, batch = key
    if times := _bounds(start, stop, {(a, z): m for (a, z, n), m in measured.items() if n == batch}):
        return _estimated(min(times))
    batches = sorted({n for _, _, n in measured})
    smaller = [n for n in batches if n < batch]
    nearest = smaller[-1] if smaller else next(n for n in batches if n > batch)
    near = measured.get((start, stop, nearest)) or _estimate((start, stop, nearest), measured)
    factor = max(1.0, batch / nearest)
    return _estimated((near.median_ms * factor, near.p95_ms * factor, near.p99_ms * factor))


def _bounds(start: int, stop: int, measured: Mapping[tuple[int, int], Latency]) -> list[tuple[float, ...]]:
    """(median, p95, p99) of measured work that includes segment (start, stop), one batch size."""
    chains: dict[int, tuple[float, ...]] = {start: (0.0, 0.0, 0.0)}
    for end in range(start + 1, stop + 1):
        ways = [
            tuple(sum(pair) for pair in zip(chains[middle], _times(measured[middle, end]), strict=True))
            for middle in chains
            if (middle, end) in measured
        ]
        if ways:
            chains[end] = min(ways)
    found = [chains[stop]] if stop in chains else []
    return found + [_times(latency) for (a, z), latency in measured.items() if a == 0 and z >= stop]


def _times(latency: Latency) -> tuple[float, ...]:
    return (latency.median_ms, latency.p95_ms, latency.p99_ms)


def _estimated(times: tuple[float, ...]) -> Latency:
    median_ms, p95_ms, p99_ms = times
    return Latency(median_ms, p95_ms, p99_ms, repeats=0, estimated=True)


def _torch_extra(device: str) -> dict[str, str]:
    """What a machine stamp cannot know without PyTorch."""
    extra = {"torch": str(torch.__version__)}
    if device.startswith("cuda") and torch.cuda.is_available():
        extra["accelerator"] = torch.cuda.get_device_name()
    return extra


def _check(
    num_stages: int, threads: int, batch_sizes: Sequence[int], minutes: float, warmup: int, repeats: int
) -> None:
    if num_stages < 1 or threads < 1 or repeats < 1 or warmup < 0:
        raise ValueError(
            f"num_stages {num_stages}, threads {threads} and repeats {repeats} must be at least 1, "
            f"warmup {warmup} at least 0"
        )
    if not batch_sizes or min(batch_sizes) < 1:
        raise ValueError(f"batch_sizes {tuple(batch_sizes)}: one size or more, each at least 1, is needed")
    if not (math.isfinite(minutes) and minutes > 0):
        raise ValueError(f"minutes {minutes}: a time above 0 is needed")
