"""What requests that were missed say of the price of time: the feedback beside all that is foreseen."""

from __future__ import annotations

import math

_STEP, _TARGET = 0.1, 0.005
_MEMORY_S = 5.0
_MOST, _MOST_KEPT = 1.0, 3.0


class Misses:
    """A price that every miss raises, and every answer in time lowers a little: dual ascent.

    It is the multiplier of a constraint, that no more than 0.5 % are missed. No model is needed for it:
    whatever makes requests late, such as processor time that nobody counted, makes depth dearer until the
    share is kept; a single pause of the machine is soon forgiven. What is beyond 1 is remembered, so that a
    burst of misses counts for longer than one; where nobody comes it falls to 1/e in five seconds.

    >>> misses = Misses()
    >>> for _ in range(5):
    ...     misses.missed(10.0)
    >>> for _ in range(100):
    ...     misses.kept(10.0)
    >>> round(misses.price(10.0), 3), round(misses.price(15.0), 3)
    (0.45, 0.166)
    """

    def __init__(self) -> None:
        self._kept, self._at = 0.0, -math.inf

    def missed(self, now: float) -> None:
        """A request got no answer in time."""
        self._kept, self._at = min(self._now(now) + _STEP, _MOST_KEPT), now

    def kept(self, now: float) -> None:
        """A request was answered in time."""
        if self._kept:
            self._kept, self._at = max(0.0, self._now(now) - _STEP * _TARGET), now

    def price(self, now: float) -> float:
        """From 0, for nothing, to 1, at which no further stage is worth its time.

        Args:
            now: seconds; a clock that went back lowers nothing.
        """
        return min(self._now(now), _MOST)

    def _now(self, now: float) -> float:
        if not self._kept:
            return 0.0
        return self._kept * math.exp(min(self._at - now, 0.0) / _MEMORY_S)
