"""The accounting of a run along a path: what was spent, which stage answers, and how good the answer is."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from numbers import Real
from typing import TYPE_CHECKING

from anytimenet.core.answers.standing import standing_stage

if TYPE_CHECKING:
    from anytimenet.evaluation.curves.curve import Curve


@dataclass(frozen=True)
class PathPoint:
    """A run just after one of its segments.

    Attributes:
        stage: the stage that the segment reached.
        spent: cost of everything that was run since the start.
        answer: the stage that answers if the run ends now, or before the next segment is finished.
        accuracy: what the answer is worth on the data that the run is evaluated on.
    """

    stage: int
    spent: float
    answer: int
    accuracy: float


@dataclass(frozen=True)
class PathCurve:
    """A whole run: a step function of the budget at which it is cut.

    Work in a segment that was cut is spent and lost. Before the first segment is finished nothing answers.

    Attributes:
        points: one a segment, in the order of the run.
        unit: what is spent: "macs", "full", "ms", ...
    """

    points: tuple[PathPoint, ...]
    unit: str = "macs"

    def answer_at(self, budget: float) -> int | None:
        """The stage that answers if the run is cut at `budget`; None if it is cut before the first one.

        Raises:
            ValueError: if the budget is not a number.
        """
        point = self._last_within(budget)
        return None if point is None else point.answer

    def accuracy_at(self, budget: float) -> float:
        """What that answer is worth; 0 where nothing answers, as in `Curve`.

        Raises:
            ValueError: if the budget is not a number.
        """
        point = self._last_within(budget)
        return 0.0 if point is None else point.accuracy

    def curve(self, label: str = "") -> Curve:
        """The same as a `Curve`, to draw, to compare and to integrate."""
        from anytimenet.evaluation.curves.curve import Curve

        spent = tuple(point.spent for point in self.points)
        return Curve(spent, tuple(point.accuracy for point in self.points), label, self.unit)

    def steps(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Corners `(costs, accuracies)` of the step function, for any program that joins points by lines.

        >>> path_curve([(0, 1), (1, 2)], (10, 20), (0.5, 0.75)).steps()
        ((10, 30, 30), (0.5, 0.5, 0.75))
        """
        costs, accuracies = [], []
        for before, point in zip((None, *self.points), self.points, strict=False):
            if before is not None:
                costs.append(point.spent)
                accuracies.append(before.accuracy)
            costs.append(point.spent)
            accuracies.append(point.accuracy)
        return tuple(costs), tuple(accuracies)

    def _last_within(self, budget: float) -> PathPoint | None:
        if not isinstance(budget, Real) or budget != budget:
            raise ValueError(f"budget {budget!r}: a number is needed, of the same unit as the costs")
        finished = bisect_right([point.spent for point in self.points], budget)
        return self.points[finished - 1] if finished else None


def path_curve(
    path: Sequence[tuple[int, int]],
    segment_costs: Sequence[float],
    accuracies: Sequence[float],
    validated: Sequence[float | None] | None = None,
    *,
    unit: str = "macs",
) -> PathCurve:
    """The accounting of a run of any net along `path`.

    Which of the finished stages answers is `core.answers.standing.standing_stage`, as of nets that run one
    after the other in Hu et al., "Learning Anytime Predictions in Neural Networks via Adaptive Loss
    Balancing" (EANN).

    Args:
        path: segments (start, stop), the first from 0, each from where the one before stops.
        segment_costs: of each segment, positive; `costs.segment_macs` counts them.
        accuracies: of stages 1..K on the data that the run is evaluated on, from 0 to 1.
        validated: of stages 1..K on validation data, None for a stage that was not validated; None for no
            stage validated.
        unit: what the costs count.

    Raises:
        ValueError: if the segments are no path, a stage lacks its accuracies, one of them is no number from
            0 to 1, or a cost is not positive.

    >>> run = path_curve([(0, 1), (1, 2), (2, 3)], (10, 20, 20), (0.6, 0.5, 0.8), (0.62, 0.55, 0.79))
    >>> run.answer_at(45), run.accuracy_at(45), run.answer_at(50), run.answer_at(9)
    (1, 0.6, 3, None)
    """
    _check_shares("accuracies", accuracies)
    checked = _validated(len(accuracies), validated)
    _check_path(path, segment_costs, len(accuracies))
    points: list[PathPoint] = []
    finished: list[int] = []
    for (_, stage), spent in zip(path, accumulate(segment_costs), strict=True):
        finished.append(stage)
        answer = standing_stage(finished, checked) or stage
        points.append(PathPoint(stage, spent, answer, accuracies[answer - 1]))
    return PathCurve(tuple(points), unit)


def _validated(stages: int, validated: Sequence[float | None] | None) -> Sequence[float | None]:
    if validated is None:
        return [None] * stages
    if len(validated) != stages:
        raise ValueError(f"{len(validated)} validated accuracies for {stages} stages: one each is needed")
    _check_shares("validated accuracies", [value for value in validated if value is not None])
    return validated


def _check_shares(what: str, values: Sequence[float]) -> None:
    for value in values:
        if not (isinstance(value, Real) and 0 <= value <= 1):
            raise ValueError(f"the {what} hold {value!r}: numbers from 0 to 1 are needed, not percent")


def _check_path(path: Sequence[tuple[int, int]], costs: Sequence[float], stages: int) -> None:
    if not path or len(path) != len(costs):
        raise ValueError(
            f"{len(path)} segments and {len(costs)} costs: one cost a segment, at least one, is needed"
        )
    reached = 0
    for start, stop in path:
        if start != reached or not start < stop <= stages:
            raise ValueError(
                f"segment ({start}, {stop}) cannot follow stage {reached}: start it there and stop at a "
                f"stage from {reached + 1} to {stages}"
            )
        reached = stop
    if not all(isinstance(cost, Real) and 0 < cost < float("inf") for cost in costs):
        raise ValueError(f"the segments cost {tuple(costs)}: positive numbers are needed")
