"""p-values of a risk, and temperatures: against sums, draws and grids."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytimenet.core.answers.probabilities import log_softmax
from anytimenet.core.errors import DataError
from anytimenet.evaluation import binomial_p_value, fit_temperature, hoeffding_bentkus_p_value


@given(count=st.integers(1, 40), data=st.data(), limit=st.floats(0.001, 0.999))
def test_the_binomial_p_value_is_the_sum_of_its_terms(count, data, limit):
    errors = data.draw(st.integers(0, count))
    told = sum(comb(count, k) * limit**k * (1 - limit) ** (count - k) for k in range(errors + 1))
    assert binomial_p_value(errors, count, limit) == pytest.approx(min(told, 1.0), rel=1e-9)


def test_many_examples_do_not_overflow():
    count = 5_000
    exactly = sum(comb(count, k) * 99 ** (count - k) for k in range(41))  # of 100 to the power of the count
    assert binomial_p_value(40, count, 0.01) == pytest.approx(float(Fraction(exactly, 100**count)), rel=1e-9)
    assert binomial_p_value(0, 50_000, 0.01) == pytest.approx(0.99**50_000, rel=1e-6, abs=1e-300)


@pytest.mark.parametrize(("p_value", "mean"), [(binomial_p_value, 0), (hoeffding_bentkus_p_value, 0.0)])
def test_limits_that_no_mean_or_every_mean_keeps(p_value, mean):
    assert p_value(mean, 10, 0.0) == p_value(mean, 10, -0.5) == 1.0
    assert p_value(mean, 10, 1.0) == p_value(mean, 10, 1.5) == 0.0
    with pytest.raises(ValueError, match=r"from 0|as many as"):
        p_value(-1, 10, 0.5)


@pytest.mark.parametrize("risk", [0.03, 0.3])
def test_a_p_value_is_small_no_more_often_than_it_says(risk):
    random, count, draws = np.random.default_rng(0), 150, 3000
    errors = random.binomial(count, risk, draws)
    # Losses between 0 and 1 of the same mean: half of it for certain, the other half by chance.
    means = 0.5 * risk + 0.5 * errors / count
    found = {
        "binomial": np.array([binomial_p_value(int(e), count, risk) for e in errors]),
        "bounded": np.array([hoeffding_bentkus_p_value(float(m), count, risk) for m in means]),
    }
    for p_values in found.values():
        for level in (0.05, 0.1, 0.3):
            assert (p_values <= level).mean() <= level + 3 * np.sqrt(level * (1 - level) / draws)


def test_a_surer_mean_and_more_examples_give_a_smaller_p_value():
    values = [hoeffding_bentkus_p_value(mean, 100, 0.3) for mean in (0.05, 0.1, 0.2, 0.28)]
    assert values == sorted(values)
    values = [hoeffding_bentkus_p_value(0.2, count, 0.3) for count in (50, 200, 1000)]
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("true", [0.4, 1.0, 3.0])
def test_the_temperature_is_the_likeliest(true):
    random = np.random.default_rng(1)
    logits = random.normal(0, 2, (400, 5))
    probabilities = np.exp(log_softmax(logits / true))
    labels = np.array([random.choice(5, p=row) for row in probabilities])
    found = fit_temperature(logits, labels)

    def likelihood(temperature):
        return log_softmax(logits / temperature)[np.arange(400), labels].mean()

    grid = np.geomspace(0.1, 10, 400)
    assert likelihood(found) >= max(likelihood(t) for t in grid) - 1e-9
    assert found == pytest.approx(true, rel=0.25)


def test_answers_that_are_all_right_or_mean_nothing_have_a_finite_temperature():
    logits = np.eye(3)
    assert fit_temperature(logits, np.arange(3)) == pytest.approx(0.05, rel=1e-5)
    assert fit_temperature(logits, np.array([1, 2, 0])) == pytest.approx(20, rel=1e-5)
    with pytest.raises(DataError, match="not finite"):
        fit_temperature(np.full((2, 2), np.nan), np.zeros(2, int))
    with pytest.raises(DataError, match="one label"):
        fit_temperature(logits, np.arange(2))
