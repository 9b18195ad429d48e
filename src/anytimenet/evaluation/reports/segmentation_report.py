"""What an evaluation of label maps says, stage by stage: mean IoU, pixel accuracy, IoU of every class."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from anytimenet.core.checks import instance, settle, several, texts, whole_number
from anytimenet.core.declared import check_declared
from anytimenet.core.html_table import html_table
from anytimenet.core.labels.confusion import check_confusion, class_ious, mean_iou, pixel_accuracy
from anytimenet.core.uncounted import uncounted_in, with_note
from anytimenet.evaluation.curves.curve import Curve, worse_than_before
from anytimenet.evaluation.reports.report import Cost, check_head, stage_costs_in
from anytimenet.evaluation.text.tables import Column, counted, plain_table
from anytimenet.evaluation.text.units import format_count

if TYPE_CHECKING:
    from anytimenet.evaluation.reports.classification import StageCosts, StageLatency

KIND = "segmentation"
SCORE = "mean IoU"
"""What curves of label maps show, as an axis names it."""


@dataclass(frozen=True)
class SegmentationStage:
    """One stage on one data split; scores are fractions.

    Attributes:
        stage: number of the stage, from 1.
        macs: multiply-adds of its sub-network alone.
        full: the same in the `full` convention (BN, ReLU, pooling, adds too).
        params: parameters of its sub-network alone.
        mean_iou: mean intersection over union of the classes that are not absent.
        pixel_accuracy: share of the counted pixels answered right.
        class_ious: intersection over union of each class; None for one that is absent: it neither is the
            truth anywhere nor was answered.
        latency_median_ms: measured latency of one image; None if not profiled.
        latency_p99_ms: its 99th percentile; None if not profiled.
        latency_estimated: true if it was derived from other segments' times, not measured.
    """

    stage: int
    macs: int
    full: int
    params: int
    mean_iou: float
    pixel_accuracy: float
    class_ious: tuple[float | None, ...]
    latency_median_ms: float | None = None
    latency_p99_ms: float | None = None
    latency_estimated: bool = False


@dataclass(frozen=True)
class SegmentationReport:
    """What `make_segmentation_report` found.

    Attributes:
        data: name of the data.
        split: name of the split.
        count: images.
        pixels: how many of their pixels count.
        class_names: of the classes, class 0 first.
        stages: one entry a stage, stage 1 first.
        budget_range: multiply-adds from and to which the areas are taken.
        device: where the net ran, such as "cpu"; None where it is not known.
        uncounted_operators: operators that no rule counts, so that the multiply-adds are not complete.
    """

    data: str
    split: str
    count: int
    pixels: int
    class_names: tuple[str, ...]
    stages: tuple[SegmentationStage, ...]
    budget_range: tuple[float, float]
    device: str | None = None
    uncounted_operators: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_head(self)
        settle(self, "pixels", whole_number)
        settle(self, "class_names", texts)
        settle(self, "stages", several)
        for stage in self.stages:
            instance(stage, SegmentationStage, "stages", "a SegmentationStage")
        if not self.stages:
            raise ValueError("a report needs at least one stage in stages")
        if any(len(stage.class_ious) != len(self.class_names) for stage in self.stages):
            raise ValueError(f"every stage needs an IoU for each of {len(self.class_names)} classes")

    def curve(self, cost: Cost = "macs", label: str = "") -> Curve:
        """Mean IoU against `cost`: "macs", "full", or "ms" for the median latency.

        Raises:
            ValueError: for another cost, or for latencies that were not measured.
        """
        scores = [stage.mean_iou for stage in self.stages]
        return Curve.from_points(stage_costs_in(self.stages, cost), scores, label, cost)

    @property
    def area(self) -> float:
        """Mean of the mean IoU over `budget_range` in multiply-adds; see `Curve.area`."""
        return self.curve().area(*self.budget_range)

    @property
    def area_log(self) -> float:
        """The same over the logarithm of the budget."""
        return self.curve().area(*self.budget_range, log=True)

    @property
    def violations(self) -> tuple[int, ...]:
        """The stages whose mean IoU is below that of an earlier stage."""
        return worse_than_before([stage.mean_iou for stage in self.stages])

    def table(self) -> str:
        """Plain aligned text: a line a stage; latencies only if profiled."""
        absent = self.absent_classes
        note = f"\nno pixel is of {', '.join(absent)}: the mean IoU leaves them out" if absent else ""
        return with_note(plain_table(_columns(self)) + note, self.uncounted_operators)

    @property
    def absent_classes(self) -> tuple[str, ...]:
        """The classes of which no pixel is and none was answered: they have no part in the mean IoU."""
        ious = zip(*(stage.class_ious for stage in self.stages), strict=True)
        return tuple(
            name for name, row in zip(self.class_names, ious, strict=True) if all(iou is None for iou in row)
        )

    def class_table(self) -> str:
        """Plain aligned text: a line a class with its IoU in percent at every stage."""
        width = max(map(len, self.class_names))
        columns = [("class".ljust(width), [name.ljust(width) for name in self.class_names])]
        columns += [
            (f"stage {stage.stage}", ["-" if iou is None else f"{100 * iou:.1f}" for iou in stage.class_ious])
            for stage in self.stages
        ]
        return plain_table(columns)

    def __repr__(self) -> str:
        scores = " ".join(f"{100 * stage.mean_iou:.1f}" for stage in self.stages)
        what = f"{self.count} {self.split} images of {self.data}"
        return f"SegmentationReport({what}: {scores} % mean IoU at stages 1 to {len(self.stages)})"

    def _repr_html_(self) -> str:
        return html_table(_columns(self), f"{self.count} {self.split} images of {self.data}")

    def to_dict(self) -> dict[str, Any]:
        """JSON values under stable keys.

        Keys: `kind` ("segmentation"), `data`, `split`, `count`, `pixels`, `class_names`; `stages`, a list of
        objects with the attributes of `SegmentationStage`; `budget_unit` ("macs"), `budget_range`, `area`,
        `area_log`, `violations`, `device`; `macs_complete`, and in `uncounted_operators` what no rule counts.
        Scores and areas are fractions.
        """
        return {
            "kind": KIND,
            "data": self.data,
            "split": self.split,
            "count": self.count,
            "pixels": self.pixels,
            "class_names": list(self.class_names),
            "stages": [{**asdict(stage), "class_ious": list(stage.class_ious)} for stage in self.stages],
            "budget_unit": "macs",
            "budget_range": list(self.budget_range),
            "area": self.area,
            "area_log": self.area_log,
            "violations": list(self.violations),
            "device": self.device,
            "macs_complete": not self.uncounted_operators,
            "uncounted_operators": list(self.uncounted_operators),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SegmentationReport:
        """The report that `to_dict` wrote; areas and violations are derived again.

        Raises:
            ValueError: if a key is missing or holds something else.
        """
        instance(values, Mapping, "values", "what to_dict returns")
        try:
            if values["kind"] != KIND:
                raise ValueError(f"this is no report of a segmentation but of {values['kind']!r}")
            low, high = values["budget_range"]
            report = cls(
                data=values["data"],
                split=values["split"],
                count=values["count"],
                pixels=values["pixels"],
                class_names=tuple(values["class_names"]),
                stages=tuple(
                    SegmentationStage(**{**stage, "class_ious": tuple(stage["class_ious"])})
                    for stage in values["stages"]
                ),
                budget_range=(low, high),
                device=values.get("device"),
                uncounted_operators=tuple(values.get("uncounted_operators", ())),
            )
            check_declared(report)
            report.curve()  # accuracies are shares, costs are above 0
        except KeyError as error:
            raise ValueError(f"this is no report of a segmentation: the key {error} is missing") from error
        except (TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"this is no report of a segmentation: {error}") from error
        return report

    def to_csv(self) -> str:
        """A line a stage: costs, scores, latencies, and a column `iou CLASS` for each class."""
        text = io.StringIO()
        plain = [name for name in SegmentationStage.__dataclass_fields__ if name != "class_ious"]
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*plain, *(f"iou {name}" for name in self.class_names)])
        writer.writerows(
            [*(getattr(stage, name) for name in plain), *stage.class_ious] for stage in self.stages
        )
        return text.getvalue()


def make_segmentation_report(
    confusions: Sequence[np.ndarray],
    stage_costs: Sequence[StageCosts],
    class_names: Sequence[str],
    *,
    count: int,
    data: str = "",
    split: str = "test",
    budget_range: tuple[float, float] | None = None,
    latencies: Sequence[StageLatency | None] | None = None,
    device: str | None = None,
) -> SegmentationReport:
    """Scores every stage from the counts of its pixels.

    Args:
        confusions: one matrix of counts (classes, classes) a stage, truth in rows, answers in columns.
        stage_costs: one entry a stage, with `stage`, `macs`, `full` and `params`.
        class_names: of the classes, class 0 first.
        count: images.
        data: name of the data.
        split: name of the split.
        budget_range: multiply-adds from and to which areas are taken; `Curve.default_range` by default.
        latencies: one entry a stage, with `median_ms`, `p99_ms` and `estimated`, or None where not measured.
        device: where the net ran.

    Raises:
        DataError: for matrices that are no counts.
        ValueError: for numbers of stages or classes that differ.

    >>> from types import SimpleNamespace
    >>> costs = [SimpleNamespace(stage=1, macs=10, full=12, params=3)]
    >>> report = make_segmentation_report([np.array([[3, 1], [0, 4]])], costs, ("road", "sky"), count=1)
    >>> report.stages[0].mean_iou, report.stages[0].pixel_accuracy, report.pixels
    (0.775, 0.875, 8)
    """
    counts = [check_confusion(confusion) for confusion in confusions]
    if len(counts) != len(stage_costs) or (latencies is not None and len(latencies) != len(counts)):
        raise ValueError(f"{len(counts)} stages were counted and {len(stage_costs)} have costs: one each")
    stages = tuple(
        SegmentationStage(
            stage=cost.stage,
            macs=cost.macs,
            full=cost.full,
            params=cost.params,
            mean_iou=mean_iou(matrix),
            pixel_accuracy=pixel_accuracy(matrix),
            class_ious=tuple(class_ious(matrix)),
            latency_median_ms=None if latency is None else latency.median_ms,
            latency_p99_ms=None if latency is None else latency.p99_ms,
            latency_estimated=latency is not None and latency.estimated,
        )
        for matrix, cost, latency in zip(counts, stage_costs, latencies or [None] * len(counts), strict=True)
    )
    if budget_range is None:
        points = Curve.from_points([s.macs for s in stages], [s.mean_iou for s in stages])
        budget_range = points.default_range
    pixels = int(counts[0].sum()) if counts else 0
    return SegmentationReport(
        *(data, split, count, pixels, tuple(class_names), stages, budget_range, device),
        uncounted_operators=uncounted_in(stage_costs),
    )


def _columns(report: SegmentationReport) -> list[Column]:
    stages = report.stages
    columns = [
        ("stage", [str(stage.stage) for stage in stages]),
        ("multiply-adds", [counted(stage.macs, report.uncounted_operators) for stage in stages]),
        ("parameters", [format_count(stage.params) for stage in stages]),
        ("mean IoU %", [f"{100 * stage.mean_iou:.1f}" for stage in stages]),
        ("pixel accuracy %", [f"{100 * stage.pixel_accuracy:.1f}" for stage in stages]),
    ]
    for header, name in (("median ms", "latency_median_ms"), ("p99 ms", "latency_p99_ms")):
        values = [getattr(stage, name) for stage in stages]
        if None not in values:
            columns.append(
                (
                    header,
                    [f"{'~' * s.latency_estimated}{v:.2f}" for s, v in zip(stages, values, strict=True)],
                )
            )
    return columns
