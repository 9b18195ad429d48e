"""What requests that were missed say: how much sooner than its deadline each is to be planned."""

from __future__ import annotations

import math

_STEP, _TARGET = 0.03, 0.005
_MEMORY_S = 20.0
_MOST = 0.6


class Misses:
    """The share of what requests allow that plans keep back, so that few are missed.

    Every miss widens it and every answer in time narrows it a little, so that it settles where 0.5 % are
    missed: a quantile that is tracked by stochastic approximation (Robbins and Monro 1951). No model is
    needed for it: whatever makes requests late, such as processor time that nobody counted, makes plans more
    careful until the share is kept. While nobody waits depth stays cheap; a single pause of the machine, at
    which many are missed together, costs a part of it for seconds. Where nobody comes it falls to 1/e in
    twenty seconds.

    >>> misses = Misses()
    >>> for _ in range(5):
    ...     misses.missed(10.0)
    >>> for _ in range(100):
    ...     misses.kept(10.0)
    >>> round(misses.share(10.0), 3), round(misses.share(30.0), 3)
    (0.135, 0.05)
    """

    def __init__(self) -> None:
        self._share, self._at = 0.0, -math.inf

    def missed(self, now: float) -> None:
        """A request got no answer in time."""
        self._share, self._at = min(self.share(now) + _STEP, _MOST), now

    def kept(self, now: float) -> None:
        """A request was answered in time."""
        if self._share:
            self._share, self._at = max(0.0, self.share(now) - _STEP * _TARGET), now

    def share(self, now: float) -> float:
        """Of the time that requests allow; from 0 to 0.6.

        Args:
            now: seconds; a clock that went back lowers nothing.
        """
        if not self._share:
            return 0.0
        return self._share * math.exp(min(self._at - now, 0.0) / _MEMORY_S)
