"""The rate of requests is known soon after it changes, and chance alone changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

from anytimenet.serving.scheduling.arrivals import Arrivals


def told(times: np.ndarray) -> tuple[Arrivals, list[float]]:
    arrivals, rates = Arrivals(), []
    for now in times:
        arrivals.came(float(now), 0.05)
        rates.append(arrivals.rate(float(now)))
    return arrivals, rates


def at_random(rate_hz: float, start: float, seconds: float, seed: int) -> np.ndarray:
    draws = np.random.default_rng(seed)
    return start + np.sort(draws.uniform(0, seconds, int(rate_hz * seconds)))


@pytest.mark.parametrize("before_hz", [5, 50, 100])
def test_a_load_that_grows_fourfold_or_more_is_known_within_a_quarter_of_a_second(before_hz):
    for seed in range(10):
        first = at_random(before_hz, 0.0, 5.0, seed)
        then = at_random(400, 5.0, 0.25, seed + 100)
        _, rates = told(np.concatenate([first, then]))
        assert 260 < rates[-1] < 640


def test_a_load_after_a_pause_is_no_smaller_for_it():
    for seed in range(10):
        times = [at_random(400, 0.0, 2.0, seed), at_random(400, 5.0, 0.25, seed + 100)]
        _, rates = told(np.concatenate(times))
        assert 260 < rates[-1] < 640


@pytest.mark.parametrize("rate_hz", [20, 120, 600])
def test_a_steady_load_is_told_without_jumps(rate_hz):
    _, rates = told(at_random(rate_hz, 0.0, 100.0, 3))
    later = np.array(rates[int(3 * rate_hz) :])
    assert later.mean() == pytest.approx(rate_hz, rel=0.05)
    assert (later > rate_hz + 5 * np.sqrt(rate_hz / 2)).mean() < 0.01


def test_a_load_that_ends_fades():
    arrivals, _ = told(at_random(400, 0.0, 2.0, 0))
    assert arrivals.rate(4.0) < 0.2 * 400
