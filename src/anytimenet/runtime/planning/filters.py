"""What may be supposed of a slowdown: that it changes, or that runs vary about one that stays."""

from __future__ import annotations

import math

from anytimenet.core import checks


class KalmanFilter:
    """The slowdown as ALERT follows it: a value that moves, seen through noise.

    Wan et al., "ALERT: Accurate Learning for Energy and Timeliness", USENIX ATC 2020. With the mean mu and
    its variance P, an observation xi, the process noise Q and the measurement noise R:

        y = xi - mu,  K = (P + Q) / (P + Q + R),  mu += K y,  P = (1 - K) (P + Q),
        Q = max(Q0, alpha Q + (1 - alpha) (K y)^2)  for the next one.

    The `deviation` is sqrt(P + Q), that of the slowdown itself; how much single runs differ at one slowdown
    is what the quantiles of the cost table say.

    Args:
        mean: the first mu.
        variance: the first P.
        alpha: how much of Q is kept.
        least_noise: Q0.
        noise: R.

    Raises:
        TypeError, ValueError: for values out of range.
    """

    def __init__(
        self,
        mean: float = 1.0,
        variance: float = 0.0025,
        alpha: float = 0.3,
        least_noise: float = 1e-4,
        noise: float = 1e-3,
    ) -> None:
        self.mean = float(checks.number(mean, "mean", above=0))
        self.noise = float(checks.number(noise, "noise", above=0))
        self._variance = float(checks.number(variance, "variance", 0))
        self._alpha = float(checks.number(alpha, "alpha", 0, below=1))
        self._least = float(checks.number(least_noise, "least_noise", 0))
        self._process = self._least

    @property
    def deviation(self) -> float:
        """Of the slowdown of the next run."""
        return math.sqrt(self._variance + self._process)

    def observe(self, seen: float) -> None:
        """A run took `seen` times what it was profiled at."""
        prior = self._variance + self._process
        gain = prior / (prior + self.noise)
        change = gain * (seen - self.mean)
        self.mean += change
        self._variance = (1 - gain) * prior
        self._process = max(self._least, self._alpha * self._process + (1 - self._alpha) * change * change)


class SteadyLoad:
    """Runs that wait at a steady rate, as beside another process on the same core.

    A wait is as long for a short segment as for a long one, and comes the rarer the shorter the segment: so
    both the mean of the time and its variance are in proportion to the profiled time. Older runs count less.

    Args:
        mean: slowdown that is supposed at first, as if it had been seen a few times.
        waiting: the same of the variance over the profiled time, in milliseconds.
        kept: how much the past counts at each observation.

    Attributes:
        mean: expected time over profiled time.
        waiting: variance of the time of a segment over its profiled time, in milliseconds.
    """

    def __init__(self, mean: float, waiting: float, kept: float = 0.95) -> None:
        self.mean = mean
        self.waiting = waiting
        self._kept = kept
        self._seen = _AS_IF_SEEN
        self._elapsed = self._profiled = 0.0

    @property
    def deviation(self) -> float:
        """How far the mean may be off."""
        return math.sqrt(self.waiting / self._profiled) if self._profiled else 0.0

    def observe(self, seen: float, profiled_ms: float) -> None:
        """A run took `seen` times the `profiled_ms` that it was profiled at."""
        if not self._profiled:
            self._profiled = _AS_IF_SEEN * profiled_ms
            self._elapsed = self.mean * self._profiled
        self._seen += 1
        kept = min(self._kept, self._seen / (self._seen + 1))
        away = (seen - self.mean) ** 2 * profiled_ms
        self.waiting = kept * self.waiting + (1 - kept) * away
        self._elapsed = kept * self._elapsed + seen * profiled_ms
        self._profiled = kept * self._profiled + profiled_ms
        self.mean = self._elapsed / self._profiled


_AS_IF_SEEN = 3
