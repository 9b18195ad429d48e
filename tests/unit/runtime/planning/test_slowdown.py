"""The running slowdown: the filter's equations, what it settles on, and what it does not believe."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytimenet.runtime.planning.filters import SteadyLoad
from anytimenet.runtime.planning.slowdown import Estimate, Slowdown, estimate_of


def test_the_equations_of_the_filter_by_hand():
    slowdown = Slowdown(1.0, 0.04, steady=False, alpha=0.25, least_noise=0.01, noise=0.05)
    assert slowdown.deviation == pytest.approx(math.sqrt(0.05))
    slowdown.observe(10.0, 20.0)  # P + Q = 0.05, K = 0.5, y = 1
    assert slowdown.mean == pytest.approx(1.5)
    # P = 0.025, Q = 0.25 * 0.01 + 0.75 * 0.25
    assert slowdown.deviation == pytest.approx(math.sqrt(0.025 + 0.19))
    slowdown.observe(10.0, 15.0)  # as expected: Q = 0.25 * 0.19
    gain = 0.215 / 0.265
    assert slowdown.mean == pytest.approx(1.5)
    assert slowdown.deviation == pytest.approx(math.sqrt((1 - gain) * 0.215 + 0.0475))


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0, 40.0])
def test_it_settles_on_the_slowdown_and_grows_sure_of_it(true):
    slowdown = Slowdown()
    for _ in range(100):
        slowdown.observe(2.0, 2.0 * true)
    assert slowdown.mean == pytest.approx(true, rel=0.02)
    assert slowdown.deviation < 0.03 * true
    assert slowdown.waiting < 0.1 * true


def test_it_is_unsure_after_a_change():
    slowdown = Slowdown()
    for _ in range(30):
        slowdown.observe(1.0, 1.0)
    before = slowdown.deviation
    slowdown.observe(1.0, 2.0)
    assert slowdown.deviation > 5 * before
    assert slowdown.waiting > 0.04


def runs(slowdown: Slowdown, count: int, mean: float, deviation: float, seed: int = 0) -> list[Estimate]:
    """The estimates while runs vary about a slowdown."""
    estimates = []
    for seen in np.random.default_rng(seed).normal(mean, deviation, count):
        slowdown.observe(1.0, float(max(seen, 0.1)))
        estimates.append(slowdown.estimate)
    return estimates


def test_under_a_steady_load_it_stays_where_the_filter_alone_follows_every_run():
    both, alone = (runs(Slowdown(steady=steady), 400, 2.0, 0.3)[100:] for steady in (True, False))
    assert np.std([each.mean for each in both]) < 0.5 * np.std([each.mean for each in alone])
    assert np.mean([each.waiting for each in both]) == pytest.approx(0.3**2, rel=0.3)


def test_a_change_under_a_steady_load_is_followed_in_a_few_runs():
    slowdown = Slowdown()
    runs(slowdown, 100, 1.0, 0.05)
    assert runs(slowdown, 10, 3.0, 0.05)[-1].mean == pytest.approx(3.0, abs=0.3)
    runs(slowdown, 50, 3.0, 0.05)
    assert runs(slowdown, 10, 1.0, 0.05)[-1].mean == pytest.approx(1.0, abs=0.3)


def test_at_a_change_long_times_are_reckoned_with_before_it_is_believed():
    slowdown = Slowdown()
    runs(slowdown, 100, 1.0, 0.05)
    surprised = runs(slowdown, 2, 3.0, 0.05)[-1]
    assert surprised.mean + 2.33 * math.hypot(surprised.deviation, math.sqrt(surprised.waiting)) > 2.5


def test_the_steady_load_by_hand():
    load = SteadyLoad(1.0, 0.2, kept=0.5)  # half of the past from the first run on
    load.observe(2.0, 4.0)
    assert load.mean == pytest.approx((0.5 * 12 + 2 * 4) / (0.5 * 12 + 4))
    assert load.waiting == pytest.approx(0.5 * 0.2 + 0.5 * 4.0)
    assert load.deviation == pytest.approx(math.sqrt(load.waiting / 10))


def test_waits_that_come_at_a_rate_are_expected_of_long_segments_in_proportion():
    """From segments of 1 ms, of which every eighth waits 8 ms, to the spread of those of 8 ms."""
    rng, slowdown = np.random.default_rng(0), Slowdown()
    for _ in range(600):
        slowdown.observe(1.0, 1.0 + 8.0 * rng.poisson(1 / 8))
    assert slowdown.mean == pytest.approx(2.0, rel=0.3)
    of_long = 8.0 + 8.0 * rng.poisson(1.0, 100_000)
    expected = math.sqrt((slowdown.deviation * 8) ** 2 + slowdown.waiting * 8)
    assert expected == pytest.approx(np.std(of_long), rel=0.35)


@pytest.mark.parametrize("elapsed", [0.0, -3.0, math.nan, math.inf, -math.inf])
def test_what_no_clock_gives_is_ignored(elapsed):
    slowdown = Slowdown()
    before = slowdown.estimate
    slowdown.observe(2.0, elapsed)
    slowdown.observe(elapsed, 2.0)
    assert slowdown.estimate == before


def test_an_hour_in_a_segment_is_not_believed_at_once_and_forgotten_soon():
    slowdown = Slowdown(most=10)
    slowdown.observe(1.0, 3_600_000.0)
    assert slowdown.mean <= 10
    for _ in range(20):
        slowdown.observe(1.0, 1.0)
    assert slowdown.mean == pytest.approx(1.0, abs=0.05)
    assert slowdown.waiting < 0.01


@given(st.lists(st.tuples(st.floats(), st.floats()), max_size=40))
def test_whatever_is_observed_the_estimate_is_a_finite_positive_number(observations):
    slowdown = Slowdown()
    for profiled, elapsed in observations:
        slowdown.observe(profiled, elapsed)
        assert 0 < slowdown.mean < math.inf
        assert 0 <= slowdown.deviation < math.inf
        upper = estimate_of(slowdown.bin)
        assert 0 < upper.mean < math.inf


@given(st.floats(1e-3, 1e3), st.floats(0, 100), st.floats(0, 1e4))
def test_a_bin_is_never_optimistic_and_a_step_wide(mean, deviation, waiting):
    estimate = Estimate(mean, deviation, waiting)
    upper = estimate_of(estimate.bin)
    assert mean * (1 - 1e-9) <= upper.mean <= mean * 1.02001
    assert deviation * (1 - 1e-9) <= upper.deviation <= max(deviation, 0.005) * 1.25001
    assert waiting * (1 - 1e-9) <= upper.waiting <= max(waiting, 1e-4) * 1.25001**2
    assert upper.bin == estimate.bin


@pytest.mark.parametrize(
    "wrong", [{"mean": 0}, {"variance": -1}, {"alpha": 1}, {"noise": 0}, {"most": 1}, {"mean": math.nan}]
)
def test_constants_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Slowdown(**wrong)
