"""From the logits of every stage to a `Report`."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

import numpy as np

from anytimenet.core.errors import DataError
from anytimenet.core.uncounted import uncounted_in
from anytimenet.evaluation.reports.ensemble import EnsembleReport, EnsembleStage
from anytimenet.evaluation.reports.report import Report
from anytimenet.evaluation.reports.sections import ClassificationSections, LevelReport
from anytimenet.evaluation.reports.stages import CumulativeCosts, StageLatency, default_range, make_stages
from anytimenet.evaluation.scores.ensembles import Ensemble, ensemble_rule
from anytimenet.evaluation.scores.example_quality import example_violations, measure_example_quality
from anytimenet.evaluation.scores.metrics import (
    class_scores,
    expected_calibration_error,
    failure_auroc,
    wilson_interval,
)
from anytimenet.evaluation.scores.outcomes import Outcomes


def make_report(
    logits: Sequence[Any],
    labels: np.ndarray,
    stage_costs: Sequence[Any],
    *,
    data: str = "",
    split: str = "test",
    budget_range: tuple[float, float] | None = None,
    latencies: Sequence[StageLatency | None] | None = None,
    per_class: bool = False,
    class_names: Sequence[str] | None = None,
    ensemble: Ensemble | None = None,
    device: str | None = None,
) -> Report:
    """Scores every stage of a net on one data split.

    Args:
        logits: one entry a stage: an array (N, classes), or a list of them, one a label level, fine first.
        labels: (N, levels), or (N,) for one level; whole numbers from 0.
        stage_costs: one entry a stage, with `stage`, `macs`, `full` and `params`.
        data: name of the data.
        split: name of the split.
        budget_range: multiply-adds from and to which areas are taken; `Curve.default_range` by default.
        latencies: one entry a stage, with `median_ms`, `p99_ms` and `estimated`, or None where not measured.
        per_class: whether to add precision, recall and count of each class of the fine level.
        class_names: names of the fine level's classes, for the per-class report.
        ensemble: adds the running ensemble of that kind; the costs then need `macs_cumulative`, too.
        device: where the net ran.

    Raises:
        DataError: for logits or labels that are malformed or do not fit each other.
        ValueError: for numbers of stages that differ, or a bad range.

    >>> from types import SimpleNamespace
    >>> costs = [SimpleNamespace(stage=k, macs=10 * k, full=12 * k, params=k) for k in (1, 2)]
    >>> stage_1, stage_2 = np.array([[2.0, 1.0], [3.0, 1.0]]), np.array([[2.0, 1.0], [1.0, 3.0]])
    >>> report = make_report([stage_1, stage_2], np.array([0, 1]), costs)
    >>> [stage.top1 for stage in report.stages], report.area
    ([0.5, 1.0], 0.75)
    """
    by_level = _by_level(logits)
    labels = _label_columns(labels, len(by_level))
    outcomes = [Outcomes.of(level, labels[:, i]) for i, level in enumerate(by_level)]
    scores = [[_scores(found, number) for number in range(len(logits))] for found in outcomes]
    widths = [level[0].shape[1] for level in by_level]
    fine = outcomes[0]
    stages = make_stages(scores[0], stage_costs, latencies)
    return Report(
        task="classification",
        data=data,
        split=split,
        count=len(labels),
        stages=stages,
        budget_range=default_range(stages) if budget_range is None else budget_range,
        sections=ClassificationSections(
            num_classes=widths[0],
            example_violations=example_violations(fine.right),
            levels=tuple(
                LevelReport(level, widths[level - 1], make_stages(found, stage_costs, latencies))
                for level, found in enumerate(scores[1:], start=2)
            ),
            per_class=tuple(
                class_scores(predicted, labels[:, 0], widths[0], class_names) for predicted in fine.predicted
            )
            if per_class
            else (),
            example_quality=measure_example_quality(fine.label_probability, fine.right),
            ensemble=ensemble and make_ensemble_report(logits, labels, stage_costs, ensemble),
        ),
        device=device,
        uncounted_operators=uncounted_in(stage_costs),
    )


def make_ensemble_report(
    logits: Sequence[Any],
    labels: np.ndarray,
    stage_costs: Sequence[CumulativeCosts],
    kind: Ensemble = "mean",
) -> EnsembleReport:
    """Scores the running ensemble of the stages on one data split, fine label level.

    Args:
        logits: as in `make_report`.
        labels: as in `make_report`.
        stage_costs: one entry a stage, with `stage` and `macs_cumulative`.
        kind: one of `ensembles.ENSEMBLES`.

    Raises:
        DataError: for logits or labels that are malformed or do not fit each other.
        ValueError: for numbers of stages that differ, or no such ensemble.

    >>> from types import SimpleNamespace
    >>> costs = [SimpleNamespace(stage=k, macs_cumulative=10 * k) for k in (1, 2)]
    >>> stage_1, stage_2 = np.array([[4.0, 1.0], [3.0, 1.0]]), np.array([[1.0, 2.0], [1.0, 9.0]])
    >>> report = make_ensemble_report([stage_1, stage_2], np.array([0, 1]), costs)
    >>> [stage.top1 for stage in report.stages], report.example_violations
    ([0.5, 1.0], 0.0)
    """
    by_level = _by_level(logits)
    labels = _label_columns(labels, len(by_level))[:, 0]
    if len(stage_costs) != len(logits):
        raise ValueError(f"{len(stage_costs)} stage costs for the logits of {len(logits)} stages")
    outcomes = Outcomes.of(by_level[0], labels, combine=ensemble_rule(kind))
    return EnsembleReport(
        kind=kind,
        count=len(labels),
        stages=tuple(
            EnsembleStage(cost.stage, cost.macs_cumulative, _scores(outcomes, number))
            for number, cost in enumerate(stage_costs)
        ),
        example_violations=example_violations(outcomes.right),
        example_quality=measure_example_quality(outcomes.label_probability, outcomes.right),
    )


def _scores(outcomes: Outcomes, number: int) -> dict[str, Any]:
    """The scores of the stage at index `number`."""
    rank, confidence = outcomes.rank[number], outcomes.confidence[number]
    count = len(rank)
    top1, top5 = (int((rank < k).sum()) for k in (1, 5))
    top1_low, top1_high = wilson_interval(top1, count)
    top5_low, top5_high = wilson_interval(top5, count)
    nll = float(outcomes.nll[number].mean())
    return {
        "top1": top1 / count,
        "top1_low": top1_low,
        "top1_high": top1_high,
        "top5": top5 / count,
        "top5_low": top5_low,
        "top5_high": top5_high,
        "ece": expected_calibration_error(confidence, rank == 0),
        "nll": nll if isfinite(nll) else None,
        "failure_auroc": failure_auroc(confidence, rank == 0),
    }


def _by_level(logits: Sequence[Any]) -> list[list[np.ndarray]]:
    """One list of arrays, one a stage, for each label level."""
    stages = [list(stage) if isinstance(stage, (list, tuple)) else [stage] for stage in logits]
    if not stages or len({len(stage) for stage in stages}) != 1 or not stages[0]:
        raise DataError("the logits of at least one stage are needed, as many label levels in each")
    levels = [[np.asarray(array) for array in level] for level in zip(*stages, strict=True)]
    for number, level in enumerate(levels, start=1):
        shapes = {array.shape for array in level}
        if len(shapes) != 1:
            raise DataError(
                f"stages give logits of different shapes at label level {number}: {sorted(shapes)}"
            )
    return levels


def _label_columns(labels: np.ndarray, levels: int) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.ndim == 1:
        labels = labels[:, None]
    if labels.ndim != 2 or labels.shape[1] != levels or not len(labels):
        raise DataError(
            f"labels of shape {labels.shape} for logits of {levels} label levels: "
            f"(examples, {levels}) with at least one example is needed"
        )
    return labels
