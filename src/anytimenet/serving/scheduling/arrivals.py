"""How often requests come, of late."""

from __future__ import annotations

import math


class Arrivals:
    """A running estimate of the rate of requests and of the time that they allow.

    Each counts with a weight that falls to 1/e in `memory_s`; the first moments are not taken for silence.
    Where many more come in a seventh of that time than chance explains, the load has changed: what was before
    is forgotten, for in a second at too great a depth a queue is lost.

    Args:
        memory_s: seconds.

    >>> arrivals = Arrivals(memory_s=1.0)
    >>> for i in range(400):
    ...     arrivals.came(i / 100, 0.05)
    >>> round(arrivals.rate(4.0)), round(arrivals.allowed_s, 3)
    (100, 0.05)
    """

    def __init__(self, memory_s: float = 1.0) -> None:
        self.memory_s = memory_s
        self.allowed_s = math.inf
        self._weight = self._brief = 0.0
        self._brief_s = memory_s / 7
        self._last = self._first = -math.inf

    def came(self, now: float, allowed_s: float) -> None:
        """A request came; it allows so much time until its deadline, infinite if it has none."""
        if self._first == -math.inf or now < self._last:  # the clock was set: what was is no measure
            self._first, self._weight, self._brief = now, 0.0, 0.0
        else:
            self._weight *= math.exp((self._last - now) / self.memory_s)
            self._brief *= math.exp((self._last - now) / self._brief_s)
        self._weight += 1.0
        self._brief += 1.0
        self._last = now
        self._notice()
        if 0 < allowed_s < math.inf:
            known = self.allowed_s if self.allowed_s < math.inf else allowed_s
            self.allowed_s = known + _LATEST * (allowed_s - known)

    def _notice(self) -> None:
        """Begins again with the brief memory where that is far above: as chance rarely is."""
        expected = self.rate(self._last) * self._brief_s
        if expected and self._brief - 1 > expected + _SURE * math.sqrt(max(expected, 1.0) / 2):
            self._weight, self._first = self._brief, self._last - self._brief_s

    def rate(self, now: float) -> float:
        """Requests a second; 0 where fewer than a handful came."""
        seen_s = now - self._first
        if self._weight == 0.0 or seen_s <= 0 or now < self._last:
            return 0.0
        whole = self.memory_s * -math.expm1(-seen_s / self.memory_s)
        return self._weight * math.exp((self._last - now) / self.memory_s) / max(whole, _LEAST_S)


_LATEST = 0.05
_SURE = 4.5
_LEAST_S = 0.05
