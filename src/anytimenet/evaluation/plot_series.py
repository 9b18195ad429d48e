"""What a figure draws: percentages at costs, with their uncertainty, from a curve, a report or a spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from anytimenet.evaluation.curve import Curve
from anytimenet.evaluation.report import Cost, Report, stage_costs_in
from anytimenet.evaluation.spread import Spread

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
    """

    label: str
    unit: str
    costs: np.ndarray
    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    mark: Mark
    joined: bool = True


Drawable = Curve | Report | Spread | Series


def all_series(
    items: Sequence[Drawable], labels: Sequence[str] | None, *, cost: Cost, value: Value
) -> list[Series]:
    """One series an item, all in one unit.

    Raises:
        ValueError: for no items, labels that do not match or lack, or costs in different units.
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
    return series


def _series(item: Drawable, label: str, cost: Cost, value: Value) -> Series:
    if isinstance(item, Series):
        return replace(item, label=label)
    unit: str = cost
    mark: Mark = "none"
    costs: Sequence[float]
    if isinstance(item, Curve):
        costs, unit = item.costs, item.unit
        rows = [(accuracy,) * 3 for accuracy in item.accuracies]
    elif isinstance(item, Report):
        costs, mark = stage_costs_in(item.stages, cost), "bars"
        rows = [(stage.top1, stage.top1_low, stage.top1_high) for stage in item.stages]
    else:
        costs = item.costs_in(cost)
        if item.runs > 1:
            mark = "band" if len(item.stages) > 1 else "sd"  # a band over one point has no width
        tops = [stage.top1 for stage in item.stages]
        rows = [(top.mean, top.mean - (top.sd or 0.0), top.mean + (top.sd or 0.0)) for top in tops]
    order = np.argsort(costs, kind="stable")
    values, low, high = 100 * np.asarray(rows, dtype=np.float64)[order].T
    if value == "error":
        values, low, high = 100 - values, 100 - high, 100 - low
    return Series(label, unit, np.asarray(costs, dtype=np.float64)[order], values, low, high, mark)
