"""The figure of the optimality gap: the joint net, and each of its sub-networks trained alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from anytimenet.evaluation.plots.plots import PlotOptions, plot_curves
from anytimenet.evaluation.plots.series import Series
from anytimenet.evaluation.reports.optimality_gap import OptimalityGap
from anytimenet.evaluation.reports.spread import MeanSd


def plot_optimality_gap(gap: OptimalityGap, path: Path | str, *, options: PlotOptions | None = None) -> Path:
    """Draws the joint net as a curve and the separately trained sub-networks as points; the error by default.

    Args:
        gap: what to draw.
        path: a .png, .pdf or .svg file.
        options: as in `plot_curves`; the cost is "macs".

    Raises:
        ValueError: for another ending or another cost.
        MissingExtraError: without matplotlib.
    """
    options = options or PlotOptions(value="error")
    if options.cost != "macs":
        raise ValueError(f"an optimality gap is drawn over 'macs', not {options.cost!r}")
    alone = [(s.macs, s.alone_error) for s in gap.stages]
    series = [
        _series(gap.joint, options, "trained together", joined=True),
        _series(alone, options, "each trained alone", joined=False),
    ]
    return plot_curves(series, path, options=options)


def _series(
    points: Sequence[tuple[int, MeanSd]], options: PlotOptions, label: str, *, joined: bool
) -> Series:
    points = sorted(points, key=lambda point: point[0])
    values = 100 * np.array([error.mean for _, error in points])
    if options.value == "accuracy":
        values = 100 - values
    sd = 100 * np.array([error.sd or 0.0 for _, error in points])
    known = points[0][1].sd is not None
    return Series(
        label,
        "macs",
        np.array([macs for macs, _ in points], dtype=np.float64),
        values,
        values - sd,
        values + sd,
        "none" if not known else "band" if joined else "sd",
        joined,
    )
