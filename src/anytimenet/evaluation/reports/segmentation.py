"""The report of label maps: mean IoU, pixel accuracy, IoU of every class; and how it is made from counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anytimenet.core.checks import several
from anytimenet.core.labels.confusion import check_confusion, class_ious, mean_iou, pixel_accuracy
from anytimenet.core.uncounted import uncounted_in, with_note
from anytimenet.evaluation.reports.report import Report
from anytimenet.evaluation.reports.sections import SegmentationSections
from anytimenet.evaluation.reports.stages import (
    StageCosts,
    StageLatency,
    StageReport,
    default_range,
    make_stages,
)
from anytimenet.evaluation.text.tables import plain_table

TASK = "segmentation"


class SegmentationReport(Report):
    """A `Report` of label maps: each stage has `mean_iou`, `pixel_accuracy`, and `class_ious`, one a class.

    The IoU of a class is None where it is absent: it neither is the truth anywhere nor was answered, and has
    no part in the mean.
    """

    def _settle_sections(self) -> None:
        if self.task != TASK:
            raise ValueError(f"task: this is no report of a segmentation but of {self.task!r}")
        super()._settle_sections()
        ious = [several(stage.scores.get("class_ious"), "class_ious") for stage in self.stages]
        if any(len(row) != len(self.class_names) for row in ious):
            raise ValueError(f"every stage needs an IoU for each of {len(self.class_names)} classes")

    @classmethod
    def _as_read(cls, values: dict[str, Any]) -> dict[str, Any]:
        """As that of `Report`, of label maps alone."""
        if values.get("kind") != TASK:
            told = f"but of {values['kind']!r}" if "kind" in values else "(the key 'kind' is missing)"
            raise ValueError(f"it is none of a segmentation {told}")
        return super()._as_read(values)

    def table(self) -> str:
        """As that of `Report`, with the classes that the mean IoU leaves out."""
        absent = self.absent_classes
        note = f"\nno pixel is of {', '.join(absent)}: the mean IoU leaves them out" if absent else ""
        return with_note(plain_table(self._columns()) + note, self.uncounted_operators)

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

    def _csv_row(self, stage: StageReport) -> dict[str, Any]:
        row = stage.to_dict()
        ious = zip(self.class_names, row.pop("class_ious"), strict=True)
        return {**row, **{f"iou {name}": iou for name, iou in ious}}


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
        data, split, budget_range, latencies, device: as in `make_report`.

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
    scores = [
        {
            "mean_iou": mean_iou(matrix),
            "pixel_accuracy": pixel_accuracy(matrix),
            "class_ious": tuple(class_ious(matrix)),
        }
        for matrix in counts
    ]
    stages = make_stages(scores, stage_costs, latencies)
    return SegmentationReport(
        task=TASK,
        data=data,
        split=split,
        count=count,
        stages=stages,
        budget_range=default_range(stages) if budget_range is None else budget_range,
        sections=SegmentationSections(int(counts[0].sum()), tuple(class_names)),
        device=device,
        uncounted_operators=uncounted_in(stage_costs),
    )
