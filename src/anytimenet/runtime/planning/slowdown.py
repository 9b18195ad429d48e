"""How much slower this machine is now than when its cost table was measured."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

from anytimenet.core import checks

_MEAN_STEP = math.log(1.02)
_DEVIATION_STEP = math.log(1.25)
_LEAST_DEVIATION = 0.005
_MOST_STEPS = 10_000  # of a bin: beyond every slowdown that ends in a number

Bin = tuple[int, int]
"""A slowdown as a key: steps of its mean and of its deviation."""


@dataclass(frozen=True)
class Estimate:
    """The slowdown that is expected of the next segment.

    Attributes:
        mean: observed over profiled latency; 1 on the machine as it was profiled.
        deviation: standard deviation of it.
    """

    mean: float = 1.0
    deviation: float = 0.0

    @property
    def bin(self) -> Bin:
        """The estimate in geometric steps: of 2 % of the mean, of 25 % of the deviation."""
        deviation = max(self.deviation, _LEAST_DEVIATION)
        return (
            _steps(math.log(self.mean) / _MEAN_STEP),
            _steps(math.log(deviation / _LEAST_DEVIATION) / _DEVIATION_STEP),
        )


def estimate_of(key: Bin) -> Estimate:
    """The estimate that stands for a bin: its upper end, so that a plan made for it is never optimistic.

    >>> upper = estimate_of(Estimate(1.5, 0.1).bin)
    >>> round(upper.mean, 3), round(upper.deviation, 3), upper.bin == Estimate(1.5, 0.1).bin
    (1.516, 0.114, True)
    """
    mean, deviation = key
    return Estimate(math.exp(mean * _MEAN_STEP), _LEAST_DEVIATION * math.exp(deviation * _DEVIATION_STEP))


class Slowdown:
    """A running estimate of observed over profiled latency, by the Kalman filter of ALERT.

    Wan et al., "ALERT: Accurate Learning for Energy and Timeliness", USENIX ATC 2020. With the mean mu and
    its variance P, an observation xi, the process noise Q and the measurement noise R:

        y = xi - mu,  K = (P + Q) / (P + Q + R),  mu += K y,  P = (1 - K) (P + Q),
        Q = max(Q0, alpha Q + (1 - alpha) (K y)^2)  for the next one.

    The `deviation` is sqrt(P + Q), that of the slowdown itself; how much single runs differ at one slowdown
    is what the quantiles of the cost table say.

    An observation that no run gives (zero, negative, NaN, infinite: a clock was set) is ignored. One that is
    more than `most` times above or below the mean counts as `most` times: a process that was stopped for an
    hour is believed after a few observations, not after one.

    Several threads may observe; a reader sees whole estimates.

    Args:
        mean: the first mean.
        variance: the first P.
        alpha: how much of Q is kept.
        least_noise: Q0.
        noise: R.
        most: see above.

    Raises:
        TypeError, ValueError: for values out of range.

    >>> slowdown = Slowdown()
    >>> for _ in range(5):
    ...     slowdown.observe(profiled_ms=10, elapsed_ms=20)
    >>> round(slowdown.mean, 2)
    2.0
    """

    def __init__(
        self,
        mean: float = 1.0,
        variance: float = 0.0025,
        *,
        alpha: float = 0.3,
        least_noise: float = 1e-4,
        noise: float = 1e-3,
        most: float = 10.0,
    ) -> None:
        mean = float(checks.number(mean, "mean", above=0))
        self._variance = float(checks.number(variance, "variance", 0))
        self._alpha = float(checks.number(alpha, "alpha", 0, below=1))
        self._least = float(checks.number(least_noise, "least_noise", 0))
        self._noise = float(checks.number(noise, "noise", above=0))
        self._most = float(checks.number(most, "most", above=1))
        self._process = self._least
        self._estimate = Estimate(mean, self._deviation())
        self._lock = threading.Lock()

    @property
    def estimate(self) -> Estimate:
        """Mean and deviation now."""
        return self._estimate

    @property
    def mean(self) -> float:
        """The expected slowdown."""
        return self._estimate.mean

    @property
    def deviation(self) -> float:
        """Its standard deviation."""
        return self._estimate.deviation

    @property
    def bin(self) -> Bin:
        """The estimate quantised, for caches; `estimate_of` gives what stands for it."""
        return self._estimate.bin

    def observe(self, profiled_ms: float, elapsed_ms: float) -> None:
        """A segment that takes `profiled_ms` by the cost table took `elapsed_ms`."""
        if not (0 < profiled_ms < math.inf and 0 < elapsed_ms < math.inf):
            return
        with self._lock:
            mean = self._estimate.mean
            seen = min(max(elapsed_ms / profiled_ms, mean / self._most), mean * self._most)
            prior = self._variance + self._process
            gain = prior / (prior + self._noise)
            change = gain * (seen - mean)
            self._variance = (1 - gain) * prior
            self._process = max(
                self._least, self._alpha * self._process + (1 - self._alpha) * change * change
            )
            self._estimate = Estimate(mean + change, self._deviation())

    def _deviation(self) -> float:
        return math.sqrt(self._variance + self._process)


def _steps(count: float) -> int:
    """Rounded up; a value on an edge, give or take its last digits, belongs to the bin below."""
    return max(-_MOST_STEPS, min(math.ceil(count - 1e-9), _MOST_STEPS))
