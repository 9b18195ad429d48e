"""What a run did and what came out, in a few sentences for anyone."""

from __future__ import annotations

from anytimenet.data import DataSplits
from anytimenet.evaluation import Report, SegmentationReport
from anytimenet.recipes.experiment import Experiment
from anytimenet.training import TrainConfig


def summary(experiment: Experiment, splits: DataSplits, report: Report) -> str:
    """The text of summary.txt."""
    classes = ""
    if isinstance(report, SegmentationReport):
        classes = f"\nIntersection over union in % of each class:\n{report.class_table()}\n"
    chosen = f"chosen on {len(splits.val)} validation images" if len(splits.val) else "left as it ended"
    return (
        f"{net_name(experiment)} was trained for {_epochs(experiment.config)} on "
        f"{len(splits.train)} images of "
        f"{splits.name} ({len(splits.class_names[0])} classes), {chosen} and tested on {report.count} others "
        "that it had never seen.\n"
        f"{_scores(report)}\n\n"
        f"{report.table()}\n{classes}"
    )


def _epochs(config: TrainConfig) -> str:
    """How long what has learnt."""
    heads, joint = (f"{n} epoch{'s' * (n != 1)}" for n in (config.head_epochs, config.epochs))
    if config.regime == "joint":
        return joint
    alone = f"{heads} of its heads alone"
    if config.regime == "frozen":
        return alone
    again = f" and {heads} of its heads again" if config.ends_with_heads else ""
    return f"{alone}, {joint} of everything{again}"


def net_name(experiment: Experiment) -> str:
    """The net, and which of its stages were kept."""
    if experiment.stages is None:
        return experiment.net
    numbers = ", ".join(map(str, experiment.stages))
    return f"Stage{'s' * (len(experiment.stages) != 1)} {numbers} of {experiment.net} alone"


def _scores(report: Report) -> str:
    spec, values = report.headline, report.values
    first, last = (f"{spec.shown(value)} {spec.unit}" for value in (values[0], values[-1]))
    more = f"with {report.stages[-1].macs / report.stages[0].macs:.1f} times the multiply-adds."
    one = len(values) == 1
    if report.task == "classification":
        if one:
            return f"It is right on {first} of them."
        return f"Stage 1 is right on {first} of them, the last stage on {last}, {more}"
    what = "label maps" if report.task == "segmentation" else "answers"
    if one:
        return f"Its {what} reach a {spec.label} of {first}."
    return f"The {what} of stage 1 reach a {spec.label} of {first}, those of the last stage {last}, {more}"
