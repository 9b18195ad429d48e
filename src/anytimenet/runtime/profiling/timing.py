"""Times segments in turn within a given number of minutes; what does not fit in is estimated and says so."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from anytimenet.core import checks
from anytimenet.core.manifest.cost_table import Key
from anytimenet.core.manifest.latency import Latency
from anytimenet.runtime.profiling.estimates import estimate
from anytimenet.runtime.profiling.work import Prepare, Work, as_work

_FEWEST_REPEATS = 5  # even when the time is up: of fewer runs not even a median can be told
_ROUNDS = 5
_UNSTABLE = 1.3
"""A median of so many times the quickest tenth of the runs is no steady one; at rest it stays below 1.1."""


def time_segments(
    prepare: Prepare,
    num_stages: int,
    *,
    segments: Collection[tuple[int, int]] | None = None,
    batch_sizes: Sequence[int] = (1,),
    minutes: float = 1.0,
    warmup: int = 5,
    repeats: int = 50,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Key, Latency]:
    """Latency of the segments (a, b), 0 <= a < b <= K, measured as far as `minutes` reach.

    Order: (0, K); the steps and the other (0, k); (k, K); the rest. Each measurement is `warmup` runs that
    do not count, then `repeats` that do. Those of (0, k) and of the steps are taken in turn, a few of each in
    every round: a machine that is busy for a while then makes all of them slower, and not one alone. One that
    would not fit into the time left is skipped, and its entry is an estimate; see `estimates.estimate`. A
    segment of which not even that is known has no entry.

    An entry whose median lies far above the time of its quickest runs is marked unstable: measure again on a
    quieter machine, or for longer.

    Args:
        prepare: builds what is timed.
        num_stages: K.
        segments: those there are; all by default.
        batch_sizes: batches to measure.
        minutes: time for everything; the first segment is measured in any case.
        warmup: runs before the measurement.
        repeats: runs measured, fewer (at least 5) if the time ends among them.
        clock: seconds, for tests.

    Raises:
        ValueError: if a number is out of range, or there is no segment.
    """
    _check(num_stages, batch_sizes, minutes, warmup, repeats)
    groups = _groups(num_stages, sorted(set(batch_sizes)), segments)
    if not groups:
        raise ValueError("there is no segment to time: export some, (0, 1) at least")
    watch = _Stopwatch(prepare, warmup, repeats, clock, deadline=clock() + 60 * minutes)
    for group in groups:
        watch.measure(group)
    keys = sorted(key for group in groups for key in group)
    found = {key: watch.measured.get(key) or estimate(key, watch.measured) for key in keys}
    return {key: latency for key, latency in found.items() if latency is not None}


def latency_of(seconds: Sequence[float]) -> Latency:
    """The quantiles of runs that took so many seconds.

    >>> latency_of([0.001, 0.002, 0.003, 0.004, 0.005])
    Latency(median_ms=3.0, p95_ms=5.0, p99_ms=5.0, repeats=5, estimated=False, low_ms=1.0, unstable=True)
    """
    # "lower" and "higher": a quantile is a time that was really seen.
    times = 1000 * np.asarray(seconds)
    low = float(np.percentile(times, 10, method="lower"))
    p95, p99 = (float(np.percentile(times, q, method="higher")) for q in (95, 99))
    median = float(np.median(times))
    return Latency(median, p95, p99, len(times), low_ms=low, unstable=median > _UNSTABLE * low)


def time_alone(
    work: Work,
    *,
    minutes: float,
    warmup: int = 1,
    repeats: int = 50,
    clock: Callable[[], float] = time.perf_counter,
) -> Latency:
    """Latency of one piece of work: `repeats` runs, fewer (at least 5) if `minutes` end among them."""
    deadline = clock() + 60 * minutes
    for _ in range(warmup):
        work.once(clock)
    times: list[float] = []
    while len(times) < repeats and (len(times) < _FEWEST_REPEATS or clock() <= deadline):
        times.append(work.once(clock))
    return latency_of(times)


@dataclass
class _Stopwatch:
    prepare: Prepare
    warmup: int
    repeats: int
    clock: Callable[[], float]
    deadline: float
    measured: dict[Key, Latency] = field(default_factory=dict)
    _longest_build: float = 0.0
    """Seconds that the slowest preparation took: a compiler's are longer than what is timed."""
    _aside: float = 0.0
    """Mean seconds of what goes before and after a run on its own account."""
    _runs: int = 0

    def measure(self, group: Sequence[Key]) -> None:
        """Adds to `measured` what of a group fits into the time, all of it in turn."""
        a_round = math.ceil(self.repeats / _ROUNDS)
        works: dict[Key, Work] = {}
        times: dict[Key, list[float]] = {}
        for key in group:
            if self.measured and not self._fits(key, times):
                continue
            works[key], times[key] = self._built(key), []
            for _ in range(self.warmup):
                works[key].once(self.clock)
                if self.clock() > self.deadline:
                    break
            self._time(works[key], times[key], a_round)
            self.measured[key] = latency_of(times[key])
        while any(len(seen) < self.repeats for seen in times.values()):
            before = {key: len(seen) for key, seen in times.items()}
            for key, work in works.items():
                self._time(work, times[key], min(a_round, self.repeats - len(times[key])))
            if all(len(seen) == before[key] for key, seen in times.items()):
                break  # the time is up
        self.measured.update((key, latency_of(seen)) for key, seen in times.items())
        for work in works.values():
            work.close()

    def _fits(self, key: Key, times: dict[Key, list[float]]) -> bool:
        """Whether a measurement is likely to be over in time, after those that have begun."""
        left = [
            (self.repeats - len(seen)) * (float(np.median(seen)) + self._aside) for seen in times.values()
        ]
        likely = estimate(key, self.measured)
        expected = self._aside + (0.0 if likely is None else likely.median_ms / 1000)
        new = all(key[:2] != other[:2] for other in self.measured)
        build = self._longest_build if new else 0.0
        whole = self.clock() + sum(left) + build + expected * (self.warmup + self.repeats)
        return whole <= self.deadline

    def _built(self, key: Key) -> Work:
        began = self.clock()
        work = as_work(self.prepare(*key))
        self._longest_build = max(self._longest_build, self.clock() - began)
        return work

    def _time(self, work: Work, times: list[float], count: int) -> None:
        """Adds the seconds of `count` runs to `times`, of fewer when the time is up."""
        for _ in range(count):
            began = self.clock()
            if began > self.deadline and len(times) >= _FEWEST_REPEATS:
                return
            times.append(work.once(self.clock))
            self._runs += 1
            self._aside += (self.clock() - began - times[-1] - self._aside) / self._runs


def _groups(
    num_stages: int, batch_sizes: Sequence[int], segments: Collection[tuple[int, int]] | None
) -> list[list[Key]]:
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
        for segments_of_kind in (to_the_end, others)
        for batch in batch_sizes
        for start, stop in segments_of_kind
    ]
    there = [
        [key for key in group if segments is None or key[:2] in segments] for group in (*together, *alone)
    ]
    return [group for group in there if group]


def _check(num_stages: int, batch_sizes: Sequence[int], minutes: float, warmup: int, repeats: int) -> None:
    checks.whole_number(num_stages, "num_stages", 1)
    checks.whole_number(repeats, "repeats", 1)
    checks.whole_number(warmup, "warmup")
    if not checks.whole_numbers(batch_sizes, "batch_sizes", 1):
        raise ValueError("batch_sizes: one size or more, each at least 1, is needed")
    checks.number(minutes, "minutes", above=0)
