"""Counts of what was answered where each class was right, and the scores that follow from them."""

from __future__ import annotations

import numpy as np

from anytimenet.core.errors import DataError


def check_confusion(confusion: np.ndarray) -> np.ndarray:
    """The matrix as int64 `(classes, classes)`. Raises DataError for another shape, or counts below 0."""
    counts = np.asarray(confusion)
    square = counts.ndim == 2 and counts.shape[0] == counts.shape[1] and counts.shape[0] > 0
    if not square or not np.issubdtype(counts.dtype, np.integer) or counts.min() < 0:
        raise DataError(
            f"a confusion matrix holds counts (classes, classes), not {counts.dtype} {counts.shape}"
        )
    return counts.astype(np.int64)


def class_ious(confusion: np.ndarray) -> list[float | None]:
    """Intersection over union of each class, from counts with the truth in rows and the answers in columns.

    None for a class that is absent: it neither is the truth anywhere nor was answered.

    >>> class_ious(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
    [0.75, 0.8, None]
    """
    counts = check_confusion(confusion)
    hits = np.diagonal(counts)
    unions = counts.sum(axis=0) + counts.sum(axis=1) - hits
    return [int(hit) / int(union) if union else None for hit, union in zip(hits, unions, strict=True)]


def mean_iou(confusion: np.ndarray) -> float:
    """Mean of `class_ious` over the classes that are not absent; 0 where nothing was counted.

    >>> mean_iou(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
    0.775
    """
    present = [iou for iou in class_ious(confusion) if iou is not None]
    return sum(present) / len(present) if present else 0.0


def pixel_accuracy(confusion: np.ndarray) -> float:
    """Share of what was counted that was answered right; 0 where nothing was counted.

    >>> pixel_accuracy(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
    0.875
    """
    counts = check_confusion(confusion)
    total = int(counts.sum())
    return int(np.trace(counts)) / total if total else 0.0
