"""One picture of a segmentation: the image, the truth and what every stage says, in the classes' colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anytimenet.core.errors import DataError, require
from anytimenet.core.files.writing import write_bytes
from anytimenet.core.labels.mask_classes import IGNORED, MaskClasses
from anytimenet.evaluation.plots.plots import figure_bytes, paper_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_IN_ONE_ROW = 4
_LEGEND_LINE_IN = 0.19


def plot_masks(
    image: np.ndarray,
    maps: Sequence[np.ndarray],
    classes: MaskClasses,
    path: Path | str,
    *,
    truth: np.ndarray | None = None,
    titles: Sequence[str] | None = None,
    width_in: float = 7.0,
    dpi: int = 200,
) -> Path:
    """Draws an image, its true mask if there is one, and the label map of every stage side by side.

    Args:
        image: uint8 `(H, W, C)`.
        maps: for each stage the classes of all pixels, uint8 `(H, W)`.
        classes: names and colours; the legend has those that appear.
        path: a .png, .pdf or .svg file; its folder is made.
        truth: the true classes, uint8 `(H, W)`; what does not count is black.
        titles: one for each map; "stage 1" and so on by default.
        width_in: width in inches.
        dpi: dots per inch of a PNG.

    Returns:
        The path.

    Raises:
        DataError: for maps of another size than the image.
        ValueError: for titles that do not match, or another ending.
        MissingExtraError: without matplotlib.

    >>> import tempfile
    >>> classes = MaskClasses(("road", "sky"), (0, 1), ((128, 64, 128), (70, 130, 180)))
    >>> map_ = np.tile(np.uint8([[1], [0]]), (1, 4))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     plot_masks(np.zeros((2, 4, 3), np.uint8), [map_], classes, f"{folder}/street.png").name
    'street.png'
    """
    names = list(titles) if titles is not None else [f"stage {k}" for k in range(1, len(maps) + 1)]
    if not maps or len(names) != len(maps):
        raise ValueError(
            f"{len(names)} titles for {len(maps)} maps: one a map is needed, and at least one map"
        )
    labelled = [*([] if truth is None else [truth]), *maps]
    for one in labelled:
        if one.shape != image.shape[:2] or one.dtype != np.uint8:
            raise DataError(f"a map of {one.dtype} {one.shape} does not lie on an image {image.shape}")
    pictures = [image, *(classes.colours(one) for one in labelled)]
    headings = ["image", *([] if truth is None else ["truth"]), *names]
    path = Path(path)
    with paper_style():
        figure = _figure(pictures, headings, _legend(labelled, classes), width_in)
        write_bytes(path, figure_bytes(figure, path.suffix, dpi))
    return path


def most_varied(masks: np.ndarray) -> int:
    """The place of the mask with most classes, of masks uint8 `(N, H, W)`; of several the first.

    >>> most_varied(np.array([[[0, 0]], [[0, 1]], [[1, 255]]], np.uint8))
    1
    """
    return int(np.argmax([len(set(np.unique(mask).tolist()) - {IGNORED}) for mask in masks]))


def _legend(maps: Sequence[np.ndarray], classes: MaskClasses) -> list[tuple[str, tuple[float, ...]]]:
    """Name and colour, in parts of 1, of everything that appears."""
    present = set(np.unique(np.stack(maps)).tolist())
    shown = [
        (name, tuple(part / 255 for part in colour))
        for number, (name, colour) in enumerate(zip(classes.names, classes.palette, strict=True))
        if number in present
    ]
    return [*shown, *([("not counted", (0.0, 0.0, 0.0))] if IGNORED in present else [])]


def _figure(
    pictures: Sequence[np.ndarray],
    headings: Sequence[str],
    legend: Sequence[tuple[str, tuple[float, ...]]],
    width_in: float,
) -> Figure:
    figure_class = require("matplotlib.figure", "train").Figure
    patch = require("matplotlib.patches", "train").Patch
    count = len(pictures)
    columns = count if count <= _MOST_IN_ONE_ROW else math.ceil(count / math.ceil(count / _MOST_IN_ONE_ROW))
    rows = math.ceil(count / columns)
    height, width = pictures[0].shape[:2]
    legend_columns = min(len(legend), 6)
    panel_in = width_in / columns * height / width
    lines = math.ceil(len(legend) / legend_columns)
    size = (width_in, rows * (panel_in + 0.24) + lines * _LEGEND_LINE_IN + 0.1)
    figure: Figure = figure_class(size)
    figure.set_layout_engine("constrained", w_pad=0.03, h_pad=0.03, wspace=0.01, hspace=0.01)
    for place, (picture, heading) in enumerate(zip(pictures, headings, strict=True), start=1):
        axes = figure.add_subplot(rows, columns, place)
        grey = picture.ndim == 3 and picture.shape[2] == 1
        axes.imshow(
            picture[:, :, 0] if grey else picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest"
        )
        axes.set_title(heading, fontsize=7.5, pad=2.5)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    handles = [
        patch(facecolor=colour, edgecolor="#888888", linewidth=0.4, label=name) for name, colour in legend
    ]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=legend_columns,
        frameon=False,
        handlelength=1.1,
        handleheight=0.9,
        columnspacing=1.2,
        handletextpad=0.5,
    )
    return figure
