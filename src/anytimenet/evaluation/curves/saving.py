"""Relative saving at equal accuracy: the papers' headline number for two anytime curves."""

from __future__ import annotations

from dataclasses import dataclass

from anytimenet.evaluation.curves.curve import Curve


@dataclass(frozen=True)
class SavingPoint:
    """What two curves cost at one accuracy.

    Attributes:
        accuracy: an accuracy that a stage of the reference reaches first.
        reference_cost: the cost of that stage.
        cost: the least that reaches the accuracy on the other curve; None if it never does.
    """

    accuracy: float
    reference_cost: float
    cost: float | None

    @property
    def saving(self) -> float | None:
        """1 - cost / reference_cost, negative where the other curve is dearer; None if never reached."""
        return None if self.cost is None else 1 - self.cost / self.reference_cost


@dataclass(frozen=True)
class Saving:
    """The saving of one curve against a reference, at the accuracies of the reference's stages.

    `maximum` and `mean` are over the accuracies that both reach, None if there are none; compare
    `unreached` before quoting them.
    """

    points: tuple[SavingPoint, ...]

    @property
    def maximum(self) -> float | None:
        """The largest saving."""
        return max(self._reached(), default=None)

    @property
    def mean(self) -> float | None:
        """The mean saving."""
        reached = self._reached()
        return sum(reached) / len(reached) if reached else None

    @property
    def unreached(self) -> int:
        """How many of the reference's accuracies the other curve never reaches."""
        return sum(point.cost is None for point in self.points)

    def _reached(self) -> list[float]:
        return [point.saving for point in self.points if point.saving is not None]


def relative_saving(ours: Curve, reference: Curve, *, interpolate: bool = False) -> Saving:
    """How much less `ours` costs than `reference` at equal accuracy.

    At the accuracy of each stage of the reference that is better than all before it, 1 - cost / reference
    cost, where cost is the least budget with which `ours` is at least as accurate.

    By default that budget is the cost of a real stage, because nothing between two stages can be bought:
    a saving claimed so is one that a run gets. With `interpolate` the stages of `ours` are joined by straight
    lines, as papers read their figures: choose it to compare with published numbers.

    Raises:
        ValueError: if the two curves count their costs in different units.

    >>> reference = Curve((10, 20, 40), (0.5, 0.75, 1.0))
    >>> saving = relative_saving(Curve((5, 30), (0.5, 1.0)), reference)
    >>> [point.saving for point in saving.points], saving.maximum
    ([0.5, -0.5, 0.25], 0.5)
    >>> relative_saving(Curve((5, 30), (0.5, 1.0)), reference, interpolate=True).points[1].cost
    17.5
    """
    if ours.unit != reference.unit:
        raise ValueError(
            f"costs in {ours.unit} and in {reference.unit} cannot be compared; draw both curves in one unit"
        )
    points, best = [], -1.0
    for cost, accuracy in zip(reference.costs, reference.accuracies, strict=True):
        if accuracy > best:
            best = accuracy
            needed = ours.budget_for(accuracy, interpolate=interpolate)
            points.append(SavingPoint(accuracy, cost, needed))
    return Saving(tuple(points))
