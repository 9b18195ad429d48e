"""Latency as a distribution: its chances, and the order that the planner's proof rests on."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.runtime.fakes.tables import latencies

from anytimenet.core.manifest.cost_table import Latency
from anytimenet.runtime.planning.latencies import FROM_TABLE, SCORES, as_distribution, certain, chance_within
from anytimenet.runtime.planning.slowdown import Estimate

estimates = st.builds(Estimate, st.floats(0.1, 10), st.floats(0, 3), st.floats(0, 20))
rising = st.lists(st.floats(0, 10), min_size=5, max_size=5).map(lambda times: tuple(sorted(times)))


def test_quantiles_of_the_table_come_back_at_rest():
    times = as_distribution(Latency(10.0, 12.0, 13.0, repeats=50, low_ms=9.0), Estimate(1.0, 0.0))
    for milliseconds, probability in ((9.0, 0.1), (10.0, 0.5), (12.0, 0.95), (13.0, 0.99), (50.0, 1.0)):
        assert chance_within(times, milliseconds) == pytest.approx(probability)


def test_a_slowdown_alone_is_the_normal_distribution_of_alert():
    times = as_distribution(Latency(10.0, 10.0, 10.0, repeats=50, low_ms=10.0), Estimate(2.0, 0.1))
    assert times == pytest.approx([20.0 + 0.1 * 10.0 * score for score in SCORES])


def test_two_spreads_add_as_independent_ones_do():
    latency = Latency(10.0, 13.0, 14.0, repeats=50)
    times = as_distribution(latency, Estimate(1.0, 4.0 / SCORES[2] / 10))
    assert times[2] == pytest.approx(10.0 + 5.0)  # 3 and 4


@given(latencies(), estimates, st.sampled_from(sorted(FROM_TABLE)))
def test_times_rise_from_quantile_to_quantile(latency, slowdown, variant):
    times = FROM_TABLE[variant](latency, slowdown)
    assert all(0 <= low <= high for low, high in pairwise(times))


@given(rising, rising, rising, st.floats(0, 40))
def test_what_is_quicker_throughout_has_the_better_chance_whatever_follows(one, more, after, budget):
    slower = tuple(a + b for a, b in zip(one, more, strict=True))
    assert chance_within(one, budget) >= chance_within(slower, budget)
    both = [tuple(a + b for a, b in zip(each, after, strict=True)) for each in (one, slower)]
    assert chance_within(both[0], budget) >= chance_within(both[1], budget)


@given(rising, st.floats(-1, 11), st.floats(0, 1))
def test_more_time_is_never_less_of_a_chance(times, budget, more):
    assert 0 <= chance_within(times, budget) <= chance_within(times, budget + more) <= 1


def test_a_certain_time_is_in_time_or_not():
    assert chance_within(certain(4), 4) == 1
    assert chance_within(certain(4), 3.999) == 0
