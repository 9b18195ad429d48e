"""Product Anytime: a product of stages under which classes once ruled out stay out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anytimenet.core.answers.probabilities import log_softmax


def product_ensemble(logits: np.ndarray, weights: Sequence[float] | None = None) -> np.ndarray:
    """Probabilities p_k(y) proportional to the product over i = 1..k of max(z_iy, 0)^w_i, z the logits.

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
    answers: np.ndarray = np.exp(log_softmax(np.where(ruled_out, logits, product)))
    return answers
