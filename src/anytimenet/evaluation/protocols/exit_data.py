"""What an exit policy decides on, of many examples at once, and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np

from anytimenet.core import checks
from anytimenet.core.answers.confidence import CONFIDENCES, Confidence, confidence_in, rows_at_once
from anytimenet.core.answers.exit_thresholds import leaving_stages
from anytimenet.core.errors import DataError
from anytimenet.core.records import JsonForm, Record
from anytimenet.evaluation.protocols.outputs import Outputs

ExitRule = Literal["max_probability", "margin", "entropy", "patience", "per_class"]
"""What is compared with thresholds: a confidence; how many stages in a row gave the same answer; or the
maximum probability, with a threshold for each class."""

EXIT_RULES: tuple[str, ...] = get_args(ExitRule)


@dataclass(frozen=True, eq=False)
class ExitData:
    """Scores and answers of every stage.

    Attributes:
        scores: `(stages, examples)`, float64, none below -2; an example leaves where its score reaches a
            threshold.
        answers: the class that each stage names.
        right: whether that is the label.

    >>> data = ExitData(np.array([[0.9, 0.4], [0.8, 0.8]]), np.array([[3, 1], [3, 2]]), np.full((2, 2), True))
    >>> data.stages(np.array([0.5, -np.inf])).tolist(), data.agrees.tolist()
    ([1, 2], [[True, False], [True, True]])
    """

    scores: np.ndarray
    answers: np.ndarray
    right: np.ndarray

    @classmethod
    def of(cls, outputs: Outputs, rule: ExitRule, temperatures: Sequence[float] = ()) -> ExitData:
        """Of the fine label level.

        Args:
            outputs: of all stages on some images.
            rule: one of `EXIT_RULES`.
            temperatures: one a stage, or none.

        Raises:
            DataError: for logits that are not finite.
        """
        stages = outputs.fine()
        for stage in stages:
            if not np.isfinite(stage).all():
                raise DataError("a stage answers with numbers that are not finite: no exits can be solved")
        answers = np.stack([stage.argmax(axis=1) for stage in stages])
        scores = streaks(answers) if rule == "patience" else _scores(stages, rule, temperatures)
        return cls(scores, answers, answers == outputs.labels[:, 0])

    @property
    def num_stages(self) -> int:
        """K."""
        return len(self.scores)

    @property
    def count(self) -> int:
        """How many examples there are."""
        return len(self.scores[0])

    @property
    def agrees(self) -> np.ndarray:
        """Whether each stage answers as the last one does, `(stages, examples)`."""
        found: np.ndarray = self.answers == self.answers[-1]
        return found

    def rows(self, index: np.ndarray) -> ExitData:
        """Of these examples."""
        return ExitData(self.scores[:, index], self.answers[:, index], self.right[:, index])

    def stages(self, thresholds: np.ndarray) -> np.ndarray:
        """The stage, from 1, at which each example leaves.

        Args:
            thresholds: `(stages,)`, or `(stages, classes)` for one a class; the last stage's are -inf.
        """
        if thresholds.ndim == 1:
            return leaving_stages(self.scores, thresholds)
        own = np.take_along_axis(thresholds, self.answers, axis=1)
        found: np.ndarray = (self.scores >= own).argmax(axis=0) + 1
        return found

    def at(self, values: np.ndarray, stages: np.ndarray) -> np.ndarray:
        """`values` (stages, examples) of the stage at which each example left."""
        found: np.ndarray = values[stages - 1, np.arange(self.count)]
        return found


@dataclass(frozen=True)
class ExitSummary(Record):
    """What came of exits on some examples.

    Attributes:
        count: examples.
        shares: of them that left at each stage.
        mean_cost: of an example.
        accuracy: share that is right.
        disagreement: share whose answer is not the last stage's.
        full_accuracy: share that the last stage is right on.
    """

    count: int
    shares: tuple[float, ...]
    mean_cost: float
    accuracy: float
    disagreement: float
    full_accuracy: float
    json_form = JsonForm(what="a summary of exits")

    @classmethod
    def of(cls, data: ExitData, stages: np.ndarray, costs: np.ndarray) -> ExitSummary:
        """Of examples that left at these stages.

        >>> right = np.array([[True, False], [True, True]])
        >>> data = ExitData(right * 1.0, right * 1, right)
        >>> found = ExitSummary.of(data, np.array([1, 2]), np.array([10.0, 20.0]))
        >>> found.mean_cost, found.accuracy, found.disagreement
        (15.0, 1.0, 0.0)
        """
        shares = np.bincount(stages - 1, minlength=data.num_stages) / len(stages)
        return cls(
            count=len(stages),
            shares=tuple(shares.tolist()),
            mean_cost=float(costs[stages - 1].mean()),
            accuracy=float(data.at(data.right, stages).mean()),
            disagreement=float(1 - data.at(data.agrees, stages).mean()),
            full_accuracy=float(data.right[-1].mean()),
        )


def streaks(answers: np.ndarray) -> np.ndarray:
    """How many stages in a row, each included, gave the same answer: `(stages, examples)`, float64.

    >>> streaks(np.array([[1, 1], [1, 2], [1, 2]])).tolist()
    [[1.0, 1.0], [2.0, 1.0], [3.0, 2.0]]
    """
    found = np.ones(answers.shape)
    for stage in range(1, len(answers)):
        found[stage] += found[stage - 1] * (answers[stage] == answers[stage - 1])
    return found


def check_rule(rule: object) -> ExitRule:
    """Raises TypeError or ValueError unless `rule` is one of `EXIT_RULES`."""
    return cast(ExitRule, checks.choice(rule, "policy", EXIT_RULES))


def confidence_of_rule(rule: ExitRule) -> Confidence:
    """The confidence that a rule compares."""
    return cast(Confidence, rule) if rule in CONFIDENCES else "max_probability"


def _scores(stages: Sequence[np.ndarray], rule: ExitRule, temperatures: Sequence[float]) -> np.ndarray:
    kind, (examples, classes) = confidence_of_rule(rule), stages[0].shape
    found, rows = np.empty((len(stages), examples)), rows_at_once(classes)
    for k, (stage, into) in enumerate(zip(stages, found, strict=True)):
        temperature = temperatures[k] if temperatures else 1.0
        for start in range(0, examples, rows):
            into[start : start + rows] = confidence_in(stage[start : start + rows], kind, temperature)
    return found
