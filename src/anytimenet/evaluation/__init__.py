"""Evaluation: what a net's predictions are worth, stage by stage and over budgets. No torch in here.

The names below are resolved when they are used: a command that prints a list should not import all of it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from anytimenet.core.deprecation import deprecated

# Functions with the name of their module, which would stand in their place once it is imported.
from anytimenet.evaluation.curves.delay_factor import delay_factor
from anytimenet.evaluation.curves.path_curve import path_curve

if TYPE_CHECKING:
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
    from anytimenet.evaluation.plots.optimality_gap import plot_optimality_gap
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
        evaluate_selection,
        level_accuracies,
    )
    from anytimenet.evaluation.protocols.from_outputs import budgeted_from_outputs, report_from_outputs
    from anytimenet.evaluation.protocols.outputs import Outputs, read_outputs, write_outputs
    from anytimenet.evaluation.reports.classification import make_ensemble_report, make_report
    from anytimenet.evaluation.reports.comparison import Compared, ComparedStage, compare
    from anytimenet.evaluation.reports.ensemble import EnsembleReport, EnsembleStage
    from anytimenet.evaluation.reports.optimality_gap import OptimalityGap, StageGap
    from anytimenet.evaluation.reports.report import Report
    from anytimenet.evaluation.reports.sections import LevelReport
    from anytimenet.evaluation.reports.segmentation import SegmentationReport, make_segmentation_report
    from anytimenet.evaluation.reports.spread import (
        MeanSd,
        SegmentationSpread,
        SegmentationStageSpread,
        Spread,
        StageSpread,
        spread_of,
    )
    from anytimenet.evaluation.reports.stages import SegmentationStage, StageReport
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

_NAMES = {
    "anytimenet.evaluation.curves.curve": ("Curve", "shared_range"),
    "anytimenet.evaluation.curves.delay_factor": (
        "expected_delay_bound",
        "expected_delay_factor",
        "expected_delay_limit",
        "worst_delay_factor",
    ),
    "anytimenet.evaluation.curves.path_curve": ("PathCurve", "PathPoint"),
    "anytimenet.evaluation.curves.saving": ("Saving", "SavingPoint", "relative_saving"),
    "anytimenet.evaluation.plots.mask_picture": ("most_varied", "plot_masks"),
    "anytimenet.evaluation.plots.optimality_gap": ("plot_optimality_gap",),
    "anytimenet.evaluation.plots.plots": ("PlotOptions", "curve_figure", "plot_curves"),
    "anytimenet.evaluation.plots.report_files": ("read_any_report", "read_report", "write_report"),
    "anytimenet.evaluation.protocols.budgeted_batch": (
        "BudgetedBatch",
        "BudgetedPoint",
        "exit_costs",
        "sweep_budgeted_batch",
    ),
    "anytimenet.evaluation.protocols.chosen_levels": (
        "ChosenLevels",
        "ChosenStage",
        "evaluate_selection",
        "level_accuracies",
    ),
    "anytimenet.evaluation.protocols.from_outputs": ("budgeted_from_outputs", "report_from_outputs"),
    "anytimenet.evaluation.protocols.outputs": ("Outputs", "read_outputs", "write_outputs"),
    "anytimenet.evaluation.reports.classification": ("make_ensemble_report", "make_report"),
    "anytimenet.evaluation.reports.comparison": ("Compared", "ComparedStage", "compare"),
    "anytimenet.evaluation.reports.ensemble": ("EnsembleReport", "EnsembleStage"),
    "anytimenet.evaluation.reports.optimality_gap": ("OptimalityGap", "StageGap"),
    "anytimenet.evaluation.reports.report": ("Report",),
    "anytimenet.evaluation.reports.sections": ("LevelReport",),
    "anytimenet.evaluation.reports.segmentation": ("SegmentationReport", "make_segmentation_report"),
    "anytimenet.evaluation.reports.spread": (
        "MeanSd",
        "SegmentationSpread",
        "SegmentationStageSpread",
        "Spread",
        "StageSpread",
        "spread_of",
    ),
    "anytimenet.evaluation.reports.stages": ("SegmentationStage", "StageReport"),
    "anytimenet.evaluation.scores.ensembles": ("geometric_ensemble", "mean_ensemble", "product_ensemble"),
    "anytimenet.evaluation.scores.example_quality": (
        "DropShare",
        "ExampleQuality",
        "measure_example_quality",
    ),
    "anytimenet.evaluation.scores.metrics": (
        "ClassScore",
        "class_scores",
        "expected_calibration_error",
        "failure_auroc",
        "negative_log_likelihood",
        "top_k_accuracy",
        "wilson_interval",
    ),
    "anytimenet.evaluation.scores.outcomes": ("Outcomes",),
    "anytimenet.evaluation.text.units": ("format_count",),
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names}
_MOVED = {
    "confidences": "anytimenet.core.answers.confidence",
    "leaving_stages": "anytimenet.core.answers.exit_thresholds",
    "softmax": "anytimenet.core.answers.probabilities",
    "solve_for_budget": "anytimenet.core.answers.exit_thresholds",
    "solve_thresholds": "anytimenet.core.answers.exit_thresholds",
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
    "curve_figure",
    "delay_factor",
    "evaluate_selection",
    "exit_costs",
    "expected_calibration_error",
    "expected_delay_bound",
    "expected_delay_factor",
    "expected_delay_limit",
    "failure_auroc",
    "format_count",
    "geometric_ensemble",
    "level_accuracies",
    "make_ensemble_report",
    "make_report",
    "make_segmentation_report",
    "mean_ensemble",
    "measure_example_quality",
    "most_varied",
    "negative_log_likelihood",
    "path_curve",
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
    "spread_of",
    "sweep_budgeted_batch",
    "top_k_accuracy",
    "wilson_interval",
    "worst_delay_factor",
    "write_outputs",
    "write_report",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name) or _MOVED.get(name)
    if home is None:
        raise AttributeError(f"module 'anytimenet.evaluation' has no attribute {name!r}")
    if name in _MOVED:
        old, new = f"anytimenet.evaluation.{name}", f"{home}.{name}"
        deprecated(old, since="0.2.0", removed_in="0.4.0", instead=new)
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return __all__
