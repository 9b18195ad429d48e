"""What every stage said of every example, boiled down from logits to a few numbers an example."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from anytimenet.core.answers.confidence import Confidence, check_kind, confidence_of, rows_at_once
from anytimenet.core.answers.probabilities import log_softmax
from anytimenet.core.errors import DataError
from anytimenet.evaluation.scores.metrics import check_logits, ranks_of

Combine = Callable[[np.ndarray], np.ndarray]
"""From the logits (stages, examples, classes) to probabilities of that shape; see `ensembles`."""


@dataclass(frozen=True)
class Outcomes:
    """Arrays (stages, examples): all that evaluation asks of the stages of a net on one label level.

    Attributes:
        predicted: the answer.
        rank: how many classes come before the right one; see `metrics.label_ranks`.
        confidence: how sure the stage is, in the kind that was asked for.
        nll: minus the logarithm of the true class's probability, infinite where that is 0.
    """

    predicted: np.ndarray
    rank: np.ndarray
    confidence: np.ndarray
    nll: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """Whether the answer is right."""
        right: np.ndarray = self.rank == 0
        return right

    @property
    def label_probability(self) -> np.ndarray:
        """Probability of the true class."""
        probability: np.ndarray = np.exp(-self.nll)
        return probability

    @classmethod
    def of(
        cls,
        logits: Sequence[np.ndarray],
        labels: np.ndarray,
        *,
        combine: Combine | None = None,
        confidence: Confidence = "max_probability",
    ) -> Outcomes:
        """Works through the examples in blocks, so that a thousand classes need little memory.

        Args:
            logits: one array (examples, classes) a stage, or one array (stages, examples, classes).
            labels: (examples,), whole numbers from 0.
            combine: what each stage answers with instead of its own softmax; see `ensembles`.
            confidence: kind of confidence.

        Raises:
            DataError: for logits or labels that are malformed or do not fit each other.
            ValueError: for no such confidence.

        >>> outcomes = Outcomes.of([np.array([[2.0, 1.0]]), np.array([[1.0, 2.0]])], np.array([1]))
        >>> outcomes.right.tolist(), outcomes.label_probability.round(2).tolist()
        ([[False], [True]], [[0.27], [0.73]])
        """
        check_kind(confidence)
        stages, labels = [np.asarray(stage) for stage in logits], np.asarray(labels)
        _check_shapes(stages, labels)
        found = cls(
            predicted=np.empty((len(stages), len(labels)), dtype=np.int64),
            rank=np.empty((len(stages), len(labels)), dtype=np.int64),
            confidence=np.empty((len(stages), len(labels))),
            nll=np.empty((len(stages), len(labels))),
        )
        rows = rows_at_once(len(stages) * stages[0].shape[1])
        for start in range(0, len(labels), rows):
            block = slice(start, start + rows)
            checked = [check_logits(stage[block], labels[block], first=start) for stage in stages]
            found._fill(block, np.stack([z for z, _ in checked]), checked[0][1], combine, confidence)
        return found

    def _fill(
        self,
        block: slice,
        logits: np.ndarray,
        labels: np.ndarray,
        combine: Combine | None,
        confidence: Confidence,
    ) -> None:
        if combine is None:
            scores, log_probabilities = logits, log_softmax(logits)
        else:
            scores = combine(logits)
            with np.errstate(divide="ignore"):
                log_probabilities = np.log(scores)
        self.predicted[:, block] = scores.argmax(axis=-1)
        # Combinations rule classes out: all of those have 0, and the stage's own logits order them.
        self.rank[:, block] = ranks_of(scores, labels, None if combine is None else logits)
        self.confidence[:, block] = confidence_of(log_probabilities, confidence)
        self.nll[:, block] = -log_probabilities[:, np.arange(len(labels)), labels]


def _check_shapes(stages: list[np.ndarray], labels: np.ndarray) -> None:
    if not stages or not len(labels):
        raise DataError("the logits of at least one stage and one example are needed")
    for stage in stages:
        if stage.ndim != 2 or len(stage) != len(labels):
            raise DataError(
                f"logits of shape {stage.shape} for {len(labels)} labels: (examples, classes) is needed"
            )
    shapes = sorted({stage.shape for stage in stages})
    if len(shapes) > 1:
        raise DataError(f"stages give logits of different shapes: {shapes}")
