"""What a segment costs at most, from segments that were measured."""

from __future__ import annotations

from collections.abc import Mapping

from anytimenet.core.manifest.cost_table import Key
from anytimenet.core.manifest.latency import Latency

_Times = tuple[float, ...]
"""Median, p95 and p99 in milliseconds."""


def estimate(key: Key, measured: Mapping[Key, Latency]) -> Latency | None:
    """The smallest latency that is known to be enough for segment `key`, marked estimated; None if none is.

    It is the cheapest chain of measured segments from start to stop, or a measured (0, c) with c >= stop,
    since a segment costs no more than either. For a batch size without such a measurement it is the next
    smaller one's latency in proportion to the images, or else the next larger one's as it is.

    >>> two, three = (Latency(ms, ms, ms, repeats=9) for ms in (2.0, 3.0))
    >>> measured = {(0, 1, 1): two, (1, 2, 1): three}
    >>> estimate((0, 2, 1), measured).median_ms, estimate((0, 2, 4), measured).median_ms
    (5.0, 20.0)
    """
    start, stop, batch = key
    times = _enough(start, stop, {(a, z): m for (a, z, n), m in measured.items() if n == batch})
    if times is not None:
        return _estimated(times)
    batches = {n for _, _, n in measured} - {batch}
    for other in [*sorted((n for n in batches if n < batch), reverse=True), *sorted(batches)]:
        near = measured.get((start, stop, other))
        known = {(a, z): m for (a, z, n), m in measured.items() if n == other}
        found = _times(near) if near is not None else _enough(start, stop, known)
        if found is not None:
            return _estimated(tuple(max(1.0, batch / other) * number for number in found))
    return None


def _enough(start: int, stop: int, measured: Mapping[tuple[int, int], Latency]) -> _Times | None:
    """The least of measured work that includes segment (start, stop), all of one batch size."""
    chains: dict[int, _Times] = {start: (0.0, 0.0, 0.0)}
    for end in range(start + 1, stop + 1):
        ways = [
            tuple(sum(pair) for pair in zip(chains[middle], _times(measured[middle, end]), strict=True))
            for middle in chains
            if (middle, end) in measured
        ]
        if ways:
            chains[end] = min(ways)
    found = [chains[stop]] if stop in chains else []
    found += [_times(latency) for (a, z), latency in measured.items() if a == 0 and z >= stop]
    return min(found, default=None)


def _times(latency: Latency) -> _Times:
    return (latency.median_ms, latency.p95_ms, latency.p99_ms)


def _estimated(times: _Times) -> Latency:
    median_ms, p95_ms, p99_ms = times
    return Latency(median_ms, p95_ms, p99_ms, repeats=0, estimated=True)
