"""`anytimenet evaluate BUNDLE`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from anytimenet.cli.output import emit_json

if TYPE_CHECKING:
    from anytimenet.api import Split
    from anytimenet.bundle import Bundle
    from anytimenet.evaluation import BudgetedBatch, Outputs, Report


@dataclass(frozen=True)
class Evaluate:
    """Judge every stage of a bundle on held-out images.

    JSON keys: data, split, count, num_classes, stages [{stage, macs, full, params, top1, top1_low, top1_high,
    top5, ece, nll, ...}], area, area_log, expected_accuracy, budget_range, violations, example_violations,
    levels, per_class, example_quality, ensemble, and budgeted with --budgeted. Accuracies and areas are
    fractions, budgets multiply-adds.
    """

    bundle: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="BUNDLE")]
    """Folder of a bundle, or of the run that made it."""
    data: str | None = None
    """Data by name (`anytimenet list data`); by default what the bundle was trained on."""
    data_root: Path | None = None
    """Where the files of data by name are; $ANYTIMENET_DATA or ./data by default."""
    split: Literal["train", "val", "test"] = "test"
    """Which part of the data."""
    per_class: bool = False
    """Add precision and recall of each class."""
    skip_bad: bool = False
    """Leave out images that cannot be read, and say how many."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the net runs."""
    workers: int | None = None
    """Processes that decode images which are read from files; by default the cores of this machine."""
    ensemble: Literal["mean", "geometric", "product"] | None = None
    """Also judge the answer that combines stages 1..k: mean or geometric mean of their probabilities, or the
    product of their positive logits (Product Anytime)."""
    budgeted: bool = False
    """Also judge images that share one budget, where sure ones leave early; the thresholds are solved on the
    validation images, for 39 mean costs, as in MSDNet."""
    mean_budgets: tuple[float, ...] = ()
    """With --budgeted: solve thresholds for these mean costs an image."""
    confidence: Literal["max_probability", "margin", "entropy"] = "max_probability"
    """With --budgeted: what the thresholds compare."""
    exit_cost: Literal["macs_cumulative", "msd", "macs", "full"] = "macs_cumulative"
    """What leaving at a stage costs, with --budgeted and in --figure: multiply-adds with all earlier answers,
    the same in MSDNet's convention, or the sub-network alone (macs, full)."""
    figure: Path | None = None
    """Draw the stages, the ensemble and the budgeted batch in one .png, .pdf or .svg."""
    save_outputs: Path | None = None
    """Keep the logits of all stages and the labels in a .safetensors file, to judge again without the net."""
    out: Path | None = None
    """Also write report.json, report.csv and curve.png into this folder; with --budgeted budgeted.json."""
    json: Annotated[str | None, tyro.conf.arg(metavar="[FILE.json]")] = None
    """Print the report as JSON, or write it to a file."""

    def run(self) -> None:
        """Evaluates and prints."""
        from anytimenet.core.errors import require

        require("torch", "train")
        from anytimenet.api import load, measured_latencies
        from anytimenet.core.files import write_json
        from anytimenet.evaluation import report_from_outputs, write_outputs, write_report

        self._check()
        bundle = load(self.bundle)
        val = self._outputs(bundle, "val") if self.budgeted else None
        if val is not None:
            self._check_budgets(val)
        outputs = self._outputs(bundle, self.split)
        if self.save_outputs is not None:
            write_outputs(outputs, self.save_outputs)
        report = report_from_outputs(
            outputs,
            per_class=self.per_class,
            ensemble=self.ensemble,
            latencies=measured_latencies(bundle),
        )
        budgeted = None if val is None else self._budgeted(val, outputs)
        if self.out is not None:
            write_report(report, self.out)
            if budgeted is not None:
                write_json(self.out / "budgeted.json", budgeted.to_dict())
        if self.figure is not None:
            self._draw(outputs, report, budgeted, self.figure)
        if self.json is not None:
            more = {} if budgeted is None else {"budgeted": budgeted.to_dict()}
            emit_json({**report.to_dict(), **more}, self.json)
        if self.json != "-":
            print_report(report)
            if budgeted is not None:
                print_budgeted(budgeted)

    def _check(self) -> None:
        """Refuses what could only fail after the net has run."""
        from anytimenet.evaluation.outputs import check_outputs_path
        from anytimenet.evaluation.plots import check_ending

        if self.mean_budgets and not self.budgeted:
            raise ValueError("--mean-budgets needs --budgeted")
        if self.confidence != "max_probability" and not self.budgeted:
            raise ValueError("--confidence needs --budgeted")
        if self.ensemble and self.figure is not None and self.exit_cost in ("macs", "full"):
            raise ValueError(
                f"--exit-cost {self.exit_cost} is one sub-network alone, and --ensemble runs all up to it: "
                "take macs_cumulative or msd for --figure"
            )
        if self.budgeted and self.split == "val":
            raise ValueError(
                "--budgeted solves its thresholds on the validation images: judge another --split"
            )
        if self.figure is not None:
            check_ending(self.figure.suffix)
        if self.save_outputs is not None:
            check_outputs_path(self.save_outputs)

    def _check_budgets(self, val: Outputs) -> None:
        from anytimenet.evaluation import exit_costs

        cheapest = exit_costs(val.costs, self.exit_cost)[0]
        for budget in self.mean_budgets:
            if not cheapest <= budget < math.inf:
                raise ValueError(
                    f"--mean-budgets {budget:g} pays for no prediction, or is no number: stage 1 alone costs "
                    f"{cheapest:.0f}"
                )

    def _outputs(self, bundle: Bundle, split: Split) -> Outputs:
        from anytimenet.api import collect_outputs

        return collect_outputs(
            bundle,
            self.data,
            split=split,
            skip_bad=self.skip_bad,
            data_root=self.data_root,
            device=self.device,
            workers=self.workers,
        )

    def _budgeted(self, val: Outputs, judged: Outputs) -> BudgetedBatch:
        from anytimenet.evaluation import budgeted_from_outputs

        return budgeted_from_outputs(
            val, judged, confidence=self.confidence, cost=self.exit_cost, budgets=self.mean_budgets
        )

    def _draw(self, outputs: Outputs, report: Report, budgeted: BudgetedBatch | None, figure: Path) -> None:
        from anytimenet.evaluation import Curve, PlotOptions, exit_costs, plot_curves
        from anytimenet.evaluation.budgeted_batch import cost_unit

        costs, unit = exit_costs(outputs.costs, self.exit_cost), cost_unit(self.exit_cost)
        curves = [Curve.from_points(costs, [stage.top1 for stage in report.stages], "anytime", unit)]
        if report.ensemble is not None:
            tops = [stage.top1 for stage in report.ensemble.stages]
            curves.append(Curve.from_points(costs, tops, f"{report.ensemble.kind} of stages 1..k", unit))
        if budgeted is not None:
            curves.append(budgeted.curve())
        plot_curves(curves, figure, options=PlotOptions(width_in=4.6, height_in=3.2))


def print_report(report: Report) -> None:
    """The table of the stages and what else the report says, for people."""
    print(f"{report.count} {report.split} images of {report.data}")
    print(report.table())
    print(
        f"area under the curve {report.area:.4f} (log budget {report.area_log:.4f}), "
        f"{100 * report.example_violations:.1f} % of the images are right at a stage and wrong later"
    )
    known = [f"{s.failure_auroc:.2f}" if s.failure_auroc is not None else "-" for s in report.stages]
    print(f"low confidence tells wrong answers with AUROC {' '.join(known)}")
    if report.ensemble is not None:
        print(
            f"stages 1..k combined ({report.ensemble.kind}), "
            f"{100 * report.ensemble.example_violations:.1f} % right at a stage and wrong later"
        )
        print(report.ensemble.table())
    if report.per_class:
        print(f"stage {report.stages[-1].stage}, by class:")
        print(class_table(report.per_class[-1]))


def print_budgeted(budgeted: BudgetedBatch) -> None:
    """The table of a budgeted batch, for people."""
    print(
        f"budgeted batch by {budgeted.confidence.replace('_', ' ')}, thresholds from {budgeted.val_count} "
        f"validation images; mean cost in {_COST_WORDS[budgeted.cost]}, images that leave at each stage"
    )
    print(budgeted.table())


_COST_WORDS = {
    "macs_cumulative": "multiply-adds",
    "msd": "MSDNet's operations",
    "macs": "multiply-adds of the sub-network alone",
    "full": "operations of the sub-network alone",
}


def class_table(scores: tuple) -> str:
    """Precision and recall of the last stage, a line a class."""
    width = max(len(score.name) for score in scores)
    lines = [f"{'class':{width}}  images  precision %  recall %"]
    for score in scores:
        precision = "-" if score.precision is None else f"{100 * score.precision:.1f}"
        recall = "-" if score.recall is None else f"{100 * score.recall:.1f}"
        lines.append(f"{score.name:{width}}  {score.count:6}  {precision:>11}  {recall:>8}")
    return "\n".join(lines)
