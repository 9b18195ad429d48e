"""When requests are meant to leave: schedules of an open loop, all known before the first is sent."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

Rate = Callable[[float], float]
"""Requests a second that are expected at a time, in seconds from the start."""


def poisson(rate_hz: float, seconds: float, seed: int) -> np.ndarray:
    """Times of independent arrivals at a constant rate, rising, in seconds.

    >>> poisson(100, 10, seed=1).size
    961
    """
    return _thinned(lambda _: rate_hz, rate_hz, seconds, seed)


def bursts(
    rate_hz: float, seconds: float, seed: int, *, high: float = 3.0, period_s: float = 1.0
) -> np.ndarray:
    """Arrivals whose mean rate is `rate_hz`: a quarter of each period at `high` times it, the rest at less.

    Args:
        rate_hz: mean over whole periods.
        seconds: length.
        seed: draws the arrivals.
        high: rate in a burst over the mean, 1 to 4.
        period_s: from one burst to the next.
    """
    if not 1 <= high <= 4:
        raise ValueError(f"high: a burst of a quarter of the time is 1 to 4 times the mean, not {high}")
    low = (1 - 0.25 * high) / 0.75

    def rate(at: float) -> float:
        return rate_hz * (high if at % period_s < 0.25 * period_s else low)

    return _thinned(rate, high * rate_hz, seconds, seed)


def diurnal(rate_hz: float, seconds: float, seed: int, *, swing: float = 0.8) -> np.ndarray:
    """A day in `seconds`: arrivals whose rate follows a sine around `rate_hz`, lowest at both ends.

    Args:
        rate_hz: mean.
        seconds: length of the day.
        seed: draws the arrivals.
        swing: how far the rate goes from the mean, as a share of it; 0 to 1.
    """
    if not 0 <= swing <= 1:
        raise ValueError(f"swing: a share of the mean rate, 0 to 1, not {swing}")

    def rate(at: float) -> float:
        return rate_hz * (1 - swing * math.cos(2 * math.pi * at / seconds))

    return _thinned(rate, rate_hz * (1 + swing), seconds, seed)


SHAPES = {"poisson": poisson, "bursts": bursts, "diurnal": diurnal}


def _thinned(rate: Rate, most: float, seconds: float, seed: int) -> np.ndarray:
    """A Poisson process of a changing rate: of one of rate `most`, points stay with rate / most.

    Lewis and Shedler, Simulation of nonhomogeneous Poisson processes by thinning, 1979.
    """
    if not (most > 0 and seconds > 0):
        raise ValueError(f"a rate and a length above 0 are needed, not {most} Hz and {seconds} s")
    draws = np.random.default_rng(seed)
    return np.array(list(_points(rate, most, seconds, draws)))


def _points(rate: Rate, most: float, seconds: float, draws: np.random.Generator) -> Iterator[float]:
    at = float(draws.exponential(1 / most))
    while at < seconds:
        if draws.random() * most < rate(at):
            yield at
        at += float(draws.exponential(1 / most))
