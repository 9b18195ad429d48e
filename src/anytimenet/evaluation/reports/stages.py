"""What a report says of each stage: costs, scores, latency; the same for every task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Protocol

from anytimenet.core.checks import choice, flag, instance, number, optional, settle, shown, whole_number
from anytimenet.core.records import Record, stored
from anytimenet.core.scores import ScoreSpec
from anytimenet.evaluation.curves.curve import Curve

Cost = Literal["macs", "full", "ms"]


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


class CumulativeCosts(Protocol):
    """What is read of a stage's costs where every earlier stage has answered too."""

    @property
    def stage(self) -> int: ...
    @property
    def macs_cumulative(self) -> int: ...


class StageLatency(Protocol):
    """What is read of a measured latency; `core.manifest.cost_table.Latency` has it."""

    @property
    def median_ms(self) -> float: ...
    @property
    def p99_ms(self) -> float: ...
    @property
    def estimated(self) -> bool: ...


Score = float | tuple[float | None, ...] | None
"""A number, one a class, or None where there is none."""


class ReadByName:
    """What one of its fields holds is an attribute, too: `stage.top1` is `stage.scores["top1"]`."""

    _mapping: ClassVar[str] = "scores"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == self._mapping:  # asked for before there is a mapping
            raise AttributeError(name)
        held = getattr(self, self._mapping)
        mapping = held if isinstance(held, Mapping) else vars(held)
        if name not in mapping:
            raise AttributeError(
                f"this {type(self).__name__} has no {name}; its {self._mapping}: {', '.join(mapping)}"
            )
        return mapping[name]


@dataclass(frozen=True)
class StageReport(ReadByName, Record):
    """One stage on one data split.

    Attributes:
        stage: number of the stage, from 1.
        macs: multiply-adds of its sub-network alone.
        full: the same in the `full` convention (BN, ReLU, pooling, adds too).
        params: parameters of its sub-network alone.
        scores: what the task measures, by key, with the ends of 95 % intervals under `KEY_low` and
            `KEY_high`; attributes of the stage, too. None where a score does not exist; a tuple for one
            number a class. `top1`, `top5`, `ece` (15 bins), `nll` (nats) and `failure_auroc` (see
            `metrics.failure_auroc`) of labels, `mean_iou`, `pixel_accuracy` and `class_ious` of label maps.
        latency_median_ms: measured latency of one image; None if not profiled.
        latency_p99_ms: its 99th percentile; None if not profiled.
        latency_estimated: true if it was derived from other segments' times, not measured.

    Raises:
        TypeError, ValueError: for a field that holds something else.

    >>> StageReport(1, macs=10, full=12, params=3, scores={"top1": 0.5}).top1
    0.5
    """

    stage: int
    macs: int
    full: int
    params: int
    scores: Mapping[str, Score] = field(metadata=stored(inline=True))
    latency_median_ms: float | None = field(default=None, metadata=stored(later=True))
    latency_p99_ms: float | None = field(default=None, metadata=stored(later=True))
    latency_estimated: bool = field(default=False, metadata=stored(later=True))

    def __post_init__(self) -> None:
        for name in ("stage", "macs", "full", "params"):
            settle(self, name, whole_number)
        settle(self, "scores", _scores)
        for name in ("latency_median_ms", "latency_p99_ms"):
            settle(self, name, optional, number)
        settle(self, "latency_estimated", flag)


SegmentationStage = StageReport  # its name when label maps had one of their own


def make_stages(
    scores: Sequence[Mapping[str, Any]],
    stage_costs: Sequence[StageCosts],
    latencies: Sequence[StageLatency | None] | None = None,
) -> tuple[StageReport, ...]:
    """The scores of each stage with what it costs.

    Raises:
        ValueError: for numbers of stages that differ.
    """
    for name, given in (("stage costs", stage_costs), ("latencies", latencies)):
        if given is not None and len(given) != len(scores):
            raise ValueError(f"{len(given)} {name} for {len(scores)} stages: one a stage is needed")
    return tuple(
        StageReport(
            stage=cost.stage,
            macs=cost.macs,
            full=cost.full,
            params=cost.params,
            scores=found,
            latency_median_ms=None if latency is None else latency.median_ms,
            latency_p99_ms=None if latency is None else latency.p99_ms,
            latency_estimated=latency is not None and latency.estimated,
        )
        for found, cost, latency in zip(scores, stage_costs, latencies or [None] * len(scores), strict=True)
    )


def default_range(stages: Sequence[StageReport]) -> tuple[float, float]:
    """The multiply-adds from and to which areas are taken, where nobody says: `Curve.default_range`."""
    return Curve.from_points([stage.macs for stage in stages], [0.0] * len(stages)).default_range


def stage_costs_in(stages: Sequence[StageReport], cost: Cost) -> list[float]:
    """What each stage of a report costs in "macs", "full" or "ms" (median latency).

    Raises:
        ValueError: for another cost, or for latencies that were not measured.
    """
    choice(cost, "cost", ("macs", "full", "ms"))
    found: list[float] = []
    for stage in stages:
        value = stage.latency_median_ms if cost == "ms" else getattr(stage, cost)
        if value is None:
            raise ValueError(f"the report has no latency for stage {stage.stage}: profile the bundle first")
        found.append(value)
    return found


def scored(stages: Sequence[StageReport], specs: Sequence[ScoreSpec]) -> tuple[StageReport, ...]:
    """The stages with every score of the specs, None where one was not measured.

    Raises:
        TypeError, ValueError: for a score that is no number, or a stage without the headline.
    """
    keys = [key for spec in specs for key in spec.keys]
    found = []
    for stage in stages:
        instance(stage, StageReport, "stages", "a StageReport")
        scores = {**dict.fromkeys(keys), **stage.scores}
        for key in keys:
            optional(scores[key], f"stages: {key}", number)
        if scores[keys[0]] is None:
            raise ValueError(f"stages: stage {stage.stage} has no {keys[0]}, the headline score")
        found.append(replace(stage, scores=scores))
    return tuple(found)


def _scores(value: object, name: str) -> dict[str, Any]:
    instance(value, Mapping, name, '{"top1": 0.5}')
    assert isinstance(value, Mapping)
    found = dict(value)
    for key, score in found.items():
        if not isinstance(key, str):
            raise TypeError(f"{name} must go by text, not by {shown(key)}")
        for one in score if isinstance(score, tuple) else (score,):
            optional(one, f"{name}: {key}", number)
    return found
