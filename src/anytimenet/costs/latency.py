"""Measures how long segments take on this machine, within a given number of minutes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from anytimenet.core.manifest.cost_table import CostTable, Latency
from anytimenet.core.manifest.machine import machine_stamp

Prepare = Callable[[int, int, int], Callable[[], object]]
"""`prepare(start, stop, batch)` returns a function that runs that segment once and waits for the result."""

_Key = tuple[int, int, int]
_FEWEST_REPEATS = 5  # even when the time is up: of fewer runs not even a median can be told
_ROUNDS = 5
_UNSTABLE = 1.3
"""A median of so many times the quickest tenth of the runs is no steady one; at rest it stays below 1.1."""


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
    do not count, then `repeats` that do. Those of (0, k) and of the steps are taken in turn, a few of each in
    every round: a machine that is busy for a while then makes all of them slower, and not one alone. One that
    would not fit into the time left is skipped, and its entry is marked estimated.

    An estimate is the smallest that is known to be enough: the cheapest chain of measured segments from a to
    b, or a measured (0, c) with c >= b, since a segment costs no more than either. For a batch size without
    such a measurement it is the next smaller one's latency in proportion to the images, or else the next
    larger one's as it is.

    An entry whose median lies far above the time of its quickest runs is marked unstable: measure again on a
    quieter machine, or for longer.

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
        for group in _groups(num_stages, sorted(set(batch_sizes))):
            _measure(group, measured, prepare, warmup, repeats, clock, deadline)
    keys = [key for group in _groups(num_stages, sorted(set(batch_sizes))) for key in group]
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


def _groups(num_stages: int, batch_sizes: Sequence[int]) -> list[list[_Key]]:
    """All segments and batches, the most useful first; what is measured in turn stands together."""
    last = num_stages
    essential = [(0, last)]
    essential += [(0, stop) for stop in range(1, last)]
    essential += [(stop - 1, stop) for stop in range(2, last + 1)]
    to_the_end = [(start, last) for start in range(1, last - 1)]
    others = [(start, stop) for start in range(1, last) for stop in range(start + 2, last)]
    together = [[(start, stop, batch) for start, stop in essential] for batch in batch_sizes]
    # One by one: of a net of many stages whose segments copy they would hold too many weights at once.
    alone = [
        [(start, stop, batch)]
        for segments in (to_the_end, others)
        for batch in batch_sizes
        for start, stop in segments
    ]
    return together + alone


def _measure(
    group: Sequence[_Key],
    measured: dict[_Key, Latency],
    prepare: Prepare,
    warmup: int,
    repeats: int,
    clock: Callable[[], float],
    deadline: float,
) -> None:
    """Adds to `measured` what of a group fits into the time, all of it in turn."""
    a_round = math.ceil(repeats / _ROUNDS)
    runs: dict[_Key, Callable[[], object]] = {}
    times: dict[_Key, list[float]] = {}
    for key in group:
        expected = _estimate(key, measured).median_ms / 1000 if measured else 0
        promised = sum((repeats - len(seen)) * float(np.median(seen)) / 1000 for seen in times.values())
        if measured and clock() + promised + expected * (warmup + repeats) > deadline:
            continue
        runs[key], times[key] = prepare(*key), []
        for _ in range(warmup):
            runs[key]()
            if clock() > deadline:
                break
        _time(runs[key], times[key], a_round, clock, deadline)
        measured[key] = _latency(times[key])
    while any(len(seen) < repeats for seen in times.values()):
        before = {key: len(seen) for key, seen in times.items()}
        for key, run in runs.items():
            _time(run, times[key], min(a_round, repeats - len(times[key])), clock, deadline)
        if all(len(seen) == before[key] for key, seen in times.items()):
            break  # the time is up
    measured.update((key, _latency(seen)) for key, seen in times.items())


def _time(
    run: Callable[[], object], times: list[float], count: int, clock: Callable[[], float], deadline: float
) -> None:
    """Adds the milliseconds of `count` runs to `times`, of fewer when the time is up."""
    for _ in range(count):
        start = clock()
        if start > deadline and len(times) >= _FEWEST_REPEATS:
            return
        run()
        times.append(1000 * (clock() - start))


def _latency(times: Sequence[float]) -> Latency:
    # "lower" and "higher": a quantile is a time that was really seen.
    low = float(np.percentile(times, 10, method="lower"))
    p95, p99 = (float(np.percentile(times, q, method="higher")) for q in (95, 99))
    median = float(np.median(times))
    return Latency(median, p95, p99, len(times), low_ms=low, unstable=median > _UNSTABLE * low)


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
