"""The picture of branch norms: a line a net, branch by branch (figure 3b of the sliced-networks paper)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from anytimenet.core.errors import require
from anytimenet.core.files.writing import write_bytes
from anytimenet.evaluation.plots.axes import COLOURS, MARKERS
from anytimenet.evaluation.plots.plots import figure_bytes, paper_style


def plot_branch_norms(
    norms: Mapping[str, np.ndarray],
    path: Path | str,
    *,
    title: str = "",
    width_in: float = 3.4,
    height_in: float = 2.6,
    dpi: int = 300,
) -> Path:
    """Draws the l1 norm of each branch, a line a net, with a band of one sd where there are several runs.

    Args:
        norms: for each label an array (branches,), or (runs, branches) for several seeds.
        path: a .png, .pdf or .svg file; its folder is made.
        title: above the axes.
        width_in: width in inches.
        height_in: height in inches.
        dpi: dots per inch of a PNG.

    Returns:
        The path.

    Raises:
        ValueError: for no nets, arrays of another shape, or another ending.
        MissingExtraError: without matplotlib.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     plot_branch_norms({"I-ResNeXt": np.array([3.0, 2.0, 1.0])}, f"{folder}/norms.png").name
    'norms.png'
    """
    rows = {label: np.atleast_2d(np.asarray(values, dtype=np.float64)) for label, values in norms.items()}
    if not rows or any(values.ndim != 2 or values.size == 0 for values in rows.values()):
        raise ValueError("branch norms are an array (branches,) or (runs, branches) for each net")
    figure_class = require("matplotlib.figure", "train").Figure
    path = Path(path)
    with paper_style():
        figure = figure_class((width_in, height_in), layout="constrained")
        axes = figure.add_subplot()
        for number, (label, values) in enumerate(rows.items()):
            branches, mean = np.arange(1, values.shape[1] + 1), values.mean(axis=0)
            colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
            axes.plot(branches, mean, color=colour, marker=marker, markersize=3.6, linewidth=1.3, label=label)
            if len(values) > 1:
                sd = values.std(axis=0, ddof=1)
                axes.fill_between(branches, mean - sd, mean + sd, color=colour, alpha=0.2, linewidth=0)
        axes.set_xlabel("branch")
        axes.set_ylabel("l1 norm")
        axes.set_ylim(bottom=0)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(axis="y", color="#dddddd", linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
        if title:
            axes.set_title(title)
        if len(rows) > 1 or next(iter(rows)):
            figure.legend(loc="outside upper center", ncols=2, frameon=False)
        write_bytes(path, figure_bytes(figure, path.suffix, dpi))
    return path
