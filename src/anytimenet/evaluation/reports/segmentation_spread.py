"""Several seeds of one segmentation experiment: mean and standard deviation of what the reports say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from anytimenet.evaluation.curves.curve import Curve
from anytimenet.evaluation.reports.report import Cost, Report
from anytimenet.evaluation.reports.segmentation_report import KIND, SegmentationReport
from anytimenet.evaluation.reports.spread import MeanSd, Spread, spread_costs_in
from anytimenet.evaluation.text.tables import plain_table
from anytimenet.evaluation.text.units import format_count


@dataclass(frozen=True)
class SegmentationStageSpread:
    """One stage over the runs; a class without IoU in some run has none here."""

    stage: int
    macs: int
    full: int
    params: int
    mean_iou: MeanSd
    pixel_accuracy: MeanSd
    class_ious: tuple[MeanSd | None, ...]


@dataclass(frozen=True)
class SegmentationSpread:
    """Several `SegmentationReport`s of one experiment, run with different seeds.

    Attributes:
        data: name of the data.
        split: name of the split.
        count: images in each run's split.
        class_names: of the classes, class 0 first.
        runs: how many reports.
        stages: one entry a stage.
        budget_range: multiply-adds from and to which the areas were taken.
        area: of the runs' curves of mean IoU.
    """

    data: str
    split: str
    count: int
    class_names: tuple[str, ...]
    runs: int
    stages: tuple[SegmentationStageSpread, ...]
    budget_range: tuple[float, float]
    area: MeanSd

    @classmethod
    def of(cls, reports: Sequence[SegmentationReport]) -> SegmentationSpread:
        """Joins reports that differ in their seed only.

        Raises:
            ValueError: for no reports, or reports of other data, classes, stages or costs.
        """
        if not reports:
            raise ValueError("the spread over seeds needs at least one report")
        first = reports[0]
        if any(_experiment(report) != _experiment(first) for report in reports):
            raise ValueError(
                "these reports are of other data, classes, stages or costs: not of one experiment"
            )
        stages = tuple(
            SegmentationStageSpread(
                stage=same[0].stage,
                macs=same[0].macs,
                full=same[0].full,
                params=same[0].params,
                mean_iou=MeanSd.of([stage.mean_iou for stage in same]),
                pixel_accuracy=MeanSd.of([stage.pixel_accuracy for stage in same]),
                class_ious=tuple(
                    None
                    if any(iou is None for iou in ious)
                    else MeanSd.of([i for i in ious if i is not None])
                    for ious in zip(*(stage.class_ious for stage in same), strict=True)
                ),
            )
            for same in zip(*(report.stages for report in reports), strict=True)
        )
        return cls(
            data=first.data,
            split=first.split,
            count=first.count,
            class_names=first.class_names,
            runs=len(reports),
            stages=stages,
            budget_range=first.budget_range,
            area=MeanSd.of([report.area for report in reports]),
        )

    def costs_in(self, cost: Cost = "macs") -> list[float]:
        """What each stage costs in "macs" or "full", as `Spread.costs_in`."""
        return spread_costs_in(self.stages, cost)

    def curve(self, cost: Cost = "macs", label: str = "") -> Curve:
        """Mean over the runs of the mean IoU against a cost of `costs_in`."""
        return Curve.from_points(self.costs_in(cost), [s.mean_iou.mean for s in self.stages], label, cost)

    def table(self) -> str:
        """Plain aligned text: a line a stage with mean and standard deviation."""
        return plain_table(
            [
                ("stage", [str(stage.stage) for stage in self.stages]),
                ("multiply-adds", [format_count(stage.macs) for stage in self.stages]),
                ("mean IoU %", [f"{100 * stage.mean_iou.mean:.1f}" for stage in self.stages]),
                (f"sd of {self.runs} runs", [stage.mean_iou.percent_sd() for stage in self.stages]),
                ("pixel accuracy %", [f"{100 * stage.pixel_accuracy.mean:.1f}" for stage in self.stages]),
                ("sd", [stage.pixel_accuracy.percent_sd() for stage in self.stages]),
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON values: the attributes by name, each joined number as `{mean, sd}`, sd null for one run."""
        told = asdict(self)
        stages = [{**stage, "class_ious": list(stage["class_ious"])} for stage in told["stages"]]
        lists = {"class_names": list(self.class_names), "budget_range": list(self.budget_range)}
        return {"kind": KIND, **told, "stages": stages, **lists}


def spread_of(reports: Sequence[Report | SegmentationReport]) -> Spread | SegmentationSpread:
    """`Spread` or `SegmentationSpread`, as the reports are.

    Raises:
        ValueError: for no reports, reports of both kinds, or of several experiments.
    """
    maps = [report for report in reports if isinstance(report, SegmentationReport)]
    labels = [report for report in reports if isinstance(report, Report)]
    if maps and labels:
        raise ValueError("reports of label maps and of labels are not runs of one experiment")
    return SegmentationSpread.of(maps) if maps else Spread.of(labels)


def _experiment(report: SegmentationReport) -> tuple[object, ...]:
    costs = tuple((stage.stage, stage.macs, stage.full, stage.params) for stage in report.stages)
    return report.data, report.split, report.count, report.class_names, report.budget_range, costs
