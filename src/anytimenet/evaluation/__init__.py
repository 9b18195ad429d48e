"""Evaluation: what a net's predictions are worth, stage by stage and over budgets. No torch in here."""

from anytimenet.evaluation.comparison import Compared, ComparedStage, compare
from anytimenet.evaluation.curve import Curve, shared_range
from anytimenet.evaluation.metrics import (
    ClassScore,
    class_scores,
    expected_calibration_error,
    negative_log_likelihood,
    softmax,
    top_k_accuracy,
    wilson_interval,
)
from anytimenet.evaluation.plots import PlotOptions, curve_figure, plot_curves
from anytimenet.evaluation.report import LevelReport, Report, StageReport
from anytimenet.evaluation.report_files import read_report, write_report
from anytimenet.evaluation.saving import Saving, SavingPoint, relative_saving
from anytimenet.evaluation.scoring import make_report
from anytimenet.evaluation.spread import MeanSd, Spread, StageSpread
from anytimenet.evaluation.units import format_count

__all__ = [
    "ClassScore",
    "Compared",
    "ComparedStage",
    "Curve",
    "LevelReport",
    "MeanSd",
    "PlotOptions",
    "Report",
    "Saving",
    "SavingPoint",
    "Spread",
    "StageReport",
    "StageSpread",
    "class_scores",
    "compare",
    "curve_figure",
    "expected_calibration_error",
    "format_count",
    "make_report",
    "negative_log_likelihood",
    "plot_curves",
    "read_report",
    "relative_saving",
    "shared_range",
    "softmax",
    "top_k_accuracy",
    "wilson_interval",
    "write_report",
]
