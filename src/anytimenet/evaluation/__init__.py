"""Evaluation: what a net's predictions are worth, stage by stage and over budgets. No torch in here."""

from anytimenet.evaluation.branch_norms_plot import plot_branch_norms
from anytimenet.evaluation.budgeted_batch import (
    BudgetedBatch,
    BudgetedPoint,
    exit_costs,
    sweep_budgeted_batch,
)
from anytimenet.evaluation.chosen_levels import (
    ChosenLevels,
    ChosenStage,
    judge_levels,
    level_accuracies,
)
from anytimenet.evaluation.comparison import Compared, ComparedStage, compare
from anytimenet.evaluation.confidence import confidences
from anytimenet.evaluation.curve import Curve, shared_range
from anytimenet.evaluation.delay_factor import (
    delay_factor,
    expected_delay_bound,
    expected_delay_factor,
    expected_delay_limit,
    worst_delay_factor,
)
from anytimenet.evaluation.ensemble_report import EnsembleReport, EnsembleStage
from anytimenet.evaluation.ensembles import geometric_ensemble, mean_ensemble
from anytimenet.evaluation.example_quality import DropShare, ExampleQuality, measure_example_quality
from anytimenet.evaluation.exit_thresholds import leaving_stages, solve_for_budget, solve_thresholds
from anytimenet.evaluation.failure_detection import failure_auroc
from anytimenet.evaluation.from_outputs import budgeted_from_outputs, report_from_outputs
from anytimenet.evaluation.mask_picture import most_varied, plot_masks
from anytimenet.evaluation.metrics import (
    ClassScore,
    class_scores,
    expected_calibration_error,
    negative_log_likelihood,
    softmax,
    top_k_accuracy,
    wilson_interval,
)
from anytimenet.evaluation.optimality_gap import OptimalityGap, StageGap, plot_optimality_gap
from anytimenet.evaluation.outcomes import Outcomes
from anytimenet.evaluation.outputs import Outputs, read_outputs, write_outputs
from anytimenet.evaluation.path_curve import PathCurve, PathPoint, path_curve
from anytimenet.evaluation.plots import PlotOptions, curve_figure, plot_curves
from anytimenet.evaluation.product_anytime import product_ensemble
from anytimenet.evaluation.report import LevelReport, Report, StageReport
from anytimenet.evaluation.report_files import read_any_report, read_report, write_report
from anytimenet.evaluation.saving import Saving, SavingPoint, relative_saving
from anytimenet.evaluation.scoring import make_ensemble_report, make_report
from anytimenet.evaluation.segmentation_report import (
    SegmentationReport,
    SegmentationStage,
    make_segmentation_report,
)
from anytimenet.evaluation.segmentation_spread import (
    SegmentationSpread,
    SegmentationStageSpread,
    spread_of,
)
from anytimenet.evaluation.spread import MeanSd, Spread, StageSpread
from anytimenet.evaluation.units import format_count

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
