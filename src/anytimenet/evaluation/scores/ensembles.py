"""Several stages' opinions as one: running ensembles of stages 1..k, after the training.

Everything takes the logits of all stages and gives the probabilities of all stages, so that the answer after
stage k uses what stages 1..k said. The cost of that answer is the cumulative one: every head has run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

from anytimenet.core.answers.probabilities import log_softmax
from anytimenet.core.errors import suggest
from anytimenet.evaluation.scores.product_anytime import product_ensemble

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
