"""Several stages' opinions as one: running ensembles of stages 1..k, after the training.

Everything takes the logits of all stages and gives the probabilities of all stages, so that the answer after
stage k uses what stages 1..k said. The cost of that answer is the cumulative one: every head has run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np

from anytimenet.core.answers.probabilities import log_softmax
from anytimenet.core.errors import suggest

Ensemble = Literal["mean", "geometric", "product"]

ENSEMBLES: tuple[str, ...] = get_args(Ensemble)
"""Names of `mean_ensemble`, `geometric_ensemble` and `product_ensemble`."""


def mean_ensemble(logits: np.ndarray) -> np.ndarray:
    """The mean of the softmax of stages 1..k, as the Lua code of MSDNet reports it (Huang et al. 2018).

    Args:
        logits: (stages, ..., classes).

    Returns:
        Probabilities of the same shape, float64.

    >>> logits = np.log([[[0.5, 0.5]], [[1.0, 3.0]]])
    >>> mean_ensemble(logits).round(3).tolist()
    [[[0.5, 0.5]], [[0.375, 0.625]]]
    """
    mean: np.ndarray = np.cumsum(np.exp(log_softmax(logits)), axis=0)
    mean /= _counts(mean)
    return mean


def geometric_ensemble(logits: np.ndarray) -> np.ndarray:
    """The normalised geometric mean of the softmax of stages 1..k; shapes as in `mean_ensemble`.

    >>> logits = np.log([[[0.5, 0.5]], [[1.0, 9.0]]])
    >>> geometric_ensemble(logits).round(3).tolist()
    [[[0.5, 0.5]], [[0.25, 0.75]]]
    """
    total = np.cumsum(log_softmax(logits), axis=0)
    product: np.ndarray = np.exp(log_softmax(total / _counts(total)))
    return product


def product_ensemble(logits: np.ndarray, weights: Sequence[float] | None = None) -> np.ndarray:
    """Product Anytime: p_k(y) proportional to the product over i = 1..k of max(z_iy, 0)^w_i, z the logits.

    Jazbec, Allingham, Zhang and Nalisnick, "Towards Anytime Classification in Early-Exit Architectures by
    Enforcing Conditional Monotonicity" (2023). No training is needed. Where no class has a positive logit in
    all of the stages 1..k, the softmax of stage k stands in.

    What is certain, with S_k the classes whose logits are positive in every stage up to k that has weight:

    - S_k only shrinks, and once it is empty it stays so;
    - while S_k is not empty, only its classes have a probability above 0: a class ruled out never returns;
    - a class that alone is left has probability 1, and keeps it until S_k is empty.

    Not certain: that the probability of each remaining class grows. In the paper that holds exactly for a
    step function in place of max(z, 0), and mostly for this form, which is the one that keeps the accuracy.

    Args:
        logits: (stages, ..., classes).
        weights: w_i, one a stage, 0 or more; all 1 by default.

    Returns:
        Probabilities of the same shape, float64. Some are 0.

    Raises:
        ValueError: for weights that are negative, not finite or not one a stage.

    >>> logits = np.array([[[1.0, 3.0, -1.0]], [[3.0, -2.0, 5.0]], [[-1.0, 0.0, 0.0]]])
    >>> product_ensemble(logits).round(3).tolist()
    [[[0.25, 0.75, 0.0]], [[1.0, 0.0, 0.0]], [[0.155, 0.422, 0.422]]]
    """
    logits = np.asarray(logits, dtype=np.float64)
    power = np.ones(len(logits)) if weights is None else np.asarray(weights, dtype=np.float64)
    if power.shape != (len(logits),) or not np.isfinite(power).all() or (power < 0).any():
        raise ValueError(f"weights {weights} are one number a stage, {len(logits)} of them, 0 or more")
    with np.errstate(divide="ignore"):
        factors = np.log(np.maximum(logits, 0.0))
    weighted = np.zeros_like(factors)
    for into, factor, weight in zip(weighted, factors, power, strict=True):
        # 0 to the power of 0 is 1: a stage without weight rules nothing out.
        if weight > 0:
            into[...] = weight * factor
    product = np.cumsum(weighted, axis=0)
    ruled_out = ~np.isfinite(product).any(axis=-1, keepdims=True)
    probabilities: np.ndarray = np.exp(log_softmax(np.where(ruled_out, logits, product)))
    return probabilities


def ensemble_rule(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """The function behind a name of `ENSEMBLES`.

    Raises:
        ValueError: for another name.
    """
    if name not in _RULES:
        raise ValueError(f"no ensemble is named {name!r}: {suggest(name, _RULES)}")
    return _RULES[name]


def _counts(stages: np.ndarray) -> np.ndarray:
    return np.arange(1, len(stages) + 1).reshape(-1, *[1] * (stages.ndim - 1))


_RULES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean": mean_ensemble,
    "geometric": geometric_ensemble,
    "product": product_ensemble,
}
