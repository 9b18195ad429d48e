"""Temperature scaling: one number a stage that makes its probabilities mean what they say."""

from __future__ import annotations

import numpy as np

from anytimenet.core.answers.probabilities import softmax
from anytimenet.core.errors import DataError

_LOWEST, _HIGHEST = 0.05, 20.0
_HALVINGS = 24
"""To a millionth of the temperature."""


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature under which the labels are likeliest: the logits are to be divided by it.

    One stage of Guo et al. 2017, "On calibration of modern neural networks". The likelihood has one maximum
    in 1 / T, found by halving; where the labels of all examples are the answers, it would lie at 0, and of
    answers that are no better than chance at infinity: the result is from 0.05 to 20.

    Args:
        logits: `(examples, classes)`.
        labels: `(examples,)`, whole numbers from 0.

    Raises:
        DataError: for shapes that do not fit, or logits that are not finite.

    >>> logits = np.log([[0.9, 0.1]] * 4)  # as sure as 0.9, and right three times of four
    >>> temperature = fit_temperature(logits, np.array([0, 0, 0, 1]))
    >>> softmax(logits[0] / temperature).round(3).tolist()
    [0.75, 0.25]
    """
    logits, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not logits.size:
        raise DataError(f"logits {logits.shape} and labels {labels.shape}: (examples, classes) and one label")
    if not np.isfinite(logits).all():
        raise DataError("logits that are not finite have no temperature: the net or its input is broken")
    told = logits[np.arange(len(labels)), labels].mean()
    low, high = np.log(1 / _HIGHEST), np.log(1 / _LOWEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        # The likelihood falls in 1 / T where the probabilities expect a larger logit than the labels have.
        expected = (softmax(logits * np.exp(middle)) * logits).sum(axis=1).mean()
        low, high = (low, middle) if expected > told else (middle, high)
    return float(np.exp(-(low + high) / 2))
