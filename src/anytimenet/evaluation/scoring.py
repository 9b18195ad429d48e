"""From the logits of every stage to a `Report`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np

from anytimenet.core.errors import DataError
from anytimenet.evaluation.curve import Curve
from anytimenet.evaluation.metrics import (
    check_logits,
    class_scores,
    expected_calibration_error,
    label_ranks,
    log_softmax,
    wilson_interval,
)
from anytimenet.evaluation.report import LevelReport, Report, StageReport

_ROWS = 4096
"""Examples worked on at once, so that float64 copies of a thousand classes stay small."""


class StageCosts(Protocol):
    """What is read of a stage's costs; `costs.StageCost` has it."""

    @property
    def stage(self) -> int: ...
    @property
    def macs(self) -> int: ...
    @property
    def full(self) -> int: ...
    @property
    def params(self) -> int: ...


class StageLatency(Protocol):
    """What is read of a measured latency; `core.cost_table.Latency` has it."""

    @property
    def median_ms(self) -> float: ...
    @property
    def p99_ms(self) -> float: ...
    @property
    def estimated(self) -> bool: ...


def make_report(
    logits: Sequence[Any],
    labels: np.ndarray,
    stage_costs: Sequence[StageCosts],
    *,
    data: str = "",
    split: str = "test",
    budget_range: tuple[float, float] | None = None,
    latencies: Sequence[StageLatency | None] | None = None,
    per_class: bool = False,
    class_names: Sequence[str] | None = None,
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
    for name, given in (("stage costs", stage_costs), ("latencies", latencies)):
        if given is not None and len(given) != len(logits):
            raise ValueError(
                f"{len(given)} {name} for the logits of {len(logits)} stages: one a stage is needed"
            )
    judged = [[_judge(stage, labels[:, i]) for stage in level] for i, level in enumerate(by_level)]
    levels = [
        tuple(
            _stage_report(examples, cost, latency)
            for examples, cost, latency in zip(
                level, stage_costs, latencies or [None] * len(logits), strict=True
            )
        )
        for level in judged
    ]
    fine = levels[0]
    widths = [level[0].shape[1] for level in by_level]
    if budget_range is None:
        budget_range = Curve.from_points([s.macs for s in fine], [s.top1 for s in fine]).default_range
    return Report(
        data=data,
        split=split,
        count=len(labels),
        num_classes=widths[0],
        stages=fine,
        budget_range=budget_range,
        example_violations=example_violations(np.stack([examples.right for examples in judged[0]])),
        levels=tuple(
            LevelReport(number, widths[number - 1], stages)
            for number, stages in enumerate(levels[1:], start=2)
        ),
        per_class=tuple(
            class_scores(examples.predicted, labels[:, 0], widths[0], class_names) for examples in judged[0]
        )
        if per_class
        else (),
    )


def example_violations(right: np.ndarray) -> float:
    """Share of examples right at some stage and wrong at a later one.

    Args:
        right: (stages, examples), true where the stage's answer is right.

    >>> example_violations(np.array([[True, True, False, False], [True, False, True, False]]))
    0.25
    """
    right = np.asarray(right, dtype=bool)
    earlier = np.logical_or.accumulate(right, axis=0)[:-1]
    return float((earlier & ~right[1:]).any(axis=0).mean())


@dataclass(frozen=True)
class _Examples:
    """What one stage says of each example, (N,) each: answer, rank of the label, confidence, likelihood."""

    predicted: np.ndarray
    rank: np.ndarray
    confidence: np.ndarray
    nll: np.ndarray

    @property
    def right(self) -> np.ndarray:
        return self.rank == 0

    @classmethod
    def of(cls, logits: np.ndarray, labels: np.ndarray) -> _Examples:
        logits, labels = check_logits(logits, labels)
        log_probabilities = log_softmax(logits)
        return cls(
            predicted=logits.argmax(axis=1),
            rank=label_ranks(logits, labels),
            confidence=np.exp(log_probabilities.max(axis=1)),
            nll=-np.take_along_axis(log_probabilities, labels[:, None], axis=1)[:, 0],
        )


def _judge(logits: np.ndarray, labels: np.ndarray) -> _Examples:
    if logits.ndim != 2 or len(logits) != len(labels):
        raise DataError(
            f"logits of shape {logits.shape} for {len(labels)} labels: (examples, classes) is needed"
        )
    blocks = [
        _Examples.of(logits[start : start + _ROWS], labels[start : start + _ROWS])
        for start in range(0, len(labels), _ROWS)
    ]
    return _Examples(
        *(np.concatenate([getattr(block, field.name) for block in blocks]) for field in fields(_Examples))
    )


def _stage_report(examples: _Examples, cost: StageCosts, latency: StageLatency | None) -> StageReport:
    count = len(examples.rank)
    top1, top5 = (int((examples.rank < k).sum()) for k in (1, 5))
    top1_low, top1_high = wilson_interval(top1, count)
    top5_low, top5_high = wilson_interval(top5, count)
    return StageReport(
        stage=cost.stage,
        macs=cost.macs,
        full=cost.full,
        params=cost.params,
        top1=top1 / count,
        top1_low=top1_low,
        top1_high=top1_high,
        top5=top5 / count,
        top5_low=top5_low,
        top5_high=top5_high,
        ece=expected_calibration_error(examples.confidence, examples.right),
        nll=float(examples.nll.mean()),
        latency_median_ms=None if latency is None else latency.median_ms,
        latency_p99_ms=None if latency is None else latency.p99_ms,
        latency_estimated=latency is not None and latency.estimated,
    )


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
