"""How much longer a chain of nets of growing cost takes than a net that was made for the budget.

The assumption of all of it: nets of cost 1, b, b^2, ... run one after the other, each from the input, and a
net of cost b^n is near-optimal from cost b^(n-1) on, after the first 1/b of its layers. What is as good as
the best net of cost B is then known once the nets 1, ..., b^(n-1) have run, and B of the net b^n, with
n = ceil(log_b B). The delay factor is what was spent by then, divided by B.

Source: Hu, Dey, Hebert and Bagnell, "Learning Anytime Predictions in Neural Networks via Adaptive Loss
Balancing" (arXiv 1708.06832), on EANN.
"""

from __future__ import annotations

import math

_CLOSE = 1e-12
"""Budgets nearer to a power of the base than this share of it are that power: logarithms round."""


def delay_factor(base: float, budget: float) -> float:
    """The delay factor at one budget, C(B) = 1 + (b^n - 1) / ((b - 1) B) with n = ceil(log_b B).

    Args:
        base: b, by how much the cost grows from net to net.
        budget: B, in costs of the cheapest net.

    Raises:
        ValueError: unless base > 1 and budget >= 1.

    >>> delay_factor(2, 8), round(delay_factor(2, 8.0001), 3)
    (1.875, 2.875)
    """
    _check_base(base)
    if not (math.isfinite(budget) and budget >= 1):
        raise ValueError(
            f"budget {budget} must be a number of at least 1, the cheapest net's cost: divide by that cost"
        )
    return 1 + _spent_before(base, _power_for(base, budget)) / budget


def worst_delay_factor(base: float) -> float:
    """The least upper bound of the delay factor over all budgets, 2 + 1 / (b - 1).

    It is approached just above large powers of the base.

    Raises:
        ValueError: unless base > 1.

    >>> worst_delay_factor(2), worst_delay_factor(3)
    (3.0, 2.5)
    """
    _check_base(base)
    return 2 + 1 / (base - 1)


def expected_delay_bound(base: float) -> float:
    """The paper's upper bound of the mean factor, 1 - 1 / (2b) + (1 + ln b) / (b - 1).

    It holds where the largest budget is a power of the base, as at the end of a chain. Somewhat above a power
    the mean can exceed it: see `expected_delay_factor`.

    Raises:
        ValueError: unless base > 1.

    >>> round(expected_delay_bound(2), 3)
    2.443
    """
    _check_base(base)
    return 1 - 1 / (2 * base) + (1 + math.log(base)) / (base - 1)


def expected_delay_limit(base: float) -> float:
    """The mean factor of a long chain, 1 + b ln b / (b - 1)^2: its limit over largest budgets b, b^2, ...

    Raises:
        ValueError: unless base > 1.

    >>> round(expected_delay_limit(2), 3)
    2.386
    """
    _check_base(base)
    return 1 + base * math.log(base) / (base - 1) ** 2


def expected_delay_factor(base: float, largest: float) -> float:
    """The exact mean of the delay factor for a budget drawn uniformly from 1 to `largest`.

    Between two powers C(B) is 1 + constant / B, whose integral is a logarithm; the pieces sum in closed form.

    Raises:
        ValueError: unless base > 1 and largest > 1.

    >>> round(expected_delay_factor(2, 2**20), 3), round(expected_delay_factor(2, 1.36 * 2**20), 3)
    (2.386, 2.472)
    """
    _check_base(base)
    if not (math.isfinite(largest) and largest > 1):
        raise ValueError(f"largest {largest} must be a number above 1, the smallest budget")
    last = _power_for(base, largest)
    # Nets b^1 .. b^(last-1) are used over their whole range, in which the integral of 1 / B is ln b.
    whole = (base**last - base) / (base - 1) - (last - 1)
    partial = _spent_before(base, last) * math.log(largest / base ** (last - 1))
    return 1 + (math.log(base) * whole / (base - 1) + partial) / (largest - 1)


def _spent_before(base: float, power: int) -> float:
    """What the nets 1, b, ..., b^(power-1) cost together."""
    return (base**power - 1) / (base - 1)


def _power_for(base: float, budget: float) -> int:
    """The smallest whole n >= 0 with b^n >= budget."""
    power = max(math.ceil(math.log(budget) / math.log(base)), 0)
    while base**power < budget * (1 - _CLOSE):
        power += 1
    while power > 0 and base ** (power - 1) >= budget * (1 - _CLOSE):
        power -= 1
    return power


def _check_base(base: float) -> None:
    if not (math.isfinite(base) and base > 1):
        raise ValueError(
            f"base {base} must be a number above 1, for the costs to grow from net to net: 2 doubles them"
        )
