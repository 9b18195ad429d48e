"""`anytimenet evaluate BUNDLE`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from anytimenet.cli.evaluation_figure import draw_evaluation, read_baseline
from anytimenet.cli.output import emit, refuse
from anytimenet.cli.parsing import Count
from anytimenet.cli.reading import ReadingFlags, reading_arguments
from anytimenet.cli.report_text import print_beside, print_budgeted, print_chosen_levels, print_report
from anytimenet.core.answers.confidence import Confidence
from anytimenet.core.answers.level_selection import Fallback, LevelSelection
from anytimenet.core.errors import require
from anytimenet.core.files.writing import write_json
from anytimenet.core.manifest.folder import find_bundle
from anytimenet.core.manifest.run_proof import check_report_folder
from anytimenet.evaluation import BudgetedBatch, beside_static, exit_costs, write_outputs, write_report
from anytimenet.evaluation.plots.plots import check_ending
from anytimenet.evaluation.protocols.budgeted_batch import ExitCost
from anytimenet.evaluation.protocols.outputs import check_outputs_path
from anytimenet.evaluation.scores.ensembles import Ensemble

if TYPE_CHECKING:
    from anytimenet.bundle import Bundle
    from anytimenet.workflows import Evaluation


@dataclass(frozen=True)
class Evaluate:
    """Evaluate every stage of a bundle on held-out images.

    JSON keys: data, split, count, num_classes, stages [{stage, macs, full, params, top1, top1_low, top1_high,
    top5, ece, nll, ...}], area, area_log, expected_accuracy, budget_range, violations, example_violations,
    levels, per_class, example_quality, ensemble, budgeted with --budgeted, and chosen_levels with
    --target-accuracy. For segmentation: kind, data, split, count, pixels, class_names, stages
    [{stage, macs, full, params, mean_iou, pixel_accuracy, class_ious, ...}], area, area_log, budget_range,
    violations. Accuracies and areas are fractions, budgets multiply-adds.
    """

    bundle: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="BUNDLE")]
    """Folder of a bundle, or of the run that made it."""
    split: Literal["train", "val", "test"] = "test"
    """Which part of the data."""
    per_class: bool = False
    """Add precision and recall of each class; for segmentation print the IoU of each."""
    ensemble: Ensemble | None = None
    """Also evaluate the answer that combines stages 1..k: mean or geometric mean of their probabilities, or
    the product of their positive logits (Product Anytime)."""
    budgeted: bool = False
    """Also evaluate images that share one budget, where sure ones leave early; the thresholds are solved on
    the validation images, for 39 mean costs, as in MSDNet."""
    mean_budgets: tuple[Count, ...] = ()
    """With --budgeted: solve thresholds for these mean costs an image, for example 1.5M 2M."""
    confidence: Confidence = "max_probability"
    """With --budgeted: what the thresholds compare."""
    exit_cost: ExitCost = "macs_cumulative"
    """What leaving at a stage costs, with --budgeted and in --figure: multiply-adds with all earlier answers,
    the same in MSDNet's convention, or the sub-network alone (macs, full)."""
    target_accuracy: float | Literal["full"] | None = None
    """Of a net with several label levels: choose for each stage the finest level that reaches this accuracy
    (a fraction) on the validation images, and evaluate the choice. `full` is the last stage's on fine
    labels."""
    tolerance: float = 0.0
    """With --target-accuracy full: how far below it the target lies."""
    level_fallback: Fallback = "coarsest"
    """With --target-accuracy: what a stage takes where no level reaches it: the coarsest, or its most
    accurate."""
    save_levels: bool = False
    """With --target-accuracy: keep the choice in the bundle, so that `predict` answers with labels of it."""
    figure: Path | None = None
    """Draw the stages, the ensemble and the budgeted batch in one .png, .pdf or .svg."""
    over: Literal["macs", "ms"] = "macs"
    """With --figure: draw the stages over multiply-adds, or over the milliseconds of this machine."""
    baseline: Path | None = None
    """Show a static net beside it: the folder of its run or bundle, or its report.json."""
    backend: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Whose measured latency is told; by default of what answers here: the native engine, eager PyTorch, or
    else what was profiled on this machine."""
    save_outputs: Path | None = None
    """Keep the logits of all stages and the labels in a .safetensors file, to evaluate again without the
    net."""
    out: Path | None = None
    """Also write report.json, report.csv and curve.png into this folder, latency.png if the bundle was
    profiled here; with --budgeted budgeted.json, with --target-accuracy chosen_levels.json."""
    json: Annotated[str | None, tyro.conf.arg(metavar="[FILE.json]")] = None
    """Print the report as JSON, or write it to a file."""
    images: ReadingFlags = field(default_factory=ReadingFlags)

    def run(self) -> None:
        """Evaluates and prints."""
        require("torch", "train")
        from anytimenet.workflows import Evaluation, Reading, load

        self._check()
        static = None if self.baseline is None else read_baseline(self.baseline, self.over)
        bundle = load(self.bundle)
        evaluation = Evaluation(Reading(bundle, **reading_arguments(self.images)))
        if not evaluation.keeps_outputs:
            refuse(
                self,
                ("budgeted", "ensemble", "target_accuracy", "save_outputs", "exit_cost"),
                "is for labels of whole images, and this bundle is for "
                f"{bundle.manifest.task_kind}: leave it out",
            )
        # Whatever is asked for, the net runs once over each split.
        selection = self._selection(evaluation)
        budgeted = self._budgeted(evaluation) if self.budgeted else None
        if self.save_outputs is not None:
            write_outputs(evaluation.outputs(self.split), self.save_outputs)
        report = evaluation.report(
            self.split, per_class=self.per_class, ensemble=self.ensemble, backend=self.backend
        )
        beside = None if static is None else beside_static(report, *static)
        chosen = None if selection is None else evaluation.levels(selection, self._tried)
        parts = {"budgeted": budgeted, "chosen_levels": chosen}
        more: dict[str, Any] = {name: part.to_dict() for name, part in parts.items() if part is not None}
        more |= {} if beside is None else {"baseline": beside.to_dict()}
        if self.out is not None:
            write_report(report, self.out)
            for name, values in more.items():
                write_json(self.out / f"{name}.json", values)
        if self.figure is not None:
            draw_evaluation(
                report,
                bundle.stage_costs(),
                self.figure,
                over="ms" if self.over == "ms" else self.exit_cost,
                budgeted=budgeted,
                static=static,
            )
        if emit(self.json, {**report.to_dict(), **more}):
            print_report(report, per_class=self.per_class)
            if beside is not None:
                print_beside(beside, report.headline)
            if budgeted is not None:
                print_budgeted(budgeted)
            if chosen is not None:
                print_chosen_levels(chosen)
        if self.save_levels:
            self._save(bundle, selection)

    def _save(self, bundle: Bundle, selection: LevelSelection | None) -> None:
        folder = find_bundle(self.bundle)
        bundle.use_levels(selection)
        bundle.save(folder)
        if self.json != "-":
            print(f"the levels are kept in {folder}: predict answers with labels of them")

    def _check(self) -> None:
        """Refuses what could only fail after the net has run."""
        if self.mean_budgets and not self.budgeted:
            raise ValueError("--mean-budgets needs --budgeted")
        if self.confidence != "max_probability" and not self.budgeted:
            raise ValueError("--confidence needs --budgeted")
        if self.ensemble and self.figure is not None and self.exit_cost in ("macs", "full"):
            raise ValueError(
                f"--exit-cost {self.exit_cost} is one sub-network alone, and --ensemble runs all up to it: "
                "take macs_cumulative or msd for --figure"
            )
        if self.over == "ms" and (self.budgeted or self.ensemble or self.exit_cost != "macs_cumulative"):
            raise ValueError(
                "--over ms draws the measured milliseconds of sub-networks: leave out --budgeted, --ensemble "
                "and --exit-cost"
            )
        if self.over == "ms" and self.figure is None:
            raise ValueError("--over says what --figure draws: name the file with --figure FILE")
        if self.budgeted and self.split == "val":
            raise ValueError(
                "--budgeted solves its thresholds on the validation images: evaluate another --split"
            )
        self._check_levels()
        if self.figure is not None:
            check_ending(self.figure.suffix)
        if self.save_outputs is not None:
            check_outputs_path(self.save_outputs)
        if self.out is not None:
            check_report_folder(self.out)

    def _check_levels(self) -> None:
        if self.target_accuracy is None:
            given = {
                "--save-levels": self.save_levels,
                "--tolerance": self.tolerance,
                "--level-fallback": self.level_fallback != "coarsest",
            }
            for flag in (flag for flag, value in given.items() if value):
                raise ValueError(f"{flag} needs --target-accuracy")
        elif self.split == "val":
            raise ValueError(
                "--target-accuracy chooses levels on the validation images: evaluate another --split"
            )
        elif self.target_accuracy != "full":
            if self.tolerance:
                raise ValueError("--tolerance lowers --target-accuracy full: name the lower accuracy instead")
            if not 0 <= self.target_accuracy <= 1:
                raise ValueError(
                    f"--target-accuracy {self.target_accuracy:g} must be a fraction from 0 to 1, or full"
                )

    @property
    def _tried(self) -> Literal["train", "test"]:
        """The part on which a choice that was made on the validation images is tried; never those."""
        return "train" if self.split == "train" else "test"

    def _selection(self, evaluation: Evaluation) -> LevelSelection | None:
        """The level of each stage, if a target was given."""
        if self.target_accuracy is None:
            return None
        return evaluation.select_levels(
            target_accuracy=self.target_accuracy, tolerance=self.tolerance, fallback=self.level_fallback
        )

    def _budgeted(self, evaluation: Evaluation) -> BudgetedBatch:
        """The budgeted batch; refuses budgets that pay for nothing before the net runs over the split."""
        cheapest = exit_costs(evaluation.outputs("val").costs, self.exit_cost)[0]
        for budget in self.mean_budgets:
            if not cheapest <= budget < math.inf:
                raise ValueError(
                    f"--mean-budgets {budget:g} pays for no prediction, or is no number: stage 1 alone costs "
                    f"{cheapest:.0f}"
                )
        return evaluation.budgeted(
            self._tried, confidence=self.confidence, cost=self.exit_cost, budgets=self.mean_budgets
        )
