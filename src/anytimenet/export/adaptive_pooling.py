"""Adaptive pooling to a grid as ONNX operators, which have none for more than one cell."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from anytimenet.export.graph import Graph

Windows = list[tuple[int, int]]


def write_adaptive(
    graph: Graph, x: str, sides: Sequence[int], grid: Sequence[int], *, operator: str, reduction: str
) -> str:
    """The name of maps `(N, C, *grid)` pooled from maps `x` with these sides.

    Args:
        operator: "AveragePool" or "MaxPool", for windows of one size at one distance.
        reduction: "ReduceMean" or "ReduceMax", for others: over rows, then columns. All windows of one row of
            cells are equally high, so that the mean of means is the mean.
    """
    windows = [windows_of(side, cells) for side, cells in zip(sides, grid, strict=True)]
    steps = [_steps(each) for each in windows]
    if all(steps):
        kernel, strides = zip(*(step for step in steps if step), strict=True)
        return graph.add(operator, [x], kernel_shape=kernel, strides=strides)
    shape = [0, 0, *sides]
    for axis, each in enumerate(windows, 2):
        cells = []
        for start, stop in each:
            part = graph.cut(x, [axis], [start], [stop], shape)
            cells.append(graph.add(reduction, [part, graph.whole_numbers(axis)], keepdims=1))
        x = graph.add("Concat", cells, axis=axis)
        shape[axis] = len(each)
    return x


def windows_of(side: int, cells: int) -> Windows:
    """The positions that PyTorch's adaptive pooling reads for each cell.

    >>> windows_of(6, 4)
    [(0, 2), (1, 3), (3, 5), (4, 6)]
    """
    return [(i * side // cells, -(-(i + 1) * side // cells)) for i in range(cells)]


def _steps(windows: Windows) -> tuple[int, int] | None:
    """Size and distance of windows, if each has the same."""
    sizes = {stop - start for start, stop in windows}
    apart = {after[0] - before[0] for before, after in pairwise(windows)} or {1}
    return (sizes.pop(), apart.pop()) if len(sizes) == len(apart) == 1 else None
