"""What requests that were missed say of the price of time: the feedback beside all that is foreseen."""

from __future__ import annotations

import math

_STEP, _TARGET = 0.1, 0.01
_MEMORY_S = 2.0
_MOST = 1.0


class Misses:
    """A price that every miss raises and that time lowers: an integrator with a leak.

    It is the multiplier of a constraint, that no more than 1 % are missed, found by dual ascent. No model is
    needed for it: whatever makes requests late, such as processor time that nobody counted, makes depth
    dearer. A persistent share p of r requests a second settles at 0.2 (p - 0.01) r, and at most at 1; a
    single pause of the machine costs nobody his depth.

    >>> misses = Misses()
    >>> for _ in range(5):
    ...     misses.missed(10.0)
    >>> round(misses.price(10.0), 3), round(misses.price(12.0), 3)
    (0.5, 0.184)
    """

    def __init__(self) -> None:
        self._price, self._at = 0.0, -math.inf

    def missed(self, now: float) -> None:
        """A request got no answer in time."""
        self._price, self._at = min(self.price(now) + _STEP, _MOST), now

    def kept(self, now: float) -> None:
        """A request was answered in time."""
        if self._price:
            self._price, self._at = max(0.0, self.price(now) - _STEP * _TARGET), now

    def price(self, now: float) -> float:
        """From 0, for nothing, to 1, at which no further stage is worth its time.

        Args:
            now: seconds; a clock that went back lowers nothing.
        """
        if not self._price:
            return 0.0
        return self._price * math.exp(min(self._at - now, 0.0) / _MEMORY_S)
