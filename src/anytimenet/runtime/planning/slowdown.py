"""How much slower this machine is now than when its cost table was measured."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

from anytimenet.core import checks
from anytimenet.runtime.planning.filters import KalmanFilter, SteadyLoad

_MEAN_STEP = math.log(1.02)
_SPREAD_STEP = math.log(1.25)
_LEAST_DEVIATION = 0.005
_LEAST_WAIT = 0.01
_MOST_STEPS = 1000  # of a bin: beyond every slowdown that ends in a number

Bin = tuple[int, int, int]
"""A slowdown as a key: steps of its mean, of its deviation and of the waiting."""


@dataclass(frozen=True)
class Estimate:
    """The slowdown that is expected of the next segment.

    Attributes:
        mean: observed over profiled latency; 1 on the machine as it was profiled.
        deviation: standard deviation of it.
        waiting: variance that waits add to the time of a segment, over its profiled time, in milliseconds.
    """

    mean: float = 1.0
    deviation: float = 0.0
    waiting: float = 0.0

    @property
    def bin(self) -> Bin:
        """The estimate in geometric steps: of 2 % of the mean, of 25 % of both deviations."""
        return (
            _steps(math.log(self.mean) / _MEAN_STEP),
            _spread_steps(self.deviation, _LEAST_DEVIATION),
            _spread_steps(math.sqrt(self.waiting), _LEAST_WAIT),
        )


def estimate_of(key: Bin) -> Estimate:
    """The estimate that stands for a bin: its upper end, so that a plan made for it is never optimistic.

    >>> upper = estimate_of(Estimate(1.5, 0.1, 2.0).bin)
    >>> round(upper.mean, 3), round(upper.deviation, 3), round(upper.waiting, 2)
    (1.516, 0.114, 2.87)
    """
    mean, deviation, waiting = key
    return Estimate(
        math.exp(mean * _MEAN_STEP),
        _LEAST_DEVIATION * math.exp(deviation * _SPREAD_STEP),
        (_LEAST_WAIT * math.exp(waiting * _SPREAD_STEP)) ** 2,
    )


class Slowdown:
    """A running estimate of observed over profiled latency, from two hypotheses about the machine.

    That runs wait at a steady rate (`SteadyLoad`) gives the estimate. That the slowdown changes from one run
    to the next is what the Kalman filter of ALERT supposes (`KalmanFilter`): it follows a change at once, and
    takes waits for changes, too. When its predictions have lately been far likelier, the machine has
    changed, and the steady load begins again from there.

    An observation that no run gives (zero, negative, NaN, infinite: a clock was set) is ignored. One that is
    more than `most` times above or below the mean counts as `most` times: a process that was stopped for an
    hour is believed after a few observations, not after one.

    Several threads may observe; a reader sees whole estimates.

    Args:
        mean: the first mean.
        variance: the first variance of it.
        steady: false gives the estimate of the filter of ALERT alone.
        alpha, least_noise, noise: of the filter.
        most: see above.

    Raises:
        TypeError, ValueError: for values out of range.

    >>> slowdown = Slowdown()
    >>> for _ in range(20):
    ...     slowdown.observe(profiled_ms=10, elapsed_ms=20)
    >>> round(slowdown.mean, 1)
    2.0
    """

    def __init__(
        self,
        mean: float = 1.0,
        variance: float = 0.0025,
        *,
        steady: bool = True,
        alpha: float = 0.3,
        least_noise: float = 1e-4,
        noise: float = 1e-3,
        most: float = 10.0,
    ) -> None:
        self._changing = KalmanFilter(mean, variance, alpha, least_noise, noise)
        self._steady = SteadyLoad(self._changing.mean, 0.0)
        self._alone = not checks.flag(steady, "steady")
        self._most = float(checks.number(most, "most", above=1))
        self._lead = 0.0
        self._estimate = Estimate(self._changing.mean, self._changing.deviation)
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
    def waiting(self) -> float:
        """Variance that waits add to the time of a segment, over its profiled time, in milliseconds."""
        return self._estimate.waiting

    @property
    def bin(self) -> Bin:
        """The estimate quantised, for caches; `estimate_of` gives what stands for it."""
        return self._estimate.bin

    def observe(self, profiled_ms: float, elapsed_ms: float) -> None:
        """A segment that takes `profiled_ms` by the cost table took `elapsed_ms`."""
        if not (_SHORTEST_MS <= profiled_ms <= _LONGEST_MS and 0 < elapsed_ms < math.inf):
            return
        with self._lock:
            mean = self._estimate.mean
            seen = min(max(elapsed_ms / profiled_ms, mean / self._most), mean * self._most)
            changing, steady = self._changing, self._steady
            ahead = min(max(self._ahead(seen, profiled_ms), -_MOST_AHEAD), _MOST_AHEAD)
            self._lead = _REMEMBERED * self._lead + (1 - _REMEMBERED) * ahead
            changing.observe(seen)
            if self._lead < _GIVEN_UP:
                self._steady = steady = SteadyLoad(changing.mean, changing.deviation**2 * profiled_ms)
                self._lead = 0.0
            steady.observe(seen, profiled_ms)
            self._estimate = (
                Estimate(changing.mean, changing.deviation)
                if self._alone
                else Estimate(steady.mean, steady.deviation, steady.waiting)
            )

    def _ahead(self, seen: float, profiled_ms: float) -> float:
        """By how much the steady load has predicted an observation better, in log-likelihood.

        Under both, single runs differ by the filter's measurement noise beside.
        """
        changing, steady = self._changing, self._steady
        steadily = _log_likelihood(seen - steady.mean, steady.waiting / profiled_ms + changing.noise)
        return steadily - _log_likelihood(seen - changing.mean, changing.deviation**2 + changing.noise)


def _log_likelihood(away: float, variance: float) -> float:
    """Of a normal distribution, up to a constant."""
    return -0.5 * (math.log(variance) + away * away / variance)


_SHORTEST_MS, _LONGEST_MS = 1e-6, 1e9  # a segment
_REMEMBERED = 0.9
_MOST_AHEAD = 5.0  # no single run decides for long
_GIVEN_UP = -1.5


def _steps(count: float) -> int:
    """Rounded up; a value on an edge, give or take its last digits, belongs to the bin below."""
    return max(-_MOST_STEPS, min(math.ceil(count - 1e-9), _MOST_STEPS))


def _spread_steps(value: float, least: float) -> int:
    return _steps(math.log(max(value, least) / least) / _SPREAD_STEP)
