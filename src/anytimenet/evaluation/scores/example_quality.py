"""Is the net anytime for each single example, or only on average? Falls of the true class's probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anytimenet.core.records import Record

DROP_THRESHOLDS = (0.01, 0.05, 0.1, 0.2, 0.5)
"""The falls that Jazbec et al. 2023 report."""

_BINS = 20


@dataclass(frozen=True)
class DropShare:
    """`share` of the examples whose probability of the true class falls by more than `threshold`."""

    threshold: float
    share: float


@dataclass(frozen=True)
class ExampleQuality(Record):
    """Per-example anytime quality of a net's stages on one data split.

    The largest fall of an example is the largest difference between the highest probability that its true
    class had at some stage and the probability at a later one; 0 for an example that never gets worse.

    Attributes:
        drops: share of examples whose largest fall exceeds a threshold.
        overthinking: share of examples right at some stage and wrong at the last.
        drop_histogram: examples by their largest fall, 20 equal bins over 0..1, each without its lower end
            and with its upper; no fall at all counts into the first.
        probability: mean probability of the true class at each stage.
        envelope: the same if each example kept the best probability so far: what a net would reach that
            never got worse.
    """

    drops: tuple[DropShare, ...]
    overthinking: float
    drop_histogram: tuple[int, ...]
    probability: tuple[float, ...]
    envelope: tuple[float, ...]


def measure_example_quality(
    probability: np.ndarray, right: np.ndarray, thresholds: Sequence[float] = DROP_THRESHOLDS
) -> ExampleQuality:
    """Measures how often single examples get worse with more computation.

    Args:
        probability: of the true class, (stages, examples).
        right: whether the stage's answer is right, (stages, examples).
        thresholds: falls to count.

    Raises:
        ValueError: for shapes that differ, or probabilities or thresholds outside 0..1.

    >>> probability = np.array([[0.5, 0.25], [0.75, 0.5], [0.25, 1.0]])
    >>> quality = measure_example_quality(probability, probability > 0.4, thresholds=(0.05, 0.5))
    >>> quality.drops
    (DropShare(threshold=0.05, share=0.5), DropShare(threshold=0.5, share=0.0))
    >>> quality.overthinking, quality.envelope
    (0.5, (0.375, 0.625, 0.875))
    """
    probability, right = np.asarray(probability, dtype=np.float64), np.asarray(right, dtype=bool)
    if probability.ndim != 2 or probability.shape != right.shape or not probability.size:
        raise ValueError(
            f"probabilities and right-or-wrong of shape (stages, examples) are needed, not "
            f"{probability.shape} and {right.shape}"
        )
    if not ((probability >= 0) & (probability <= 1 + 1e-9)).all():
        raise ValueError("probabilities of the true class lie between 0 and 1")
    if not thresholds or not all(0 <= threshold < 1 for threshold in thresholds):
        raise ValueError(f"thresholds {tuple(thresholds)} of a fall are at least one, from 0 to below 1")
    drop = largest_drops(probability)
    bins = np.searchsorted(np.arange(1, _BINS) / _BINS, drop, side="left")
    return ExampleQuality(
        drops=tuple(DropShare(float(t), float((drop > t).mean())) for t in thresholds),
        overthinking=overthinking_rate(right),
        drop_histogram=tuple(np.bincount(bins, minlength=_BINS).tolist()),
        probability=tuple(probability.mean(axis=1).tolist()),
        envelope=tuple(monotone_envelope(probability).mean(axis=1).tolist()),
    )


def monotone_envelope(probability: np.ndarray) -> np.ndarray:
    """The best value of each example up to each stage, (stages, examples).

    >>> monotone_envelope(np.array([[0.5], [0.25], [0.75]])).tolist()
    [[0.5], [0.5], [0.75]]
    """
    return np.maximum.accumulate(probability, axis=0)


def largest_drops(probability: np.ndarray) -> np.ndarray:
    """How far each example falls below its own best so far, at most: (examples,), 0 or more.

    >>> largest_drops(np.array([[0.5, 0.5], [0.25, 0.5], [0.75, 1.0]])).tolist()
    [0.25, 0.0]
    """
    drops: np.ndarray = (monotone_envelope(probability) - probability).max(axis=0)
    return drops


def overthinking_rate(right: np.ndarray) -> float:
    """Share of examples right at some stage and wrong at the last (Kaya et al. 2019).

    Never more than `example_violations`, which also counts examples that the last stage gets right again.

    >>> overthinking_rate(np.array([[True, True, False], [False, True, False], [True, False, False]]))
    0.3333333333333333
    """
    right = np.asarray(right, dtype=bool)
    return float((right.any(axis=0) & ~right[-1]).mean())


def example_violations(right: np.ndarray) -> float:
    """Share of examples right at some stage and wrong at a later one.

    Args:
        right: (stages, examples), true where the stage's answer is right.

    >>> example_violations(np.array([[True, True, False, False], [True, False, True, False]]))
    0.25
    """
    right = np.asarray(right, dtype=bool)
    earlier = np.logical_or.accumulate(right, axis=0)[:-1]
    return float((earlier & ~right[1:]).any(axis=0).mean())
