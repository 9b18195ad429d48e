"""When requests come: at random, in bursts, by day and night, or as they were recorded."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from anytimenet.core import checks

_MOST = 20_000_000


def poisson(rate: float, seconds: float, seed: int = 0) -> np.ndarray:
    """Times of requests that come independently of each other, seconds from 0, rising.

    Args:
        rate: requests a second.
        seconds: how long.
        seed: of the generator.

    >>> times = poisson(1000, 10, seed=0)
    >>> len(times), bool((np.diff(times) >= 0).all()), float(times[-1]) < 10
    (10039, True, True)
    """
    return modulated(lambda times: np.ones_like(times), rate, seconds, seed)


def bursts(
    rate: float,
    seconds: float,
    seed: int = 0,
    *,
    times_more: float = 4.0,
    burst_s: float = 0.5,
    every_s: float = 5.0,
) -> np.ndarray:
    """Poisson with bursts at random moments; the mean rate, bursts included, is `rate`.

    Args:
        rate, seconds, seed: as of `poisson`.
        times_more: the rate in a burst over that outside.
        burst_s: how long each lasts.
        every_s: from the begin of one to that of the next, on average.
    """
    times_more = checks.number(times_more, "times_more", 1)
    burst_s, every_s = checks.number(burst_s, "burst_s", above=0), checks.number(every_s, "every_s", above=0)
    if burst_s >= every_s:
        raise ValueError(f"bursts of {burst_s} s every {every_s} s are no bursts: every_s must be longer")
    drawn = np.random.default_rng((seed, 1))
    gaps = drawn.exponential(every_s - burst_s, int(3 * seconds / every_s) + 20) + burst_s
    begins = np.cumsum(gaps) - gaps[0] * drawn.random()

    def high(times: np.ndarray) -> np.ndarray:
        place = np.searchsorted(begins, times, side="right") - 1
        inside = (place >= 0) & (times - begins[np.maximum(place, 0)] < burst_s)
        return np.where(inside, times_more, 1.0)

    mean = 1 + (times_more - 1) * burst_s / every_s
    return modulated(lambda times: high(times) / mean, rate, seconds, seed, most=times_more / mean)


def diurnal(
    rate: float, seconds: float, seed: int = 0, *, peak: float = 1.8, day_s: float | None = None
) -> np.ndarray:
    """Poisson whose rate swings like a day: `peak` times the mean at noon, 2 - peak at night.

    Args:
        rate, seconds, seed: as of `poisson`.
        peak: from 1 to 2.
        day_s: a day; by default all of it is one.
    """
    peak = checks.number(peak, "peak", 1, 2)
    day = seconds if day_s is None else checks.number(day_s, "day_s", above=0)
    return modulated(
        lambda times: 1 - (peak - 1) * np.cos(2 * math.pi * times / day), rate, seconds, seed, most=peak
    )


def modulated(
    shape: Callable[[np.ndarray], np.ndarray], rate: float, seconds: float, seed: int, *, most: float = 1.0
) -> np.ndarray:
    """Poisson whose rate is `rate * shape(times)`, by thinning; `shape` is at most `most`."""
    rate = checks.number(rate, "rate", 0)
    seconds = checks.number(seconds, "seconds", above=0)
    drawn = np.random.default_rng((seed, 0))
    if rate * most * seconds > _MOST:
        raise ValueError(f"{rate:g} requests a second for {seconds:g} s are more than {_MOST}: simulate less")
    times = np.sort(drawn.uniform(0.0, seconds, drawn.poisson(rate * most * seconds)))
    kept: np.ndarray = times[drawn.random(len(times)) * most < shape(times)]
    return kept


LOADS: dict[str, Callable[[float, float, int], np.ndarray]] = {
    "poisson": poisson,
    "bursts": bursts,
    "diurnal": diurnal,
}
"""Loads by name."""
