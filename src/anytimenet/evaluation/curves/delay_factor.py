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
from numbers import Real

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
    base, cost = _checked_base(base), _number(budget)
    if not cost >= 1:
        raise ValueError(
            f"budget {budget!r} must be a number of at least 1, the cheapest net's cost: divide by that cost"
        )
    power = _power_for(base, cost)
    return 1 + _spent_before(base, power, cost) if power else 1.0


def worst_delay_factor(base: float) -> float:
    """The least upper bound of the delay factor over all budgets, 2 + 1 / (b - 1).

    It is approached just above large powers of the base.

    Raises:
        ValueError: unless base > 1.

    >>> worst_delay_factor(2), worst_delay_factor(3)
    (3.0, 2.5)
    """
    base = _checked_base(base)
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
    base = _checked_base(base)
    return 1 - 1 / (2 * base) + (1 + math.log(base)) / (base - 1)


def expected_delay_limit(base: float) -> float:
    """The mean factor of a long chain, 1 + b ln b / (b - 1)^2: its limit over largest budgets b, b^2, ...

    Raises:
        ValueError: unless base > 1.

    >>> round(expected_delay_limit(2), 3)
    2.386
    """
    base = _checked_base(base)
    return 1 + base / (base - 1) * (math.log(base) / (base - 1))


def expected_delay_factor(base: float, largest: float) -> float:
    """The exact mean of the delay factor for a budget drawn uniformly from 1 to `largest`.

    Between two powers C(B) is 1 + constant / B, whose integral is a logarithm; the pieces sum in closed form.

    Raises:
        ValueError: unless base > 1 and largest > 1.

    >>> round(expected_delay_factor(2, 2**20), 3), round(expected_delay_factor(2, 1.36 * 2**20), 3)
    (2.386, 2.472)
    """
    base, end = _checked_base(base), _number(largest)
    if not end > 1:
        raise ValueError(f"largest {largest!r} must be a number above 1, the smallest budget")
    last, width = max(_power_for(base, end), 1), end - 1
    before = base ** (last - 1)
    # Nets b^1 .. b^(last-1) are used over their whole range, in which the integral of 1 / B is ln b.
    whole = base / (base - 1) * ((before - 1) / width) - (last - 1) / width
    partial = _spent_before(base, last, width) * math.log(end / before)
    return 1 + math.log(base) / (base - 1) * whole + partial


def _spent_before(base: float, power: int, unit: float) -> float:
    """What the nets 1, b, ..., b^(power-1) cost together, (b^power - 1) / (b - 1), divided by `unit`.

    Told by the last of them, which unlike b^power is no more than the budget, so that nothing overflows.
    """
    last = base ** (power - 1)
    return last / unit + (last - 1) / unit / (base - 1)


def _power_for(base: float, budget: float) -> int:
    """The smallest whole n >= 0 with b^n >= budget."""
    power = max(math.ceil(math.log(budget) / math.log(base)), 0)
    while not _reaches(base, power, budget):
        power += 1
    while power > 0 and _reaches(base, power - 1, budget):
        power -= 1
    return power


def _reaches(base: float, power: int, budget: float) -> bool:
    try:
        return base**power >= budget * (1 - _CLOSE)
    except OverflowError:  # more than any float, and so than the budget
        return True


def _number(value: float) -> float:
    """`value` as a float; nan for what is no finite number."""
    try:
        number = float(value) if isinstance(value, Real) else math.nan
    except OverflowError:  # of a whole number above all floats
        return math.nan
    return number if math.isfinite(number) else math.nan


def _checked_base(base: float) -> float:
    number = _number(base)
    if not number > 1:
        raise ValueError(
            f"base {base!r} must be a number above 1, for the costs to grow from net to net: 2 doubles them"
        )
    return number
