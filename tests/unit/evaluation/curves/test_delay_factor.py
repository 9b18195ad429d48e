"""The delay factor: the published table, brute force, and a chain of nets whose time is accounted."""

from __future__ import annotations

import math
import sys
from fractions import Fraction

import numpy as np
import pytest

from anytimenet.evaluation import (
    delay_factor,
    expected_delay_bound,
    expected_delay_factor,
    expected_delay_limit,
    worst_delay_factor,
)

BASES = (1.5, 2, 3, 4, 8, 10)
WORST = (4.000, 3.000, 2.500, 2.333, 2.143, 2.111)
BOUND = (3.478, 2.443, 1.883, 1.670, 1.377, 1.317)
LIMIT = (3.433, 2.386, 1.824, 1.616, 1.340, 1.284)


@pytest.mark.parametrize(
    ("base", "worst", "bound", "limit"), list(zip(BASES, WORST, BOUND, LIMIT, strict=True))
)
def test_the_table(base: float, worst: float, bound: float, limit: float) -> None:
    assert round(worst_delay_factor(base), 3) == worst
    assert round(expected_delay_bound(base), 3) == bound
    assert round(expected_delay_limit(base), 3) == limit


def spent_by_running(base: float, budget: float) -> float:
    """Time until a chain of nets of cost 1, b, b^2, ... knows what the best net of cost `budget` knows."""
    clock, cost = 0.0, 1.0
    while cost < budget * (1 - 1e-12):  # this net is too small: it runs to its end, and the next one starts
        clock += cost
        cost *= base
    return clock + budget


@pytest.mark.parametrize("base", BASES)
def test_a_chain_that_is_run_takes_so_much_longer(base: float) -> None:
    budgets = [1, *np.random.default_rng(0).uniform(1, base**6, 200), *(base**n for n in range(1, 25))]
    for budget in budgets:
        assert delay_factor(base, budget) == pytest.approx(spent_by_running(base, budget) / budget)


@pytest.mark.parametrize("base", [1.1, 1.5, 2, 3, 10, 1000**0.5])
def test_at_a_power_the_net_of_that_cost_is_enough_and_just_above_it_is_not(base: float) -> None:
    for power in range(1, 30):
        budget = base**power
        at = 1 + (budget - 1) / ((base - 1) * budget)
        assert delay_factor(base, budget) == pytest.approx(at)
        assert delay_factor(base, budget * (1 + 1e-9)) == pytest.approx(at + 1)


@pytest.mark.parametrize("base", BASES)
def test_the_worst_factor_is_the_least_upper_bound(base: float) -> None:
    above = [base**n * (1 + 1e-9) for n in range(1, 40)]
    budgets = [*np.geomspace(1, float(base) ** 20, 5000), *above]
    found = max(delay_factor(base, budget) for budget in budgets)
    assert worst_delay_factor(base) - 1e-5 < found < worst_delay_factor(base)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("largest", [1.2, 5.0, 37.5])
def test_the_mean_is_the_integral(base: float, largest: float) -> None:
    middles = np.linspace(1, largest, 100_001)
    middles = (middles[1:] + middles[:-1]) / 2
    mean = np.mean([delay_factor(base, budget) for budget in middles])
    assert expected_delay_factor(base, largest) == pytest.approx(mean, abs=2e-4)


@pytest.mark.parametrize("base", BASES)
def test_the_limit_and_the_bound_are_those_of_chains_that_end_with_a_power(base: float) -> None:
    long = math.ceil(math.log(1e12, base))
    assert expected_delay_factor(base, base**long) == pytest.approx(expected_delay_limit(base), abs=1e-6)
    for power in range(1, long):
        assert expected_delay_factor(base, base**power) < expected_delay_bound(base)


def test_between_powers_the_mean_exceeds_the_published_bound() -> None:
    # Worst where d/dr (b ln b / (b-1)^2 + b ln r / (b-1)) / r = 0, for b = 2 at ln r = 1 - ln 2.
    worst = math.exp(1 - math.log(2))
    found = expected_delay_factor(2, worst * 2**40)
    assert found == pytest.approx(1 + 2 / worst, abs=1e-6)
    assert found > expected_delay_bound(2)


@pytest.mark.parametrize("base", [1 + 2**-52, 1.001, 2, 10, 1e155, sys.float_info.max])
def test_numbers_near_the_largest_and_near_one_overflow_nothing(base: float) -> None:
    assert 1 <= expected_delay_limit(base) <= expected_delay_bound(base) * (1 + 1e-9)
    for budget in (1, 1 + 2**-52, 1e155, 1e308, 2**1023, sys.float_info.max):
        assert 1 <= delay_factor(base, budget) <= worst_delay_factor(base)
        if budget > 1:
            assert 1 <= expected_delay_factor(base, budget) <= worst_delay_factor(base)


@pytest.mark.parametrize("budget", [10**308, 2**1023, int(sys.float_info.max)])
def test_huge_budgets_are_as_exact_as_small_ones(budget: int) -> None:
    for base in (2, 3, 10):
        power = next(n for n in range(2000) if base**n >= budget)
        exact = 1 + Fraction(base**power - 1, (base - 1) * budget)
        assert delay_factor(base, budget) == pytest.approx(float(exact), rel=1e-9)


@pytest.mark.parametrize("over", [2**-52, 1e-13, 1e-6, 0.1])
def test_up_to_the_second_net_the_mean_has_one_piece(over: float) -> None:
    # C(B) = 1 + 1 / B from 1 to b.
    for base in (1.5, 2, 10):
        largest = 1 + over
        exact = 1 + math.log1p(largest - 1) / (largest - 1)
        assert expected_delay_factor(base, largest) == pytest.approx(exact, rel=1e-12)


def test_what_is_refused() -> None:
    for function in (worst_delay_factor, expected_delay_bound, expected_delay_limit):
        for base in (1, 0.5, math.nan, math.inf, "2", None, 10**400):
            with pytest.raises(ValueError, match="a number above 1"):
                function(base)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="base 1 must"):
        delay_factor(1, 4)
    for budget in (0.99, math.nan, math.inf, "8", None, 10**400):
        with pytest.raises(ValueError, match="divide by that cost"):
            delay_factor(2, budget)  # type: ignore[arg-type]
    for largest in (1, math.inf, "8", [4], 10**400):
        with pytest.raises(ValueError, match=r"largest .* must be a number above 1"):
            expected_delay_factor(2, largest)  # type: ignore[arg-type]
