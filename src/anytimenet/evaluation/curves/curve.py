"""The anytime curve: accuracy against budget, and what can be read off it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from anytimenet.core.answers.standing import standing_stage
from anytimenet.core.checks import flag, fractions, instance, number, numbers, texts
from anytimenet.core.html_table import html_table
from anytimenet.core.scores import CLASSIFICATION, ScoreSpec


@dataclass(frozen=True)
class Curve:
    """Accuracy against budget, a step function: with budget b the last stage that b pays for answers.

    Below the first cost there is no prediction; the accuracy of nothing counts as 0.

    A curve read so selects nothing, and is the fair reading of accuracies measured on test data. Two other
    readings are curves of their own: `envelope` (the best stage so far on the very data of the curve) and
    `chosen_by` (the best validated stage so far, which is the answer a session gives).

    Args:
        costs: cost of each stage, positive and increasing.
        accuracies: accuracy of each stage as a fraction.
        label: name of the curve in tables and figures.
        unit: what the costs count: "macs", "full", "msd", "ms", ...
        score: what the accuracies are; None for accuracies. Of one that is no share, such as PSNR in dB, they
            are any finite numbers.

    Raises:
        ValueError: if the two differ in length, are empty, not finite, out of range or not increasing.

    >>> curve = Curve(costs=(10, 20, 40), accuracies=(0.5, 0.8, 0.9))
    >>> curve.accuracy_at(25)
    0.8
    >>> curve.area(10, 50)
    0.75
    >>> curve.budget_for(0.85)
    40.0
    """

    costs: tuple[float, ...]
    accuracies: tuple[float, ...]
    label: str = ""
    unit: str = "macs"
    score: ScoreSpec | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "costs", tuple(map(float, numbers(self.costs, "costs"))))
        accuracies = _values(self.accuracies, "accuracies", self.score)
        object.__setattr__(self, "accuracies", tuple(map(float, accuracies)))
        texts((self.label,), "label")
        texts((self.unit,), "unit")
        if not self.costs or len(self.costs) != len(self.accuracies):
            raise ValueError(
                f"{len(self.costs)} costs and {len(self.accuracies)} accuracies: a curve needs one of each a "
                "stage and at least one stage"
            )
        increasing = all(a < b for a, b in pairwise((0.0, *self.costs)))
        if not increasing:
            raise ValueError(
                f"costs {self.costs} are not positive and increasing; Curve.from_points sorts points by cost"
            )

    @classmethod
    def from_points(
        cls,
        costs: Sequence[float],
        accuracies: Sequence[float],
        label: str = "",
        unit: str = "macs",
        score: ScoreSpec | None = None,
    ) -> Curve:
        """The curve of points in any order; of points with equal cost the one given last stays.

        Latencies need this: a later stage is not always the slower one.

        >>> Curve.from_points((3, 1, 3), (0.7, 0.5, 0.8)).accuracies
        (0.5, 0.8)
        """
        costs, accuracies = numbers(costs, "costs"), _values(accuracies, "accuracies", score)
        if len(costs) != len(accuracies):
            raise ValueError(
                f"{len(costs)} costs and {len(accuracies)} accuracies: one of each a point is needed"
            )
        points = dict(sorted(zip(costs, accuracies, strict=True), key=lambda point: point[0]))
        return cls(tuple(points), tuple(points.values()), label, unit, score)

    def _repr_html_(self) -> str:
        score = self.score or CLASSIFICATION[0]
        columns = [
            ("stage", [str(place) for place in range(1, len(self.costs) + 1)]),
            (self.unit, [f"{cost:,g}" for cost in self.costs]),
            (score.title, [score.shown(accuracy, 2) for accuracy in self.accuracies]),
        ]
        return html_table(columns, self.label)

    # --- other readings -----------------------------------------------------------------------------

    def envelope(self) -> Curve:
        """The monotone envelope: at each cost the best accuracy reached so far.

        Optimistic where stages are within noise of each other, because it selects on the data it scores.

        >>> Curve((1, 2, 3), (0.5, 0.4, 0.6)).envelope().accuracies
        (0.5, 0.5, 0.6)
        """
        return replace(self, accuracies=tuple(np.maximum.accumulate(self.accuracies)))

    def chosen_by(self, validated: Sequence[float]) -> Curve:
        """The curve when, of the stages paid for, the one of best validated accuracy answers.

        This is the rule of a session (`core.answers.standing`), and honest on test data since the choice is
        made on other data. Of equally good stages the cheaper one answers.

        Args:
            validated: accuracy of each stage on the validation data.

        Raises:
            ValueError: unless there is one number a stage.

        >>> Curve((1, 2, 3), (0.50, 0.48, 0.60)).chosen_by((0.51, 0.52, 0.50)).accuracies
        (0.5, 0.48, 0.48)
        """
        validated = _values(validated, "validated", self.score)
        if len(validated) != len(self.costs):
            raise ValueError(f"{len(validated)} validated accuracies for {len(self.costs)} stages")
        stages = range(1, len(validated) + 1)
        standing = (standing_stage(stages[:finished], validated) for finished in stages)
        return replace(self, accuracies=tuple(self.accuracies[(stage or 1) - 1] for stage in standing))

    # --- reading it ---------------------------------------------------------------------------------

    def accuracy_at(self, budget: float) -> float:
        """Accuracy of the last stage that `budget` pays for; 0 if it pays for none.

        >>> Curve((10, 20), (0.5, 0.8)).accuracy_at(9.9)
        0.0
        """
        budget = number(budget, "budget", infinite=True)
        finished = int(np.searchsorted(self.costs, budget, side="right"))
        return self.accuracies[finished - 1] if finished else 0.0

    def budget_for(self, accuracy: float, *, interpolate: bool = False) -> float | None:
        """The smallest budget at which the curve reaches `accuracy`; None if it never does.

        By default that is the cost of a stage. With `interpolate` points are joined by straight lines, as
        figures in papers are read; nothing is cheaper than stage 1.

        >>> curve = Curve((10, 20), (0.5, 0.75))
        >>> curve.budget_for(0.625), curve.budget_for(0.625, interpolate=True), curve.budget_for(0.9)
        (20.0, 15.0, None)
        """
        accuracy, interpolate = number(accuracy, "accuracy"), flag(interpolate, "interpolate")
        reached = next((i for i, a in enumerate(self.accuracies) if a >= accuracy), None)
        if reached is None:
            return None
        if reached == 0 or not interpolate or self.accuracies[reached] == accuracy:
            return self.costs[reached]
        (left, right), (low, high) = (v[reached - 1 : reached + 1] for v in (self.costs, self.accuracies))
        return left + (right - left) * (accuracy - low) / (high - low)

    # --- summaries ----------------------------------------------------------------------------------

    @property
    def default_range(self) -> tuple[float, float]:
        """From the first cost to one average step beyond the last, twice the cost for one stage.

        Ending at the last cost itself would give the last stage no weight. With evenly spaced costs the
        area over this range is the mean accuracy of the stages.

        >>> Curve((10, 20, 40), (0.5, 0.8, 0.9)).default_range
        (10.0, 55.0)
        """
        first, last, stages = self.costs[0], self.costs[-1], len(self.costs)
        return first, last + ((last - first) / (stages - 1) if stages > 1 else last)

    def area(self, low: float, high: float, *, log: bool = False) -> float:
        """Mean accuracy over budgets from `low` to `high`: the exact integral, divided by the range.

        With `log` equal ratios of budgets weigh the same instead of equal differences. Budgets below the
        first cost count 0.

        Raises:
            ValueError: unless 0 <= low < high, and 0 < low with `log`.

        >>> curve = Curve((1, 10), (0.6, 0.8))
        >>> round(curve.area(1, 100), 4), round(curve.area(1, 100, log=True), 4)
        (0.7818, 0.7)
        """
        check_range(low, high, log=log)
        edges = np.clip(np.array((*self.costs, high), dtype=np.float64), float(low), float(high))
        ends = np.array([low, high], dtype=np.float64)
        if log:
            edges, ends = np.log(edges), np.log(ends)
        return float(np.dot(self.accuracies, np.diff(edges)) / (ends[1] - ends[0]))

    def expected_accuracy(self, low: float, high: float) -> float:
        """Expected accuracy when the budget is drawn uniformly between `low` and `high`.

        By definition this is the linear area over the same range; a log-uniform budget gives the other.

        Raises:
            ValueError: unless 0 <= low < high.

        >>> Curve((10,), (0.8,)).expected_accuracy(0, 20)
        0.4
        """
        return self.area(low, high)

    @property
    def violations(self) -> tuple[int, ...]:
        """The points, counted from 1, that are less accurate than an earlier one.

        >>> Curve((1, 2, 3, 4), (0.5, 0.7, 0.6, 0.65)).violations
        (3, 4)
        """
        return worse_than_before(self.accuracies)


def shared_range(curves: Sequence[Curve]) -> tuple[float, float]:
    """One range to compare several curves over: the smallest that covers the default range of each.

    A curve without cheap stages loses area at its low end, as it should.

    Raises:
        ValueError: for no curves, or costs in different units.

    >>> shared_range([Curve((10, 20), (0.5, 0.8)), Curve((15, 40), (0.6, 0.9))])
    (10.0, 65.0)
    """
    units = sorted({curve.unit for curve in curves})
    if len(units) != 1:
        raise ValueError(f"curves in one unit have a shared range, not in {' and '.join(units) or 'none'}")
    ranges = [curve.default_range for curve in curves]
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def worse_than_before(accuracies: Sequence[float]) -> tuple[int, ...]:
    """The places, counted from 1, whose accuracy is below that of some earlier place.

    >>> worse_than_before((0.5, 0.7, 0.6))
    (3,)
    """
    best = np.maximum.accumulate(np.asarray(accuracies, dtype=np.float64))
    return tuple(int(place) + 1 for place in np.flatnonzero(best > np.asarray(accuracies)))


def _values(values: Sequence[float], name: str, score: ScoreSpec | None) -> tuple[float | int, ...]:
    if score is not None:
        instance(score, ScoreSpec, "score", 'ScoreSpec("psnr", "PSNR", "dB")')
    return fractions(values, name) if score is None or score.is_share else numbers(values, name)


def check_range(low: float, high: float, *, log: bool) -> None:
    """Raises ValueError unless `low` and `high` bound a range of budgets."""
    low, high = number(low, "low of the budget range", 0), number(high, "high of the budget range", 0)
    flag(log, "log")
    if low >= high:
        raise ValueError(f"a budget range needs 0 <= low < high, not ({low}, {high})")
    if log and low == 0:
        raise ValueError("a range that starts at 0 has no logarithm; start it at the first cost, for example")
