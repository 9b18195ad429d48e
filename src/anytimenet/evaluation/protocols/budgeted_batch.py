"""Budgeted batch: many examples share one budget, so easy ones leave early and hard ones go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal, get_args

import numpy as np

from anytimenet.core.answers.exit_thresholds import (
    check_confidence,
    check_costs,
    exit_shares,
    leaving_shares,
    leaving_stages,
    solve_for_budget,
    solve_thresholds,
)
from anytimenet.core.checks import number, several
from anytimenet.core.errors import suggest
from anytimenet.core.records import JsonForm, Record, stored
from anytimenet.evaluation.curves.curve import Curve
from anytimenet.evaluation.text.tables import Column, percent_decimals, plain_table
from anytimenet.evaluation.text.units import format_count

MSDNET_PS = tuple(i / 20 for i in range(1, 40))
"""The 39 values of p that MSDNet's curves are drawn with."""

ExitCost = Literal["macs_cumulative", "msd", "macs", "full"]

EXIT_COSTS: tuple[str, ...] = get_args(ExitCost)
"""What an example that leaves at stage k costs. `macs_cumulative`: multiply-adds of the steps 1..k, every
earlier head included, which is what a run that decides at each stage really does. `msd`: the same in the
convention of the MSDNet literature. `macs` and `full`: sub-network k alone, as if the stage were known."""


def _to_json(values: Sequence[float]) -> list[float | None]:
    return [None if t == inf else t for t in values[:-1]]


def _from_json(values: object) -> tuple[float, ...]:
    told = several(values, "thresholds")
    return (*(inf if t is None else number(t, "thresholds") for t in told), -inf)


@dataclass(frozen=True)
class BudgetedPoint(Record):
    """One set of thresholds, solved on validation examples and applied to others.

    Attributes:
        p: the exit shares aimed at are proportional to p^k.
        thresholds: T_1..T_K; +inf where nobody leaves, -inf for the last stage. In JSON null for +inf, and
            without the last stage's.
        shares: share of the test examples that leaves at each stage.
        mean_cost: of a test example.
        accuracy: share of the test examples answered right.
        val_shares: share of the validation examples that leaves at each stage.
        val_mean_cost: of a validation example.
        budget: the mean cost that the thresholds were solved for; None for a point of the sweep.
    """

    p: float
    thresholds: tuple[float, ...] = field(metadata=stored(write=_to_json, read=_from_json))
    shares: tuple[float, ...]
    mean_cost: float
    accuracy: float
    val_shares: tuple[float, ...]
    val_mean_cost: float
    budget: float | None = None
    json_form = JsonForm(
        keys=("p", "budget", "thresholds", "shares", "mean_cost", "accuracy", "val_shares", "val_mean_cost")
    )


@dataclass(frozen=True)
class BudgetedBatch(Record):
    """What `sweep_budgeted_batch` found.

    Attributes:
        confidence: kind of confidence that the thresholds compare, see `CONFIDENCES`.
        cost: what `stage_costs` count, see `EXIT_COSTS`.
        stage_costs: cost of an example that leaves at each stage.
        stage_accuracies: of the test examples, if all left at that stage.
        val_count: validation examples.
        count: test examples.
        points: one for each p, in the order given.
        for_budgets: one for each mean budget asked for.
    """

    confidence: str
    cost: str
    stage_costs: tuple[float, ...]
    stage_accuracies: tuple[float, ...]
    val_count: int
    count: int
    points: tuple[BudgetedPoint, ...]
    for_budgets: tuple[BudgetedPoint, ...] = ()
    json_form = JsonForm(what="a budgeted batch")

    def curve(self, label: str = "budgeted batch") -> Curve:
        """Accuracy against mean cost, the points of the sweep by cost."""
        return Curve.from_points(
            [point.mean_cost for point in self.points],
            [point.accuracy for point in self.points],
            label,
            cost_unit(self.cost),
        )

    def anytime_curve(self, label: str = "anytime") -> Curve:
        """Accuracy against cost when every example leaves at the same stage, in the same cost."""
        return Curve.from_points(self.stage_costs, self.stage_accuracies, label, cost_unit(self.cost))

    def table(self, rows: int = 8) -> str:
        """Plain aligned text: the points for budgets, or about `rows` of the sweep's, evenly picked."""
        picked = np.unique(np.linspace(0, len(self.points) - 1, rows).round().astype(int))
        points = self.for_budgets or tuple(self.points[i] for i in picked)
        decimals = percent_decimals(self.count)
        columns: list[Column] = [
            ("p", [f"{point.p:.3g}" for point in points]),
            ("mean cost", [format_count(point.mean_cost) for point in points]),
            ("accuracy %", [f"{100 * point.accuracy:.{decimals}f}" for point in points]),
        ]
        if self.for_budgets:
            columns.insert(0, ("budget", [format_count(point.budget or 0) for point in points]))
        for k in range(len(self.stage_costs)):
            columns.append((f"at {k + 1} %", [f"{100 * point.shares[k]:.1f}" for point in points]))
        return plain_table(columns)


def sweep_budgeted_batch(
    val_confidence: np.ndarray,
    confidence: np.ndarray,
    right: np.ndarray,
    stage_costs: Sequence[float],
    *,
    ps: Sequence[float] = MSDNET_PS,
    budgets: Sequence[float] = (),
    kind: str = "max_probability",
    cost: str = "macs_cumulative",
) -> BudgetedBatch:
    """Solves thresholds on validation confidences for each p, and applies them to other examples.

    On the validation examples the mean cost rises with p, but for whole examples: it exceeds the cost of the
    exact shares by less than sum over k < K of k (c_{k+1} - c_k) / N, as long as no confidences are equal.

    Args:
        val_confidence: of the validation examples, (stages, examples), higher = surer.
        confidence: of the test examples, (stages, examples).
        right: whether each stage is right on the test examples, (stages, examples).
        stage_costs: cost of an example that leaves at each stage; see `exit_costs`.
        ps: the sweep; MSDNet's 39 values by default.
        budgets: mean costs to solve thresholds for, besides the sweep; see `solve_for_budget`.
        kind: name of the confidence, for the record.
        cost: name of the cost, for the record.

    Raises:
        ValueError: for shapes that do not fit each other, no p, or a budget below the first stage's cost.

    >>> confidence = np.array([[0.9, 0.8, 0.5, 0.4], [0.9, 0.9, 0.9, 0.9]])
    >>> right = np.array([[True, True, False, False], [True, True, True, True]])
    >>> point = sweep_budgeted_batch(confidence, confidence, right, [10, 20], ps=[1.0]).points[0]
    >>> point.thresholds, point.mean_cost, point.accuracy
    ((0.8, -inf), 15.0, 1.0)
    """
    val_confidence, confidence = check_confidence(val_confidence), check_confidence(confidence)
    right = np.asarray(right, dtype=bool)
    if confidence.shape != right.shape or len(val_confidence) != len(confidence):
        raise ValueError(
            f"confidences {val_confidence.shape} for validation and {confidence.shape}, right-or-wrong "
            f"{right.shape}: (stages, examples) with as many stages is needed"
        )
    if not len(ps):
        raise ValueError("a sweep needs at least one p")
    costs = check_costs(stage_costs, len(confidence))

    def point(p: float, thresholds: np.ndarray, budget: float | None = None) -> BudgetedPoint:
        leaving = leaving_stages(confidence, thresholds)
        shares = np.bincount(leaving - 1, minlength=len(costs)) / len(leaving)
        val_shares = leaving_shares(val_confidence, thresholds)
        return BudgetedPoint(
            p=float(p),
            thresholds=tuple(thresholds.tolist()),
            shares=tuple(shares.tolist()),
            mean_cost=float(shares @ costs),
            accuracy=float(right[leaving - 1, np.arange(len(leaving))].mean()),
            val_shares=tuple(val_shares.tolist()),
            val_mean_cost=float(val_shares @ costs),
            budget=budget,
        )

    stages = len(costs)
    return BudgetedBatch(
        confidence=kind,
        cost=cost,
        stage_costs=tuple(costs.tolist()),
        stage_accuracies=tuple(right.mean(axis=1).tolist()),
        val_count=val_confidence.shape[1],
        count=confidence.shape[1],
        points=tuple(point(p, solve_thresholds(val_confidence, exit_shares(p, stages))) for p in ps),
        for_budgets=tuple(
            point(*solve_for_budget(val_confidence, costs, budget), budget=float(budget))
            for budget in budgets
        ),
    )


def exit_costs(stage_costs: Sequence[Any], cost: ExitCost = "macs_cumulative") -> list[float]:
    """What an example that leaves at each stage costs, from `costs.stage_costs` or `Outputs.costs`.

    Raises:
        ValueError: for a cost that is not one of `EXIT_COSTS`.
    """
    check_exit_cost(cost)
    return [float(getattr(stage, cost)) for stage in stage_costs]


def check_exit_cost(cost: str) -> None:
    """Raises ValueError unless `cost` is one of `EXIT_COSTS`."""
    if cost not in EXIT_COSTS:
        raise ValueError(f"no cost of an exit is named {cost!r}: {suggest(cost, EXIT_COSTS)}")


def cost_unit(cost: str) -> str:
    """What a cost of an exit counts, as the `unit` of a `Curve`.

    >>> cost_unit("macs_cumulative"), cost_unit("msd")
    ('macs', 'msd')
    """
    return "macs" if cost == "macs_cumulative" else cost
