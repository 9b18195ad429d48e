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
    """Runs that vary about a slowdown which stays: mean and deviation, older runs counting less.

    Args:
        mean: what is supposed at first, as if it had been seen a few times.
        deviation: the same of the deviation.
        kept: how much the past counts at each observation.
    """

    def __init__(self, mean: float, deviation: float, kept: float = 0.9) -> None:
        self.mean = mean
        self._variance = deviation * deviation
        self._kept = kept
        self._seen = 3

    @property
    def deviation(self) -> float:
        """Of the next run."""
        return math.sqrt(self._variance)

    def observe(self, seen: float) -> None:
        """A run took `seen` times what it was profiled at."""
        self._seen += 1
        kept = min(self._kept, self._seen / (self._seen + 1))
        change = seen - self.mean
        self.mean += (1 - kept) * change
        self._variance = kept * (self._variance + (1 - kept) * change * change)
