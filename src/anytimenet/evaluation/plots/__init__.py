"""Figures."""

from anytimenet.evaluation.plots.plots import (
    PlotOptions,
    check_ending,
    curve_figure,
    figure_bytes,
    paper_style,
    plot_curves,
    render_curves,
)

__all__ = [
    "PlotOptions",
    "check_ending",
    "curve_figure",
    "figure_bytes",
    "paper_style",
    "plot_curves",
    "render_curves",
]
