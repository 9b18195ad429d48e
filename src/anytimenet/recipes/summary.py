"""What a run did and what came out, in a few sentences for anyone."""

from __future__ import annotations

from anytimenet.data import DataSplits
from anytimenet.evaluation import Report, SegmentationReport
from anytimenet.recipes.experiment import Experiment


def summary(experiment: Experiment, splits: DataSplits, report: Report | SegmentationReport) -> str:
    """The text of summary.txt."""
    epochs, classes = experiment.config.epochs, ""
    if isinstance(report, SegmentationReport):
        scores = _label_maps(report)
        classes = f"\nIntersection over union in % of each class:\n{report.class_table()}\n"
    else:
        scores = _labels(report)
    chosen = f"chosen on {len(splits.val)} validation images" if len(splits.val) else "left as it ended"
    return (
        f"{net_name(experiment)} was trained for {epochs} epoch{'s' * (epochs != 1)} on "
        f"{len(splits.train)} images of "
        f"{splits.name} ({len(splits.class_names[0])} classes), {chosen} and tested on {report.count} others "
        "that it had never seen.\n"
        f"{scores}\n\n"
        f"{report.table()}\n{classes}"
    )


def net_name(experiment: Experiment) -> str:
    """The net, and which of its stages were kept."""
    if experiment.stages is None:
        return experiment.net
    numbers = ", ".join(map(str, experiment.stages))
    return f"Stage{'s' * (len(experiment.stages) != 1)} {numbers} of {experiment.net} alone"


def _labels(report: Report) -> str:
    first, last = report.stages[0], report.stages[-1]
    if len(report.stages) == 1:
        return f"It is right on {100 * last.top1:.1f} % of them."
    return (
        f"Stage 1 is right on {100 * first.top1:.1f} % of them, the last stage on {100 * last.top1:.1f} %, "
        f"with {last.macs / first.macs:.1f} times the multiply-adds."
    )


def _label_maps(report: SegmentationReport) -> str:
    first, last = report.stages[0], report.stages[-1]
    if len(report.stages) == 1:
        return f"Its label maps reach a mean IoU of {100 * last.mean_iou:.1f} %."
    return (
        f"The label maps of stage 1 reach a mean IoU of {100 * first.mean_iou:.1f} %, those of the last "
        f"stage {100 * last.mean_iou:.1f} %, with {last.macs / first.macs:.1f} times the multiply-adds."
    )
