"""Processor time that a request takes on its way to the workers and back: HTTP, and what is refused."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

_EVERY_S, _LEAST_REQUESTS = 0.2, 10
_RECENT = 0.5
_MOST_S = 0.02


def cores_here() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Overhead:
    """A running mean of it, where engine threads share their cores with the rest of the process.

    Where a core is left for the rest, segments lose nothing to it, and it is 0. Else every request that comes
    takes so much from the engine, whether it is answered or refused: a plan that leaves it out promises depth
    that there is no time for.

    Args:
        threads: engine threads.
        clock: seconds.
        used: processor time of the whole process, in seconds.
        cores: that the process may run on now.

    >>> used = iter([0.0, 0.05, 0.05])
    >>> times = iter([0.0, *[0.03 * at for at in range(1, 11)]])
    >>> overhead = Overhead(1, clock=lambda: next(times), used=lambda: next(used), cores=lambda: 1)
    >>> overhead.ran(0.03)
    >>> for _ in range(10):
    ...     overhead.came()
    >>> round(1000 * overhead.seconds, 3)  # half of (50 - 30) ms by 10 requests, as it was 0 before
    1.0
    """

    def __init__(
        self,
        threads: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        used: Callable[[], float] = time.process_time,
        cores: Callable[[], int] = cores_here,
    ) -> None:
        self._threads, self._clock, self._used, self._cores = threads, clock, used, cores
        self.seconds, self._requests = 0.0, 0
        self._last = clock()
        self._begin(self._last)

    def ran(self, cpu_s: float) -> None:
        """A worker had so much processor time for requests, segments and all."""
        self._segments += cpu_s

    def came(self) -> None:
        """A request came, to be admitted or refused."""
        now = self._clock()
        if now - self._last > _EVERY_S:  # what an idle process takes is nobody's
            self._begin(now)
        self._last, self._requests = now, self._requests + 1
        if self._requests < _LEAST_REQUESTS or now - self._at < _EVERY_S:
            return
        each = (self._used() - self._used_at - self._segments) / self._requests
        found = min(max(each, 0.0), _MOST_S) if self._cores() <= self._threads else 0.0
        self.seconds += _RECENT * (found - self.seconds)
        self._begin(now)

    def _begin(self, now: float) -> None:
        self._at, self._used_at, self._segments, self._requests = now, self._used(), 0.0, 0
