"""`anytimenet evaluate BUNDLE`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from anytimenet.cli.output import emit_json


@dataclass(frozen=True)
class Evaluate:
    """Judge every stage of a bundle on held-out images.

    JSON keys: data, split, count, num_classes, stages [{stage, macs, full, params, top1, top1_low, top1_high,
    top5, ece, nll, ...}], area, area_log, expected_accuracy, budget_range, violations, example_violations,
    levels, per_class. Accuracies and areas are fractions, budgets multiply-adds.
    """

    bundle: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="BUNDLE")]
    """Folder of a bundle, or of the run that made it."""
    data: str | None = None
    """Data by name (digits, folder:PATH); by default what the bundle was trained on."""
    split: Literal["train", "val", "test"] = "test"
    """Which part of the data."""
    per_class: bool = False
    """Add precision and recall of each class."""
    skip_bad: bool = False
    """Leave out images that cannot be read, and say how many."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the net runs."""
    out: Path | None = None
    """Also write report.json, report.csv and curve.png into this folder."""
    json: Annotated[str | None, tyro.conf.arg(metavar="[FILE.json]")] = None
    """Print the report as JSON, or write it to a file."""

    def run(self) -> None:
        """Evaluates and prints."""
        from anytimenet.core.errors import require

        require("torch", "train")
        from anytimenet.api import evaluate, load
        from anytimenet.evaluation import write_report

        report = evaluate(
            load(self.bundle),
            self.data,
            split=self.split,
            per_class=self.per_class,
            skip_bad=self.skip_bad,
            device=self.device,
        )
        if self.out is not None:
            write_report(report, self.out)
        if self.json is not None:
            emit_json(report.to_dict(), self.json)
        if self.json != "-":
            print(f"{report.count} {report.split} images of {report.data}")
            print(report.table())
            print(
                f"area under the curve {report.area:.4f} (log budget {report.area_log:.4f}), "
                f"{100 * report.example_violations:.1f} % of the images are right at a stage and wrong later"
            )
            if report.per_class:
                print(f"stage {report.stages[-1].stage}, by class:")
                print(class_table(report.per_class[-1]))


def class_table(scores: tuple) -> str:
    """Precision and recall of the last stage, a line a class."""
    width = max(len(score.name) for score in scores)
    lines = [f"{'class':{width}}  images  precision %  recall %"]
    for score in scores:
        precision = "-" if score.precision is None else f"{100 * score.precision:.1f}"
        recall = "-" if score.recall is None else f"{100 * score.recall:.1f}"
        lines.append(f"{score.name:{width}}  {score.count:6}  {precision:>11}  {recall:>8}")
    return "\n".join(lines)
