"""Figures."""

from anytimenet.evaluation.plots.plots import PlotOptions, curve_figure, plot_curves

__all__ = ["PlotOptions", "curve_figure", "plot_curves"]
