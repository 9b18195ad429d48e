"""Does low confidence tell that a stage is wrong? AUROC, the question that early exit really asks."""

from __future__ import annotations

import numpy as np


def failure_auroc(confidence: np.ndarray, right: np.ndarray) -> float | None:
    """AUROC of "this answer is wrong" detected by low confidence: of two examples, one answered right and
    one wrong, the probability that the right one is the surer; equal confidences count a half.

    0.5 says nothing, 1 separates all. It is exact (Mann and Whitney's rank statistic), ties included. Two
    stages of equal calibration error can differ in it, and thresholds live on it, so it stands beside ECE
    (Kubaty et al. 2025, arXiv 2508.21495).

    Args:
        confidence: (examples,), higher = surer.
        right: (examples,), whether the answer was right.

    Returns:
        The AUROC; None where all answers are right or all are wrong.

    Raises:
        ValueError: for shapes that differ or confidences that are not numbers.

    >>> failure_auroc(np.array([0.9, 0.8, 0.8, 0.3]), np.array([True, True, False, False]))
    0.875
    """
    confidence, right = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=bool)
    if confidence.ndim != 1 or confidence.shape != right.shape or np.isnan(confidence).any():
        raise ValueError(
            f"one confidence and one right-or-wrong an example are needed, not shapes {confidence.shape} "
            f"and {right.shape}, and no NaN"
        )
    sure = int(right.sum())
    unsure = len(right) - sure
    if not sure or not unsure:
        return None
    _, place, count = np.unique(confidence, return_inverse=True, return_counts=True)
    # Twice the mean rank of tied values, in whole numbers, so that nothing is rounded before the division.
    twice_rank = 2 * np.cumsum(count) - count + 1
    twice_wins = int(twice_rank[place][right].sum()) - sure * (sure + 1)
    return twice_wins / (2 * sure * unsure)
