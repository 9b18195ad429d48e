"""What a figure draws: percentages at costs, with their uncertainty, from a curve, a report or a spread.

Reports and spreads are of labels or of label maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from anytimenet.evaluation.curves.curve import Curve
from anytimenet.evaluation.reports.report import Cost, Report, stage_costs_in
from anytimenet.evaluation.reports.segmentation_report import SCORE, SegmentationReport
from anytimenet.evaluation.reports.segmentation_spread import SegmentationSpread
from anytimenet.evaluation.reports.spread import Spread

Value = Literal["accuracy", "error"]
Mark = Literal["none", "bars", "band", "sd"]


@dataclass(frozen=True)
class Series:
    """One line of a figure.

    Attributes:
        label: its name in the legend.
        unit: what the costs count.
        costs: increasing, (points,).
        values: accuracy or error in percent.
        low: lower end of what is uncertain; equal to the value where nothing is known.
        high: its upper end.
        mark: how the uncertainty is drawn: bars of a 95 % interval, a band of one standard deviation, or
            bars of one ("sd").
        joined: whether a line joins the points; separate nets have none.
        score: what the values are, for the axis; None for a curve, which does not know.
    """

    label: str
    unit: str
    costs: np.ndarray
    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    mark: Mark
    joined: bool = True
    score: str | None = None


Drawable = Curve | Report | SegmentationReport | Spread | SegmentationSpread | Series


def all_series(
    items: Sequence[Drawable], labels: Sequence[str] | None, *, cost: Cost, value: Value
) -> list[Series]:
    """One series an item, all in one unit.

    Raises:
        ValueError: for no items, labels that do not match or lack, or costs or scores that differ in kind.
    """
    if not items:
        raise ValueError("nothing to draw: at least one curve, report or spread is needed")
    if labels is not None and len(labels) != len(items):
        raise ValueError(f"{len(labels)} labels for {len(items)} curves: one label a curve is needed")
    names = list(labels) if labels is not None else [getattr(item, "label", "") for item in items]
    if len(items) > 1 and not all(names):
        raise ValueError("several curves in one figure need labels: give one a curve")
    series = [_series(item, name, cost, value) for item, name in zip(items, names, strict=True)]
    units = sorted({one.unit for one in series})
    if len(units) > 1:
        raise ValueError(f"costs in {' and '.join(units)} do not fit on one axis; draw one figure a unit")
    scores = sorted({one.score for one in series if one.score is not None})
    if len(scores) > 1:
        raise ValueError(f"{' and '.join(scores)} do not fit on one axis; draw one figure a score")
    return series


def _series(item: Drawable, label: str, cost: Cost, value: Value) -> Series:
    if isinstance(item, Series):
        return replace(item, label=label)
    costs, rows = _points(item, cost)
    unit, score = item.unit if isinstance(item, Curve) else cost, _score(item)
    if value == "error" and score == SCORE:
        raise ValueError(f"label maps have a {SCORE} and no error: draw value='accuracy'")
    order = np.argsort(costs, kind="stable")
    values, low, high = 100 * np.asarray(rows, dtype=np.float64)[order].T
    if value == "error":
        values, low, high = 100 - values, 100 - high, 100 - low
    sorted_costs = np.asarray(costs, dtype=np.float64)[order]
    return Series(label, unit, sorted_costs, values, low, high, _mark(item), score=score)


def _points(
    item: Curve | Report | SegmentationReport | Spread | SegmentationSpread, cost: Cost
) -> tuple[Sequence[float], list[tuple[float, float, float]]]:
    """The cost of each point, and its value with the ends of what is uncertain, as fractions."""
    if isinstance(item, Curve):
        return item.costs, [(accuracy,) * 3 for accuracy in item.accuracies]
    if isinstance(item, Report):
        rows = [(stage.top1, stage.top1_low, stage.top1_high) for stage in item.stages]
        return stage_costs_in(item.stages, cost), rows
    if isinstance(item, SegmentationReport):
        return stage_costs_in(item.stages, cost), [(stage.mean_iou,) * 3 for stage in item.stages]
    if isinstance(item, Spread):
        joined = [stage.top1 for stage in item.stages]
    else:
        joined = [stage.mean_iou for stage in item.stages]
    return item.costs_in(cost), [(v.mean, v.mean - (v.sd or 0.0), v.mean + (v.sd or 0.0)) for v in joined]


def _mark(item: Drawable) -> Mark:
    if isinstance(item, Report):
        return "bars"
    if isinstance(item, Spread | SegmentationSpread) and item.runs > 1:
        return "band" if len(item.stages) > 1 else "sd"  # a band over one point has no width
    return "none"


def _score(item: Drawable) -> str | None:
    if isinstance(item, Curve):
        return None
    return SCORE if isinstance(item, SegmentationReport | SegmentationSpread) else "accuracy"
