"""Scores of one stage's logits: top-k, intervals, calibration, likelihood, per class.

Everything is float64 numpy, whatever the logits' type. Logits have shape (N, classes), labels (N,).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np

from anytimenet.core.answers.probabilities import log_softmax
from anytimenet.core.errors import DataError


@dataclass(frozen=True)
class ClassScore:
    """How one class fares.

    Attributes:
        class_id: number of the class.
        name: its name, empty if none was given.
        precision: share of right answers among the answers with this class; None if it never was answered.
        recall: share of this class's examples that were answered right; None if there are none.
        count: examples of this class.
    """

    class_id: int
    name: str
    precision: float | None
    recall: float | None
    count: int


def label_ranks(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many classes come before the right one, (N,): 0 where the answer is right.

    Among equal logits the class with the lower number comes first, as in `np.argmax`, so rank 0 and an
    argmax equal to the label are the same thing, ties included.

    Raises:
        DataError: for logits or labels of a wrong shape, logits that are not finite, or labels outside the
            classes.

    >>> label_ranks(np.array([[2.0, 1.0, 3.0], [5.0, 5.0, 5.0]]), np.array([1, 1])).tolist()
    [2, 1]
    """
    return ranks_of(*check_logits(logits, labels))


def ranks_of(scores: np.ndarray, labels: np.ndarray, among_equals: np.ndarray | None = None) -> np.ndarray:
    """`label_ranks` of checked scores (..., N, classes) and labels (N,): (..., N).

    `among_equals`: scores of the same shape that order classes whose `scores` are equal.
    """
    rows = np.arange(len(labels))
    own = scores[..., rows, labels][..., None]
    before, equal = scores > own, scores == own
    if among_equals is not None:
        own = among_equals[..., rows, labels][..., None]
        before |= equal & (among_equals > own)
        equal &= among_equals == own
    ranks: np.ndarray = (before | (equal & (np.arange(scores.shape[-1]) < labels[:, None]))).sum(axis=-1)
    return ranks


def top_k_accuracy(logits: np.ndarray, labels: np.ndarray, k: int = 1) -> float:
    """Share of examples whose label is among the k highest logits; ties as in `label_ranks`.

    With k classes or fewer it is 1.

    Raises:
        ValueError: if k is less than 1.
        DataError: as `label_ranks`.

    >>> top_k_accuracy(np.array([[2.0, 1.0, 3.0], [5.0, 4.0, 0.0]]), np.array([0, 0]), k=2)
    1.0
    """
    if k < 1:
        raise ValueError(f"top-{k} accuracy does not exist: k is 1 or more")
    return float((label_ranks(logits, labels) < k).mean())


def wilson_interval(right: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a share of `right` successes among `count` (Wilson 1927).

    It stays inside 0..1 and has a width also where every answer is right, unlike mean plus or minus 1.96
    standard errors.

    Raises:
        ValueError: unless 0 <= right <= count, count >= 1 and 0 < confidence < 1.

    >>> low, high = wilson_interval(50, 50)
    >>> round(low, 4), high
    (0.9287, 1.0)
    """
    if count < 1 or not 0 <= right <= count:
        raise ValueError(
            f"{right} right answers among {count}: 0 <= right <= count and count >= 1 are needed"
        )
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is outside (0, 1); 0.95 is usual")
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    share = right / count
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = sqrt(z2 * (share * (1 - share) / count + z2 / (4 * count**2))) / (1 + z2 / count)
    # The two ends are exact in theory; rounding must not move them past the share itself.
    low = 0.0 if right == 0 else centre - half
    high = 1.0 if right == count else centre + half
    return low, high


def expected_calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over equal-width bins, weighted by their examples.

    Guo et al., "On Calibration of Modern Neural Networks" (2017), equation 3: bin m holds confidences in
    ((m-1)/bins, m/bins].

    Args:
        confidence: the largest probability of each example, (N,), in 0..1.
        right: whether that answer was right, (N,).
        bins: number of bins.

    Raises:
        ValueError: for no examples, shapes that differ, confidences outside 0..1, or no bins.

    >>> expected_calibration_error(np.array([0.75, 0.75]), np.array([True, False]))
    0.25
    """
    confidence = np.asarray(confidence, dtype=np.float64)
    right = np.asarray(right, dtype=np.float64)
    if confidence.ndim != 1 or confidence.shape != right.shape or not len(confidence):
        raise ValueError(
            f"one confidence and one right-or-wrong an example are needed, not shapes "
            f"{confidence.shape} and {right.shape}"
        )
    if bins < 1 or not (confidence >= 0).all() or not (confidence <= 1 + 1e-9).all():
        raise ValueError("confidences in 0..1 and at least one bin are needed")
    edges = np.linspace(0.0, 1.0, bins + 1)
    index = np.clip(np.digitize(confidence, edges, right=True) - 1, 0, bins - 1)
    gaps = np.bincount(index, weights=confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


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


def negative_log_likelihood(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean cross-entropy in nats.

    Raises:
        DataError: as `label_ranks`.

    >>> round(negative_log_likelihood(np.zeros((2, 10)), np.array([3, 7])), 6)  # log(10)
    2.302585
    """
    logits, labels = check_logits(logits, labels)
    return float(-np.take_along_axis(log_softmax(logits), labels[:, None], axis=1).mean())


def class_scores(
    predicted: np.ndarray, labels: np.ndarray, num_classes: int, names: Sequence[str] | None = None
) -> tuple[ClassScore, ...]:
    """Precision, recall and count of every class.

    Args:
        predicted: answered classes, (N,).
        labels: right classes, (N,).
        num_classes: how many classes there are, also those that do not occur.
        names: their names.

    Raises:
        ValueError: if the names are not one a class.

    >>> [(s.precision, s.recall, s.count) for s in class_scores(np.array([0, 0]), np.array([0, 1]), 3)]
    [(0.5, 1.0, 1), (None, 0.0, 1), (None, None, 0)]
    """
    if names is not None and len(names) != num_classes:
        raise ValueError(f"{len(names)} names for {num_classes} classes: one name a class is needed")
    answered = np.bincount(predicted, minlength=num_classes)
    there = np.bincount(labels, minlength=num_classes)
    right = np.bincount(labels[predicted == labels], minlength=num_classes)
    return tuple(
        ClassScore(
            class_id=c,
            name=names[c] if names is not None else "",
            precision=float(right[c] / answered[c]) if answered[c] else None,
            recall=float(right[c] / there[c]) if there[c] else None,
            count=int(there[c]),
        )
        for c in range(num_classes)
    )


def check_logits(logits: np.ndarray, labels: np.ndarray, *, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays (float64 and integer), after checks; `first` is the number of the first example.

    Raises:
        DataError: see `label_ranks`.
    """
    logits = np.asarray(logits, dtype=np.float64)
    labels = np.asarray(labels)
    if logits.ndim != 2 or not logits.size:
        raise DataError(f"logits have shape (examples, classes), both at least 1, not {logits.shape}")
    if labels.shape != logits.shape[:1] or labels.dtype.kind not in "iu":
        raise DataError(
            f"labels are one whole number an example, ({len(logits)},), not {labels.dtype} {labels.shape}"
        )
    if not np.isfinite(logits).all():
        row = first + int(np.flatnonzero(~np.isfinite(logits).all(axis=1))[0])
        raise DataError(f"the logits of example {row} are not finite: the net or its input is broken")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise DataError(
            f"labels from {labels.min()} to {labels.max()} do not fit {logits.shape[1]} classes "
            f"(0 to {logits.shape[1] - 1}): the data have other classes than the net"
        )
    return logits, labels.astype(np.int64)
