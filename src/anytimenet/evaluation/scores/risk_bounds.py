"""How surely a risk is below a limit, from a mean on so many examples: p-values that hold for any data."""

from __future__ import annotations

import math

import numpy as np


def binomial_p_value(errors: int, count: int, limit: float) -> float:
    """How probable so few errors in `count` examples are, where the risk is `limit` or more; exact.

    Args:
        errors: examples with the loss 1; the others have 0.
        count: of independent examples.
        limit: a risk, 0..1.

    Raises:
        ValueError: unless 0 <= errors <= count, and there is an example.

    >>> binomial_p_value(0, 299, 0.01) < 0.05 < binomial_p_value(0, 298, 0.01)
    True
    >>> binomial_p_value(5, 5, 0.4)
    1.0
    """
    if not 0 <= errors <= count or count < 1:
        raise ValueError(f"{errors} errors in {count} examples: 0 to as many as there are, of one at least")
    if limit <= 0 or errors == count:
        return 1.0
    if limit >= 1:
        return 0.0
    wrong = np.arange(errors + 1)
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])  # their logarithms
    ways = factorials[count] - factorials[wrong] - factorials[count - wrong]
    terms = ways + wrong * math.log(limit) + (count - wrong) * math.log1p(-limit)
    largest = terms.max()
    return min(1.0, float(math.exp(largest) * np.exp(terms - largest).sum()))


def hoeffding_bentkus_p_value(mean: float, count: int, limit: float) -> float:
    """The same of a mean of losses from 0 to 1 that are not only 0 and 1.

    The smaller of Hoeffding's bound with the relative entropy and Bentkus's: proposition 5 of "Learn then
    Test" (Angelopoulos et al. 2021).

    >>> hoeffding_bentkus_p_value(0.1, 200, 0.2) < 0.01 < hoeffding_bentkus_p_value(0.19, 200, 0.2)
    True

    Raises:
        ValueError: for a mean outside of 0..1, or no example.
    """
    if not 0 <= mean <= 1 or count < 1:
        raise ValueError(f"a mean loss of {mean:g} over {count} examples: a mean from 0 to 1 is needed")
    if limit <= 0 or mean >= limit:
        return 1.0
    if limit >= 1:
        return 0.0
    entropy = _entropy_term(mean, limit) + _entropy_term(1 - mean, 1 - limit)
    bentkus = math.e * binomial_p_value(math.ceil(count * mean - 1e-9), count, limit)
    return min(1.0, math.exp(-count * entropy), bentkus)


def _entropy_term(mean: float, limit: float) -> float:
    return mean * math.log(mean / limit) if mean > 0 else 0.0
