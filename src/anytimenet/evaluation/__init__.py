"""Evaluation: what a net's predictions are worth, stage by stage and over budgets. No torch in here.

The names below are resolved when they are used: a command that prints a list should not import all of it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# Functions with the name of their module, which would stand in their place once it is imported.
from anytimenet.evaluation.curves.delay_factor import delay_factor
from anytimenet.evaluation.curves.path_curve import path_curve

if TYPE_CHECKING:
    from anytimenet.core.answers.confidence import confidences
    from anytimenet.core.answers.exit_thresholds import leaving_stages, solve_for_budget, solve_thresholds
    from anytimenet.core.answers.probabilities import softmax
    from anytimenet.evaluation.branch_norms_plot import plot_branch_norms
    from anytimenet.evaluation.curves.curve import Curve, shared_range
    from anytimenet.evaluation.curves.delay_factor import (
        delay_factor,
        expected_delay_bound,
        expected_delay_factor,
        expected_delay_limit,
        worst_delay_factor,
    )
    from anytimenet.evaluation.curves.path_curve import PathCurve, PathPoint, path_curve
    from anytimenet.evaluation.curves.saving import Saving, SavingPoint, relative_saving
    from anytimenet.evaluation.plots.mask_picture import most_varied, plot_masks
    from anytimenet.evaluation.plots.plots import PlotOptions, curve_figure, plot_curves
    from anytimenet.evaluation.plots.report_files import read_any_report, read_report, write_report
    from anytimenet.evaluation.protocols.budgeted_batch import (
        BudgetedBatch,
        BudgetedPoint,
        exit_costs,
        sweep_budgeted_batch,
    )
    from anytimenet.evaluation.protocols.chosen_levels import (
        ChosenLevels,
        ChosenStage,
        judge_levels,
        level_accuracies,
    )
    from anytimenet.evaluation.protocols.from_outputs import budgeted_from_outputs, report_from_outputs
    from anytimenet.evaluation.protocols.outputs import Outputs, read_outputs, write_outputs
    from anytimenet.evaluation.reports.classification import make_ensemble_report, make_report
    from anytimenet.evaluation.reports.comparison import Compared, ComparedStage, compare
    from anytimenet.evaluation.reports.ensemble import EnsembleReport, EnsembleStage
    from anytimenet.evaluation.reports.optimality_gap import OptimalityGap, StageGap, plot_optimality_gap
    from anytimenet.evaluation.reports.report import LevelReport, Report, StageReport
    from anytimenet.evaluation.reports.segmentation_report import (
        SegmentationReport,
        SegmentationStage,
        make_segmentation_report,
    )
    from anytimenet.evaluation.reports.segmentation_spread import (
        SegmentationSpread,
        SegmentationStageSpread,
        spread_of,
    )
    from anytimenet.evaluation.reports.spread import MeanSd, Spread, StageSpread
    from anytimenet.evaluation.scores.ensembles import geometric_ensemble, mean_ensemble, product_ensemble
    from anytimenet.evaluation.scores.example_quality import (
        DropShare,
        ExampleQuality,
        measure_example_quality,
    )
    from anytimenet.evaluation.scores.metrics import (
        ClassScore,
        class_scores,
        expected_calibration_error,
        failure_auroc,
        negative_log_likelihood,
        top_k_accuracy,
        wilson_interval,
    )
    from anytimenet.evaluation.scores.outcomes import Outcomes
    from anytimenet.evaluation.text.units import format_count

_HOMES = {
    "BudgetedBatch": "protocols.budgeted_batch",
    "BudgetedPoint": "protocols.budgeted_batch",
    "ChosenLevels": "protocols.chosen_levels",
    "ChosenStage": "protocols.chosen_levels",
    "ClassScore": "scores.metrics",
    "Compared": "reports.comparison",
    "ComparedStage": "reports.comparison",
    "Curve": "curves.curve",
    "DropShare": "scores.example_quality",
    "EnsembleReport": "reports.ensemble",
    "EnsembleStage": "reports.ensemble",
    "ExampleQuality": "scores.example_quality",
    "LevelReport": "reports.report",
    "MeanSd": "reports.spread",
    "OptimalityGap": "reports.optimality_gap",
    "Outcomes": "scores.outcomes",
    "Outputs": "protocols.outputs",
    "PathCurve": "curves.path_curve",
    "PathPoint": "curves.path_curve",
    "PlotOptions": "plots.plots",
    "Report": "reports.report",
    "Saving": "curves.saving",
    "SavingPoint": "curves.saving",
    "SegmentationReport": "reports.segmentation_report",
    "SegmentationSpread": "reports.segmentation_spread",
    "SegmentationStage": "reports.segmentation_report",
    "SegmentationStageSpread": "reports.segmentation_spread",
    "Spread": "reports.spread",
    "StageGap": "reports.optimality_gap",
    "StageReport": "reports.report",
    "StageSpread": "reports.spread",
    "budgeted_from_outputs": "protocols.from_outputs",
    "class_scores": "scores.metrics",
    "compare": "reports.comparison",
    "confidences": "anytimenet.core.answers.confidence",
    "curve_figure": "plots.plots",
    "exit_costs": "protocols.budgeted_batch",
    "expected_calibration_error": "scores.metrics",
    "expected_delay_bound": "curves.delay_factor",
    "expected_delay_factor": "curves.delay_factor",
    "expected_delay_limit": "curves.delay_factor",
    "failure_auroc": "scores.metrics",
    "format_count": "text.units",
    "geometric_ensemble": "scores.ensembles",
    "judge_levels": "protocols.chosen_levels",
    "leaving_stages": "anytimenet.core.answers.exit_thresholds",
    "level_accuracies": "protocols.chosen_levels",
    "make_ensemble_report": "reports.classification",
    "make_report": "reports.classification",
    "make_segmentation_report": "reports.segmentation_report",
    "mean_ensemble": "scores.ensembles",
    "measure_example_quality": "scores.example_quality",
    "most_varied": "plots.mask_picture",
    "negative_log_likelihood": "scores.metrics",
    "plot_branch_norms": "branch_norms_plot",
    "plot_curves": "plots.plots",
    "plot_masks": "plots.mask_picture",
    "plot_optimality_gap": "reports.optimality_gap",
    "product_ensemble": "scores.ensembles",
    "read_any_report": "plots.report_files",
    "read_outputs": "protocols.outputs",
    "read_report": "plots.report_files",
    "relative_saving": "curves.saving",
    "report_from_outputs": "protocols.from_outputs",
    "shared_range": "curves.curve",
    "softmax": "anytimenet.core.answers.probabilities",
    "solve_for_budget": "anytimenet.core.answers.exit_thresholds",
    "solve_thresholds": "anytimenet.core.answers.exit_thresholds",
    "spread_of": "reports.segmentation_spread",
    "sweep_budgeted_batch": "protocols.budgeted_batch",
    "top_k_accuracy": "scores.metrics",
    "wilson_interval": "scores.metrics",
    "worst_delay_factor": "curves.delay_factor",
    "write_outputs": "protocols.outputs",
    "write_report": "plots.report_files",
}

__all__ = [
    "BudgetedBatch",
    "BudgetedPoint",
    "ChosenLevels",
    "ChosenStage",
    "ClassScore",
    "Compared",
    "ComparedStage",
    "Curve",
    "DropShare",
    "EnsembleReport",
    "EnsembleStage",
    "ExampleQuality",
    "LevelReport",
    "MeanSd",
    "OptimalityGap",
    "Outcomes",
    "Outputs",
    "PathCurve",
    "PathPoint",
    "PlotOptions",
    "Report",
    "Saving",
    "SavingPoint",
    "SegmentationReport",
    "SegmentationSpread",
    "SegmentationStage",
    "SegmentationStageSpread",
    "Spread",
    "StageGap",
    "StageReport",
    "StageSpread",
    "budgeted_from_outputs",
    "class_scores",
    "compare",
    "confidences",
    "curve_figure",
    "delay_factor",
    "exit_costs",
    "expected_calibration_error",
    "expected_delay_bound",
    "expected_delay_factor",
    "expected_delay_limit",
    "failure_auroc",
    "format_count",
    "geometric_ensemble",
    "judge_levels",
    "leaving_stages",
    "level_accuracies",
    "make_ensemble_report",
    "make_report",
    "make_segmentation_report",
    "mean_ensemble",
    "measure_example_quality",
    "most_varied",
    "negative_log_likelihood",
    "path_curve",
    "plot_branch_norms",
    "plot_curves",
    "plot_masks",
    "plot_optimality_gap",
    "product_ensemble",
    "read_any_report",
    "read_outputs",
    "read_report",
    "relative_saving",
    "report_from_outputs",
    "shared_range",
    "softmax",
    "solve_for_budget",
    "solve_thresholds",
    "spread_of",
    "sweep_budgeted_batch",
    "top_k_accuracy",
    "wilson_interval",
    "worst_delay_factor",
    "write_outputs",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'anytimenet.evaluation' has no attribute {name!r}")
    home = _HOMES[name] if _HOMES[name].startswith("anytimenet.") else f"anytimenet.evaluation.{_HOMES[name]}"
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return __all__
