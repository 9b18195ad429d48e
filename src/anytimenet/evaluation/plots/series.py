"""What a figure draws: scores at costs, with their uncertainty, from a curve, a report or a spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from anytimenet.core.scores import ScoreSpec
from anytimenet.evaluation.curves.curve import Curve
from anytimenet.evaluation.reports.report import Report
from anytimenet.evaluation.reports.spread import Spread
from anytimenet.evaluation.reports.stages import Cost, stage_costs_in

Value = Literal["accuracy", "error"]
Mark = Literal["none", "bars", "band", "sd"]


@dataclass(frozen=True)
class Series:
    """One line of a figure.

    Attributes:
        label: its name in the legend.
        unit: what the costs count.
        costs: increasing, (points,).
        values: the score, or the error; shares in percent.
        low: lower end of what is uncertain; equal to the value where nothing is known.
        high: its upper end.
        mark: how the uncertainty is drawn: bars of a 95 % interval, a band of one standard deviation, or
            bars of one ("sd").
        joined: whether a line joins the points; separate nets have none.
        score: what the values are, for the axis; None where it is not known: accuracies.
    """

    label: str
    unit: str
    costs: np.ndarray
    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    mark: Mark
    joined: bool = True
    score: ScoreSpec | None = None


Drawable = Curve | Report | Spread | Series


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
    scores = sorted({one.score.label for one in series if one.score is not None})
    if len(scores) > 1:
        raise ValueError(f"{' and '.join(scores)} do not fit on one axis; draw one figure a score")
    return series


def _series(item: Drawable, label: str, cost: Cost, value: Value) -> Series:
    if isinstance(item, Series):
        return replace(item, label=label)
    score = item.score if isinstance(item, Curve) else item.headline
    if value == "error" and score is not None and score.label != "accuracy":
        raise ValueError(f"these nets have a {score.label} and no error: draw value='accuracy'")
    costs, rows = _points(item, cost)
    order = np.argsort(costs, kind="stable")
    values, low, high = np.asarray(rows, dtype=np.float64)[order].T * (
        1 if score and not score.is_share else 100
    )
    if value == "error":
        values, low, high = 100 - values, 100 - high, 100 - low
    unit = item.unit if isinstance(item, Curve) else cost
    sorted_costs = np.asarray(costs, dtype=np.float64)[order]
    return Series(label, unit, sorted_costs, values, low, high, _mark(item), score=score)


def _points(
    item: Curve | Report | Spread, cost: Cost
) -> tuple[Sequence[float], list[tuple[float, float, float]]]:
    """The cost of each point, and its value with the ends of what is uncertain."""
    if isinstance(item, Curve):
        return item.costs, [(accuracy,) * 3 for accuracy in item.accuracies]
    if isinstance(item, Spread):
        sds = [(v.mean, v.sd or 0.0) for v in item.values]
        return item.costs_in(cost), [(mean, mean - sd, mean + sd) for mean, sd in sds]
    own, *ends = item.headline.keys
    scores: list[Mapping[str, Any]] = [stage.scores for stage in item.stages]
    rows = [
        (row[own], *(row[own] if row.get(end) is None else row[end] for end in ends or (own, own)))
        for row in scores
    ]
    return stage_costs_in(item.stages, cost), rows


def _mark(item: Drawable) -> Mark:
    if isinstance(item, Report) and item.headline.interval:
        return "bars"
    if isinstance(item, Spread) and item.runs > 1:
        return "band" if len(item.stages) > 1 else "sd"  # a band over one point has no width
    return "none"
